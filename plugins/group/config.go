package group

import (
	"time"

	"freeim/core/im"
)

// Config is the plugin's section of the configuration.
type Config struct {
	// MaxMembers bounds the members of one group. Default 100,000.
	MaxMembers int `yaml:"max_members"`
	// WriteDiffusion is up to how many members a message is written into the inbox of each. The members of a group that
	// has had more follow its log. Default 500.
	WriteDiffusion int `yaml:"write_diffusion"`
	// MaxGroups bounds the groups that one person is in. Somebody who comes into several at
	// the same moment may be in a few more. Default 1,000.
	MaxGroups int `yaml:"max_groups"`
	// Invite is who may be invited by a member: "anybody", or "friends" of his only, which
	// takes the service "social.relations". Default anybody.
	Invite string `yaml:"invite"`
	// Confirm is who must accept an invitation before he is a member: "always" everybody,
	// "strangers" all but friends of who invites, "never" nobody. Default strangers.
	Confirm string `yaml:"confirm"`
	// RequestLife is how long an invitation or an application waits. Default 168h.
	RequestLife time.Duration `yaml:"request_life"`
	// PendingOfGroup and PendingOfUser bound the invitations and applications that wait, of
	// one group and for one person. Default 1,000 and 200.
	PendingOfGroup int `yaml:"pending_of_group"`
	PendingOfUser  int `yaml:"pending_of_user"`
	// CreationsPerHour bounds the groups that one person makes. 0: no bound. Default 60.
	CreationsPerHour int `yaml:"creations_per_hour"`
	// ChangesPerMinute bounds what one person does to groups, everything but messages
	// counted. 0: no bound. Default 120.
	ChangesPerMinute int `yaml:"changes_per_minute"`
	// LooksPerMinute bounds how often one person looks at groups in which he is not. 0: no
	// bound. Default 60.
	LooksPerMinute int `yaml:"looks_per_minute"`
	// AnswersPerHour bounds the wrong answers of one person to the question of a group. 0:
	// no bound. Default 5.
	AnswersPerHour int `yaml:"answers_per_hour"`
	// ApplicationsPerHour bounds the applications of one person to one group, of each of which all who decide are told. 0: no
	// bound. Default 10.
	ApplicationsPerHour int `yaml:"applications_per_hour"`
	// CacheMembers is about how many members of groups a core remembers, 48 octets each.
	// Default 500,000.
	CacheMembers int `yaml:"cache_members"`
}

// The values of Invite and Confirm.
const (
	inviteAnybody    = "anybody"
	inviteFriends    = "friends"
	confirmAlways    = "always"
	confirmStrangers = "strangers"
	confirmNever     = "never"
)

// mostMembers is the highest bound of members, mostInboxes that of those into whose inboxes a message is written.
const (
	mostMembers = 200_000
	mostInboxes = 2000
)

func defaultConfig() Config {
	return Config{
		MaxMembers: 100_000, WriteDiffusion: 500, MaxGroups: 1000, Invite: inviteAnybody, Confirm: confirmStrangers, RequestLife: 7 * 24 * time.Hour,
		PendingOfGroup: 1000, PendingOfUser: 200, CreationsPerHour: 60, ChangesPerMinute: 120, LooksPerMinute: 60, AnswersPerHour: 5, ApplicationsPerHour: 10,
		CacheMembers: 500_000,
	}
}

func (c *Config) validate() error {
	checks := []struct {
		ok   bool
		key  string
		rule string
	}{
		{c.MaxMembers >= 2 && c.MaxMembers <= mostMembers, "max_members", "must be 2-200000"},
		{c.WriteDiffusion >= 2 && c.WriteDiffusion <= mostInboxes, "write_diffusion", "must be 2-2000"},
		{c.MaxGroups >= 1 && c.MaxGroups <= 100_000, "max_groups", "must be 1-100000"},
		{c.Invite == inviteAnybody || c.Invite == inviteFriends, "invite", "must be anybody or friends"},
		{c.Confirm == confirmAlways || c.Confirm == confirmStrangers || c.Confirm == confirmNever, "confirm", "must be always, strangers or never"},
		{c.RequestLife >= time.Minute && c.RequestLife <= 365*24*time.Hour, "request_life", "must be 1m-8760h"},
		{c.PendingOfGroup >= 1 && c.PendingOfGroup <= 100_000, "pending_of_group", "must be 1-100000"},
		{c.PendingOfUser >= 1 && c.PendingOfUser <= 100_000, "pending_of_user", "must be 1-100000"},
		{c.CreationsPerHour >= 0, "creations_per_hour", "must be 0 (no bound) or more"},
		{c.ChangesPerMinute >= 0, "changes_per_minute", "must be 0 (no bound) or more"},
		{c.LooksPerMinute >= 0, "looks_per_minute", "must be 0 (no bound) or more"},
		{c.AnswersPerHour >= 0, "answers_per_hour", "must be 0 (no bound) or more"},
		{c.ApplicationsPerHour >= 0, "applications_per_hour", "must be 0 (no bound) or more"},
		{c.CacheMembers >= mostInboxes && c.CacheMembers <= 100_000_000, "cache_members", "must be 2000-100000000"},
	}
	for _, check := range checks {
		if !check.ok {
			return im.Invalid("group."+check.key, "%s", check.rule)
		}
	}
	return nil
}

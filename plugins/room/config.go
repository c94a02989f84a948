package room

import (
	"freeim/core/im"
)

// mostPerSecond is the highest bound of chat in a room, per second.
const mostPerSecond = 100_000

// Config is the plugin's section of the configuration.
type Config struct {
	// MaxText is the longest text of a message in characters. Default 500.
	MaxText int `yaml:"max_text"`
	// MaxData is the longest data of a message in octets. Default 2,048.
	MaxData int `yaml:"max_data"`
	// PageBytes is about how many octets a page of history may hold, so that a page
	// fits a session's outbound queue. Default 131,072.
	PageBytes int `yaml:"page_bytes"`
	// JoinEntries is how many of the last messages a join gives that does not say.
	// Default 50.
	JoinEntries int `yaml:"join_entries"`
	// RoomsPerSession bounds the rooms that one session is in. Default 64.
	RoomsPerSession int `yaml:"rooms_per_session"`
	// MaxMembers bounds the sessions in one room; 0: no bound. Default 0.
	MaxMembers int64 `yaml:"max_members"`
	// JoinsPerMinute bounds the joins of one person. 0: no bound. Default 120.
	JoinsPerMinute int `yaml:"joins_per_minute"`
	// CreateOnJoin makes a room that does not exist when somebody joins it; nobody
	// owns it. Default true.
	CreateOnJoin bool `yaml:"create_on_join"`
	// CreationsPerHour bounds the rooms that one person makes, in either way. 0: no
	// bound. Default 60.
	CreationsPerHour int `yaml:"creations_per_hour"`
	// CreationsPerSecond bounds the rooms that all people together make at one core, in
	// either way, one second's worth at once: each is a write of the directory, which
	// everybody else's wait behind. 0: no bound. Default 50.
	CreationsPerSecond int `yaml:"creations_per_second"`
	// SendsPerSecond bounds the messages of one person to one room, five seconds' worth
	// at once; each core counts for itself. 0: no bound. Default 10.
	SendsPerSecond int `yaml:"sends_per_second"`
	// LowPerSecond is the bound of chat in a room that sets none: beyond it the room's
	// rule for overload holds. 0: no bound. Default 50.
	LowPerSecond int `yaml:"low_per_second"`
	// PresenceLimit is how many members a room may have that are listed and told of.
	// 0: no room's are. Default 100.
	PresenceLimit int `yaml:"presence_limit"`
	// Admins are user IDs that may do everything in every room, also in one that
	// nobody owns. Default: none.
	Admins []int64 `yaml:"admins"`
}

func defaultConfig() Config {
	return Config{
		MaxText: 500, MaxData: 2048, PageBytes: 128 << 10, JoinEntries: 50,
		RoomsPerSession: 64, JoinsPerMinute: 120, CreateOnJoin: true, CreationsPerHour: 60, CreationsPerSecond: 50,
		SendsPerSecond: 10, LowPerSecond: 50, PresenceLimit: 100,
	}
}

func (c *Config) validate() error {
	checks := []struct {
		ok   bool
		key  string
		rule string
	}{
		{c.MaxText >= 1 && c.MaxText <= 5000, "max_text", "must be 1-5000"},
		{c.MaxData >= 0 && c.MaxData <= 16<<10, "max_data", "must be 0-16384"},
		{c.PageBytes >= 1<<10 && c.PageBytes <= 1<<20, "page_bytes", "must be 1024-1048576"},
		{c.JoinEntries >= 0 && c.JoinEntries <= mostEntries, "join_entries", "must be 0-100"},
		{c.RoomsPerSession >= 1 && c.RoomsPerSession <= 1024, "rooms_per_session", "must be 1-1024"},
		{c.MaxMembers >= 0, "max_members", "must be 0 (no bound) or more"},
		{c.JoinsPerMinute >= 0, "joins_per_minute", "must be 0 (no bound) or more"},
		{c.CreationsPerHour >= 0, "creations_per_hour", "must be 0 (no bound) or more"},
		{c.CreationsPerSecond >= 0 && c.CreationsPerSecond <= mostPerSecond, "creations_per_second", "must be 0 (no bound) to 100000"},
		{c.SendsPerSecond >= 0, "sends_per_second", "must be 0 (no bound) or more"},
		{c.LowPerSecond >= 0 && c.LowPerSecond <= mostPerSecond, "low_per_second", "must be 0 (no bound) to 100000"},
		{c.PresenceLimit >= 0 && c.PresenceLimit <= 1000, "presence_limit", "must be 0-1000"},
	}
	for _, check := range checks {
		if !check.ok {
			return im.Invalid("room."+check.key, "%s", check.rule)
		}
	}
	for _, admin := range c.Admins {
		if admin < 1 {
			return im.Invalid("room.admins", "%d is no user's ID", admin)
		}
	}
	return nil
}

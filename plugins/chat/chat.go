// Package chat is the plugin that messages and inboxes belong to: sending, the inbox and
// its sync, delivery receipts and history. It decides who may write and read in chats
// between two people; in other conversations the plugins that own them do, and it tells
// people what other plugins file (plugin.Messages). Timelines commit, the host pushes.
// core/server runs it.
package chat

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Directory says who is there; the account plugin provides it as the
// service "account.directory".
type Directory interface {
	Exists(ctx context.Context, u im.UserID) (bool, error)
	// Absent reports whether u is disabled or has left, for good or for a while: nothing is done in
	// his name then. It is as it is after the call.
	Absent(ctx context.Context, u im.UserID) (bool, error)
	// MadeOf gives when the accounts of the users were made, of those who exist; 500 at most.
	MadeOf(ctx context.Context, users []im.UserID) (map[im.UserID]time.Time, error)
}

// Config is the plugin's section of the configuration.
type Config struct {
	// MaxText is the longest text of a message in characters. Default 5,000.
	MaxText int `yaml:"max_text"`
	// PageBytes is about how many octets a page of sync or history may hold, so
	// that a page fits a session's outbound queue. Default 131,072.
	PageBytes int `yaml:"page_bytes"`
	// HeldOfOne is how many messages of one person may wait for a decision, or behind one
	// that does; HeldOfAll of all people together. Defaults 100 and 10,000.
	HeldOfOne int `yaml:"held_of_one"`
	HeldOfAll int `yaml:"held_of_all"`
	// MediaURLs has messages name pictures and the like by https URLs, beside "file:ID". Default true.
	MediaURLs bool `yaml:"media_urls"`
	// RecallWindow is how long who wrote a message may take it back, and EditWindow how long he may give it
	// another text. 0: not at all. Defaults 5m and 24h.
	RecallWindow time.Duration `yaml:"recall_window"`
	EditWindow   time.Duration `yaml:"edit_window"`
	// KeepRecalled is how long the body of a recalled message stays in the timeline store, for the operator alone. 0: it is
	// erased at once. Default 24h.
	KeepRecalled time.Duration `yaml:"keep_recalled"`
	// Versions is who may read how an edited message read before: "all" who may read the message, its
	// "sender", or "nobody". Default all.
	Versions string `yaml:"versions"`
	// ChangesPerMinute is how often one person may recall, edit, react, or schedule a message or change one. Default 120.
	ChangesPerMinute int `yaml:"changes_per_minute"`
	// LooksPerMinute is how often one person may ask who has read a message, or how it read before.
	// Default 240.
	LooksPerMinute int `yaml:"looks_per_minute"`
	// SearchScan is how many messages one search looks at, about, and SearchesPerMinute how often one person may search.
	// Defaults 5,000 and 60.
	SearchScan        int `yaml:"search_scan"`
	SearchesPerMinute int `yaml:"searches_per_minute"`
	// ScheduledOfOne is how many messages of one person may wait to be sent later, or be kept since they could not be sent.
	// Default 100.
	ScheduledOfOne int `yaml:"scheduled_of_one"`
	// AnnouncementsPerHour is how many announcements the operator's programs may send. Default 60.
	AnnouncementsPerHour int `yaml:"announcements_per_hour"`
	// TypingPerMinute is how often one person may say that he types. Default 60.
	TypingPerMinute int `yaml:"typing_per_minute"`
	// TypingMembers is up to how many members of a group are told who types, ReadersMembers up to how many who has read
	// a message. 0: none. Defaults 50 and 500.
	TypingMembers  int `yaml:"typing_members"`
	ReadersMembers int `yaml:"readers_members"`
}

// Chat is the plugin. Its methods are safe for concurrent use after Provision.
type Chat struct {
	config Config

	// Static after Provision.
	host      plugin.Host
	timelines timeline.Store
	people    Directory
	held      *heldStore
	lines     *lines
	wake      chan struct{} // of length 1: a held message may go on
	counted   atomic.Pointer[counts]
	events    *eventStore
	filed     chan struct{} // of length 1: events were filed
	types     plugin.Limiter
	searches  plugin.Limiter
	changed   plugin.Limiter
	looks     plugin.Limiter
	announces plugin.Limiter
	changes   changeStore
	files     plugin.Files // nil: nobody keeps any
	lists     listStore
	following *plugin.Lookups[im.UserID, bool] // who follows logs
	scheduled scheduleStore
	lifetimes *lifetimes
	settled   plugin.Limiter    // lifetimes, by conversation
	sends     plugin.Spec       // of action 3
	rules     Rules             // nil: there are none
	tokens    plugin.PushTokens // nil: nobody knows where devices can be told
	persons   plugin.People     // nil: nobody knows names
	// Static when all plugins are provisioned.
	owners   map[im.ConversationType]plugin.ConversationOwner
	guards   []plugin.ChatGuard
	shows    map[im.ConversationType]plugin.Show
	feedings []plugin.Feeding // none: there are no feeds

	announcements *announcements

	fencesMu sync.Mutex                 // guards fences
	fences   map[im.ConversationID]bool // those that are known to be there
}

// New makes the plugin with the default configuration.
func New() *Chat {
	p := &Chat{config: Config{MaxText: 5000, PageBytes: 128 << 10, HeldOfOne: 100, HeldOfAll: 10_000, TypingPerMinute: 60, TypingMembers: 50, ReadersMembers: 500, ScheduledOfOne: 100, SearchScan: 5000, SearchesPerMinute: 60, MediaURLs: true,
		RecallWindow: 5 * time.Minute, EditWindow: 24 * time.Hour, KeepRecalled: 24 * time.Hour, Versions: versionsAll, ChangesPerMinute: 120, LooksPerMinute: 240, AnnouncementsPerHour: 60},
		shows: map[im.ConversationType]plugin.Show{}, fences: map[im.ConversationID]bool{}}
	p.announcements = newAnnouncements(p)
	p.owners = map[im.ConversationType]plugin.ConversationOwner{im.Notices: notices{}, im.Announcements: p.announcements}
	return p
}

// Info implements plugin.Plugin.
func (p *Chat) Info() plugin.Info {
	return plugin.Info{Name: "chat", Version: "1.1", Needs: []string{"account.directory"}, Provides: []string{"chat.sender", plugin.ServiceMessages, plugin.ServiceOutbox, plugin.ServiceAlerts}}
}

// Config implements plugin.Configurer.
func (p *Chat) Config() any { return &p.config }

// Validate implements plugin.Validator.
func (p *Chat) Validate() error {
	if p.config.MaxText < 1 || p.config.MaxText > 10_000 {
		return im.Invalid("chat.max_text", "must be 1-10000, is %d", p.config.MaxText)
	}
	if p.config.PageBytes < 1<<10 || p.config.PageBytes > 1<<20 {
		return im.Invalid("chat.page_bytes", "must be 1024-1048576, is %d", p.config.PageBytes)
	}
	if p.config.HeldOfOne < 1 || p.config.HeldOfAll < p.config.HeldOfOne || p.config.HeldOfAll > 100_000 {
		return im.Invalid("chat.held_of_all", "must be from chat.held_of_one (at least 1) to 100000, they are %d and %d", p.config.HeldOfAll, p.config.HeldOfOne)
	}
	if p.config.TypingPerMinute < 1 || p.config.TypingPerMinute > 6000 {
		return im.Invalid("chat.typing_per_minute", "must be 1-6000, is %d", p.config.TypingPerMinute)
	}
	if p.config.AnnouncementsPerHour < 1 || p.config.AnnouncementsPerHour > 10_000 {
		return im.Invalid("chat.announcements_per_hour", "must be 1-10000, is %d", p.config.AnnouncementsPerHour)
	}
	if p.config.ScheduledOfOne < 1 || p.config.ScheduledOfOne > 10_000 {
		return im.Invalid("chat.scheduled_of_one", "must be 1-10000, is %d", p.config.ScheduledOfOne)
	}
	if p.config.SearchScan < 100 || p.config.SearchScan > 100_000 {
		return im.Invalid("chat.search_scan", "must be 100-100000, is %d", p.config.SearchScan)
	}
	if p.config.SearchesPerMinute < 1 || p.config.SearchesPerMinute > 6000 {
		return im.Invalid("chat.searches_per_minute", "must be 1-6000, is %d", p.config.SearchesPerMinute)
	}
	if p.config.LooksPerMinute < 1 || p.config.LooksPerMinute > 6000 {
		return im.Invalid("chat.looks_per_minute", "must be 1-6000, is %d", p.config.LooksPerMinute)
	}
	if p.config.TypingMembers < 0 || p.config.TypingMembers > 500 {
		return im.Invalid("chat.typing_members", "must be 0-500, is %d", p.config.TypingMembers)
	}
	if p.config.ReadersMembers < 0 || p.config.ReadersMembers > 2000 {
		return im.Invalid("chat.readers_members", "must be 0-2000, is %d", p.config.ReadersMembers)
	}
	return p.config.validateChanges()
}

// Migrations implements plugin.Migrator.
func (p *Chat) Migrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// Provision implements plugin.Provisioner.
func (p *Chat) Provision(_ context.Context, h plugin.Host) (err error) {
	p.host, p.timelines = h, h.Timelines()
	h.Provide("chat.sender", p)
	h.Provide(plugin.ServiceMessages, p)
	h.Provide(plugin.ServiceOutbox, outbox{p})
	h.Provide(plugin.ServiceAlerts, alerts{p})
	p.following = plugin.NewLookups(h, "look who follows logs", followsAtOnce, func(ctx context.Context, users []im.UserID) (map[im.UserID]bool, error) {
		follows := map[im.UserID]bool{}
		return follows, p.beyondInbox(ctx, users, follows)
	})
	p.announcements.provision(h)
	p.held = &heldStore{db: h.DB(), tx: h.Tx}
	p.lines = newLines(p.held, h.Dialect() != "sqlite")
	p.wake = make(chan struct{}, 1)
	p.events = newEventStore(h)
	p.filed = make(chan struct{}, 1)
	p.lists = listStore{h}
	p.changes = changeStore{h}
	p.scheduled = scheduleStore{h}
	p.lifetimes = newLifetimes(h)
	p.settled = h.Limiter("lifetimes", settledPerHour, time.Hour)
	p.changed = h.Limiter("changes", p.config.ChangesPerMinute, time.Minute)
	p.looks = h.Limiter("looks", p.config.LooksPerMinute, time.Minute)
	p.announces = h.Limiter("announcements", p.config.AnnouncementsPerHour, time.Hour)
	p.searches = h.Limiter("searches", p.config.SearchesPerMinute, time.Minute)
	p.types = h.Limiter("typing", p.config.TypingPerMinute, time.Minute)
	if p.people, err = plugin.Need[Directory](h, "account.directory"); err != nil {
		return err
	}
	own := plugin.NewRegistrar("chat")
	p.Register(own)
	for _, spec := range own.Specs() {
		if spec.Action == idl.ActionMessage {
			p.sends = spec
		}
	}
	var of plugin.HoldingsOf
	if err := errors.Join(want(h, plugin.ServiceFiles, &p.files), want(h, plugin.ServicePush, &p.tokens),
		want(h, plugin.ServicePeople, &p.persons), want(h, plugin.ServiceHoldings, &of), want(h, "chat.rules", &p.rules)); err != nil {
		return err
	}
	if of != nil {
		of.Hold("chat", holdings{p})
	}
	return nil
}

// want gets a service that chat works without; into stays nil then.
func want[T any](h plugin.Host, name string, into *T) (err error) {
	if _, offered := h.Service(name); offered {
		*into, err = plugin.Need[T](h, name)
	}
	return err
}

// Start implements plugin.Starter.
func (p *Chat) Start(context.Context) error {
	p.host.Go("held messages", p.runHeld)
	p.host.Go("events", p.runEvents)
	p.host.Go("scheduled messages", p.runScheduled)
	p.host.Go("messages that disappear", p.runSweeps)
	p.host.Go("announcements", p.announcements.warm)
	return nil
}

// Register implements plugin.Plugin.
func (p *Chat) Register(r *plugin.Registrar) {
	plugin.Handle(r, idl.ActionMessage, "send", p.send,
		plugin.Validate[chatpb.SendRequest, chatpb.SendReply](p.validateSend),
		plugin.Answered(p.answered),
		plugin.Permit[chatpb.SendRequest, chatpb.SendReply](p.permitSend),
		plugin.Message[chatpb.SendRequest, chatpb.SendReply](p.reviewed),
		plugin.Joins[chatpb.SendRequest, chatpb.SendReply](),
		plugin.Rewrite[chatpb.SendRequest, chatpb.SendReply]("text", p.config.MaxText),
		plugin.Holds[chatpb.SendRequest, chatpb.SendReply](),
		plugin.Shadows[chatpb.SendRequest, chatpb.SendReply](),
		plugin.Reroutes[chatpb.SendRequest, chatpb.SendReply](plugin.TargetUser))
	plugin.Handle(r, idl.ActionRecall, "recall", p.recall)
	plugin.Handle(r, idl.ActionEdit, "edit", p.edit,
		plugin.Validate[chatpb.EditRequest, chatpb.EditReply](p.validateEdit),
		plugin.Permit[chatpb.EditRequest, chatpb.EditReply](p.permitEdit),
		plugin.Message[chatpb.EditRequest, chatpb.EditReply](reviewedEdit),
		plugin.Rewrite[chatpb.EditRequest, chatpb.EditReply]("text", p.config.MaxText),
		// What the rules would do with a message other than let it go, they refuse of an edit.
		plugin.Holds[chatpb.EditRequest, chatpb.EditReply](),
		plugin.Shadows[chatpb.EditRequest, chatpb.EditReply](),
		plugin.Reroutes[chatpb.EditRequest, chatpb.EditReply](plugin.TargetUser))
	plugin.Handle(r, idl.ActionVersions, "versions", p.versions, plugin.Bulky[chatpb.VersionsRequest, chatpb.VersionsReply]())
	plugin.Handle(r, idl.ActionReact, "react", p.react)
	plugin.Handle(r, idl.ActionReactions, "reactions", p.listReactions)
	plugin.Handle(r, idl.ActionMessageAck, "ack", p.ack, plugin.Joins[chatpb.AckRequest, chatpb.AckReply]())
	plugin.Handle(r, idl.ActionSync, "sync", p.sync, plugin.Bulky[chatpb.SyncRequest, chatpb.SyncReply]())
	plugin.Handle(r, idl.ActionHistory, "history", p.history, plugin.Bulky[chatpb.HistoryRequest, chatpb.HistoryReply]())
	plugin.Handle(r, idl.ActionSearchMessages, "search", p.search,
		plugin.Validate[chatpb.SearchMessagesRequest, chatpb.SearchMessagesReply](p.validateSearch),
		plugin.Bulky[chatpb.SearchMessagesRequest, chatpb.SearchMessagesReply]())
	plugin.Handle(r, idl.ActionSchedule, "schedule", p.schedule, plugin.Validate[chatpb.ScheduleRequest, chatpb.ScheduleReply](p.validateSchedule))
	plugin.Handle(r, idl.ActionListScheduled, "list_scheduled", p.listScheduled, plugin.Bulky[chatpb.ScheduledRequest, chatpb.ScheduledReply]())
	plugin.Handle(r, idl.ActionReschedule, "reschedule", p.reschedule)
	plugin.Handle(r, idl.ActionUnschedule, "unschedule", p.unschedule)
	plugin.Handle(r, idl.ActionHeld, "held", p.listHeld)
	plugin.Handle(r, idl.ActionRead, "read", p.read)
	plugin.Handle(r, idl.ActionListConversations, "list_conversations", p.listConversations, plugin.Bulky[chatpb.ListConversationsRequest, chatpb.ListConversationsReply]())
	plugin.Handle(r, idl.ActionUpdateConversation, "update_conversation", p.updateConversation)
	plugin.Handle(r, idl.ActionReaders, "readers", p.readers)
	plugin.Handle(r, idl.ActionLifetime, "lifetime", p.lifetime)
	plugin.Handle(r, idl.ActionTyping, "typing", p.typing)
	plugin.Handle(r, idl.ActionChatSettings, "settings", p.settings)
	plugin.Handle(r, idl.ActionGetMessageID, "get_message_id", p.getMessageID)
}

// member gives the other person of the chat c, which is user himself in notes to
// self. It refuses everything that is not a chat of user's.
func member(c im.ConversationID, user im.UserID) (peer im.UserID, err error) {
	a, b, ok := c.Pair()
	switch {
	case ok && a == user:
		return b, nil
	case ok && b == user:
		return a, nil
	}
	return 0, &im.Error{Code: idl.CodePermissionDenied, Field: "conversation_id", Reason: "not a conversation of yours"}
}

// conversation finds the conversation that a request names in one of two ways, and the
// other person in it; 0: it is no chat, and its owner says what user may.
func (p *Chat) conversation(id string, with int64, withField string, user im.UserID) (im.ConversationID, im.UserID, error) {
	switch {
	case id != "" && with != 0:
		return "", 0, im.Invalid(withField, "give conversation_id or %s, not both", withField)
	case id != "" && p.owned(im.ConversationID(id)):
		return im.ConversationID(id), 0, nil
	case id != "":
		peer, err := member(im.ConversationID(id), user)
		return im.ConversationID(id), peer, err
	case with > 0:
		return im.ChatOf(user, im.UserID(with)), im.UserID(with), nil
	}
	return "", 0, im.Invalid(withField, "must be the ID of a user")
}

// perMessage are the IDs, seqs and names around a text, in JSON.
const perMessage = 160

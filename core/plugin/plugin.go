// Package plugin is the contract between the core and its plugins: what a plugin
// is (Plugin and the optional interfaces), what it gets (Host), how it declares
// its actions (Registrar, Handle) and what a handler is called with (Call). It
// decides nothing itself: core/server runs the life cycle, core/dispatch the
// actions. plugintest gives a plugin's tests an in-process host.
package plugin

import (
	"context"
	"database/sql"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"freeim/core/im"
	"freeim/core/presence"
	"freeim/core/timeline"
	"freeim/idl"
)

// Plugin is a set of actions with a life. A value in plugins.All() that was only
// constructed: it opens nothing before Provision.
//
// The life: Config is decoded, then for all plugins, in dependency order,
// Migrations are run, Provision, Validate, Register, Start; at the end, in
// reverse order, Drain, Stop. Stop is called for every plugin whose Provision was
// called, also when a later step failed.
type Plugin interface {
	Info() Info
	// Register declares the plugin's actions; it is called after Provision.
	Register(r *Registrar)
}

// Info describes a plugin.
type Info struct {
	Name     string   // lower case; also its key in the configuration and its prefix in action names
	Version  string   // of the plugin
	Needs    []string // names of services (Host.Need) that must be provided by plugins before it
	Provides []string // names of services that it provides
}

// The optional abilities of a plugin, found by type assertion.
type (
	// Configurer gives the struct that the plugin's section of the configuration
	// is decoded into, filled with the defaults. Fields carry yaml tags.
	Configurer interface{ Config() any }
	// Provisioner gets what the plugin works with.
	Provisioner interface {
		Provision(ctx context.Context, h Host) error
	}
	// Validator says what is wrong with the configuration.
	Validator interface{ Validate() error }
	// Starter begins background work (through Host.Go).
	Starter interface {
		Start(ctx context.Context) error
	}
	// Drainer refuses new work and finishes what is under way.
	Drainer interface {
		Drain(ctx context.Context) error
	}
	// Stopper releases what Provision and Start took.
	Stopper interface {
		Stop(ctx context.Context) error
	}
	// Migrator has a schema: files NNNNN_name.sql in goose's format, which must
	// run on SQLite and on MySQL.
	Migrator interface{ Migrations() fs.FS }
	// Holder has messages wait for decisions, and counts them as it saw them last: those
	// that wait for one, and those that stand behind them.
	Holder interface {
		Held() (waiting, behind int64)
	}
	// Counter counts what the plugin did since its start, each by a name that never changes.
	Counter interface{ Counts() map[string]int64 }
	// Forwarder tells other programs what happens, and counts that, by their names.
	Forwarder interface{ Forwarded() map[string]Forwarded }
	// Pager has pages for the administrative port.
	Pager interface{ Pages() []Page }
	// Healther says what is wrong now; nil is healthy.
	Healther interface {
		Health(ctx context.Context) error
	}
)

// Host is what the core gives a plugin. Safe for concurrent use.
type Host interface {
	Log() *slog.Logger
	Now() time.Time
	DB() *sql.DB // the directory, for reading
	// Tx runs fn in one transaction of the directory and commits it; an error of
	// fn undoes it. When the engine ended it because of another transaction (a
	// deadlock, a lock that did not come free), fn is run again: beside the
	// transaction it must do nothing that is wrong twice. Inside it, only the
	// transaction is used. See core/sql, README.md.
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	// Dialect is the directory's SQL: "sqlite", which no other core has open, or
	// "mysql".
	Dialect() string
	Timelines() timeline.Store
	Presence() presence.Registry
	// Watch has heard be told of sessions that come and go through this core, see presence.Observed. In Provision only.
	Watch(heard func(presence.Change, ...presence.Route))
	MessageIDs() *im.IDGenerator
	// Limiter gives a limit of n events per period and key, 0: of any number. name
	// keeps the keys apart from other limits'; it is asked for once, in Provision.
	// Cores share limits where their profile has something to share them by.
	Limiter(name string, n int, per time.Duration) Limiter

	// Push sends a frame to sessions of the users: best effort, in the order of
	// the calls for each user, never blocking for long. except is left out if
	// it is not nil.
	Push(p Push)
	// Wake tells every edge that a log has grown up to that seq: it has the sessions that follow it
	// (Call.Follow) ask for what is new; announcements everybody follows. Best effort, and it never blocks.
	Wake(log im.ConversationID, seq int64)
	// Kick ends the sessions with a reason.
	Kick(routes []presence.Route, reason idl.CloseReason, message string)

	// Rooms is who is in which room, and the way to reach them.
	Rooms() Rooms

	// Provide offers a service to plugins that come later; Need gets one. Both
	// are called in Provision only; use the generic Need function.
	Provide(name string, service any)
	Service(name string) (any, bool)

	// Go runs fn until it returns; ctx ends at Stop. A panic is recovered,
	// logged and counted.
	Go(name string, fn func(ctx context.Context))
}

// Limiter counts events by key and says how long to wait when there were too
// many. A key may have its n events at once; each comes back after its share of
// the period. No call fails: a limit that cannot be looked up is kept by the core
// alone. Safe for concurrent use.
type Limiter interface {
	// Wait gives how long it takes until every key may have one more event, 0: now.
	Wait(ctx context.Context, keys ...string) time.Duration
	// Take counts one event of every key, or of none and gives the time to wait.
	Take(ctx context.Context, keys ...string) time.Duration
	// TakeAt is Take at another rate than the limit's own, for one that users set. The
	// rate of a key should stay the same for a while; when it changes, nobody waits for
	// longer than the new one has him.
	TakeAt(ctx context.Context, n int, per time.Duration, keys ...string) time.Duration
	// GiveBack takes one event of every key back.
	GiveBack(ctx context.Context, keys ...string)
	// GiveBackAt is GiveBack of what was taken at another rate than the limit's own.
	GiveBackAt(ctx context.Context, n int, per time.Duration, keys ...string)
}

// Push is a server-initiated frame on its way to people.
type Push struct {
	Action idl.Action
	Body   idl.Message // encoded once per codec; must not be changed any more
	Users  []im.UserID
	// InboxSeqs is empty, or as long as Users: the edge stamps each user's
	// number into the body as field 1, inbox_seq.
	InboxSeqs []int64
	// Except is a session that does not get it: the sender's own. Zero: none.
	Except presence.SessionRef
	// Passing says that it is worth nothing later: it is dropped first when much waits.
	Passing bool
}

// Page is one for operators.
type Page struct {
	Pattern string // of http.ServeMux: "GET /held"
	Handler http.Handler
	About   string // a line for the index: what it is
}

// Forwarded is what became of the events for one program, as far as this core knows.
type Forwarded struct {
	Delivered, Failed, Dead int64         // events; deliveries; events that were given up
	Expired                 int64         // messages too old to tell people of when their turn came
	Crowded                 int64         // messages of rooms that were told nobody, since too much waited behind them
	Pending                 int64         // items of feeds that were not looked at yet, if this core delivers
	Oldest                  time.Duration // the age of the oldest event that could not be delivered yet; 0: there is none
	Broken, Stopped         bool          // it is left alone for a while; until an operator resumes it
}

// Need gets a service that another plugin provides.
func Need[T any](h Host, name string) (T, error) {
	var none T
	found, ok := h.Service(name)
	if !ok {
		return none, im.Errorf(idl.CodeInternal, "service %q is not provided by any plugin", name)
	}
	service, ok := found.(T)
	if !ok {
		return none, im.Errorf(idl.CodeInternal, "service %q is a %T", name, found)
	}
	return service, nil
}

// Configs gives each plugin's section by name, for a loader to decode into:
// what Configurer returned, filled with the defaults.
func Configs(plugins []Plugin) map[string]any {
	sections := map[string]any{}
	for _, p := range plugins {
		if c, ok := p.(Configurer); ok {
			sections[p.Info().Name] = c.Config()
		}
	}
	return sections
}

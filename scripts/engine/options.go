package engine

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"freeim/scripts/engine/syntax"
)

// Options configures an Engine. Every zero value has a meaning.
type Options struct {
	// Dir holds the scripts; it must exist. Sub-directories belong to it.
	Dir string
	// StateDir is where the last 20 bundles are kept, and what was decided about
	// them: one can go back to them, and a start with broken scripts goes on with the
	// last that worked. Empty: only the bundle before is kept, until the end.
	StateDir string
	Log      *slog.Logger     // nil: slog.Default
	Now      func() time.Time // what im.now shows to scripts; nil: time.Now
	// Codes are the codes that im.deny accepts, in lower case ("rejected").
	// Empty: any lower-case word.
	Codes []string
	// Actions are those that there are. Empty: nobody knows, any name will do.
	Actions []Action
	// Offer is told which actions scripts define, at the start and whenever that changes.
	// It must not block. nil: nobody is told.
	Offer      func(all []*Scripted)
	Thresholds []Threshold // what scores lead to
	// Targets are what im.reroute can name. nil: nobody knows, any name will do.
	Targets map[string]Target
	// CheckText says what a text that a hook makes may not be, beyond its length: the hook
	// fails, and the text stays. nil: it may be anything.
	CheckText func(text string) error

	// Edge says that the engine runs beside connections: hooks of the core are checked,
	// and never asked; on_tick hooks do not run, and tests that ask either have passed.
	Edge bool
	// Pools are what im.reroute may name there. Empty: nobody knows, any name will do.
	Pools []string

	// Config is what the operator gives to scripts, by im.config's name and key, as
	// text. It is no part of a bundle's hash.
	Config map[string]map[string]string
	trying *trying // what a bundle's test has set; nil: no test runs

	// Made says when a person's account was made, for c.account_age, if the call's
	// facts do not give that. It is asked while a hook runs and must answer within a
	// small part of its time; ok is false when it is not known. nil: nobody knows.
	Made func(user string) (at time.Time, ok bool)

	Effects Effects // does what scripts ask for; nil: nobody does
	// Senders are the IDs of the accounts that im.send sends from. nil: any.
	Senders []string
	// Endpoints are the names that im.http.post takes. nil: any, nobody knows.
	Endpoints []string

	// KV is where im.kv keeps its values; nil: in this process.
	KV KV
	// Shared is where im.shared keeps its values; nil: in this process, which then is the
	// only one.
	Shared Shared
	state  *state // what rules remember; New makes it

	// The budget of one hook call; whoever exceeds it is stopped.
	Instructions int // units of work, about 45 ns each; 0: 100,000
	// ChainInstructions are the units of all hooks that decide about one message together, no less than one's; 0: four times as many.
	// What gates do is not counted.
	ChainInstructions int
	Wall              time.Duration // 0: 5 ms
	ChainWall         time.Duration // all hooks of one message together; 0: 10 ms
	ActionWall        time.Duration // the function of a scripted action, which has four times the work; 0: 20 ms
	AsideWall         time.Duration // one after or on_tick hook, which has ten times the work; 0: 50 ms
	AfterQueue        int           // actions that wait for after hooks; beyond, the newest is dropped. 0: 1,024
	MaxText           int           // characters that a rewritten text may have; 0: 5,000

	// What a bundle must keep to be activated.
	LoadWall     time.Duration // compiling and running all files once, on a machine however busy: work has a bound of its own; 0: 5 s
	TestWall     time.Duration // its own tests together; 0: 5 s
	RequireRules bool          // a bundle must register a hook
	RequireTests bool          // every hook must be called by one of the bundle's tests

	// The pool of Lua VMs of the active bundle.
	VMs     int // at most; 0: 64
	VMCalls int // messages that one VM judges before it is replaced; 0: 10,000
	// Wait is how long an action waits for a VM while all are busy, if it has that much
	// time: a rush is late, and not refused. 0: 1 s.
	Wait time.Duration

	// Policy is how bundles are activated that come from changed files.
	Policy Policy

	Watch  Watch  // what a bundle is compared by, once it decides
	Record Record // what is kept of actions, to try bundles on

	// How Run watches Dir.
	Poll     time.Duration // a rescan whatever the file system says; 0: 30 s
	Debounce time.Duration // quiet time after a change before a rescan, ten times that at most; 0: 200 ms
}

// Action is one that hooks may be asked about.
type Action struct {
	Name       string  // "chat.send"
	Number     int     // on the wire; 0: nobody knows
	Message    bool    // it commits a message
	Shadows    bool    // which can be kept from everybody but its sender
	Holds      bool    // or wait for a decision
	Reroutes   string  // or be sent to targets of this kind, "user" or "room"; empty: it cannot
	Rewritable []Field // of its request
	// Request makes an empty request, a pointer to a generated struct; nil: there is
	// none. Tests of rules fill it in.
	Request func() any
	Reply   func() any // the same of its reply
}

func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Instructions = cmp.Or(o.Instructions, 100_000)
	o.ChainInstructions = cmp.Or(o.ChainInstructions, chainWork*o.Instructions)
	o.MaxText = cmp.Or(o.MaxText, 5000)
	o.AfterQueue = cmp.Or(o.AfterQueue, 1024)
	o.ActionWall = cmp.Or(o.ActionWall, 20*time.Millisecond)
	o.AsideWall = cmp.Or(o.AsideWall, 50*time.Millisecond)
	o.VMs = cmp.Or(o.VMs, 64)
	o.VMCalls = cmp.Or(o.VMCalls, 10_000)
	o.Wait = cmp.Or(o.Wait, time.Second)
	o.Wall = cmp.Or(o.Wall, 5*time.Millisecond)
	o.ChainWall = cmp.Or(o.ChainWall, 10*time.Millisecond)
	o.LoadWall = cmp.Or(o.LoadWall, 5*time.Second)
	o.TestWall = cmp.Or(o.TestWall, 5*time.Second)
	o.Poll = cmp.Or(o.Poll, 30*time.Second)
	o.Watch.setDefaults()
	o.Record.setDefaults()
	o.Debounce = cmp.Or(o.Debounce, 200*time.Millisecond)
}

func (o *Options) validate() error {
	if o.Dir == "" {
		return errors.New("scripts: no directory given")
	}
	if err := o.Policy.Validate(); err != nil {
		return fmt.Errorf("scripts: %w", err)
	}
	if err := errors.Join(o.Watch.Validate(), o.Record.Validate()); err != nil {
		return fmt.Errorf("scripts: %w", err)
	}
	for name, n := range map[string]int{"Instructions": o.Instructions, "MaxText": o.MaxText, "AfterQueue": o.AfterQueue, "VMs": o.VMs, "VMCalls": o.VMCalls} {
		if n < 1 {
			return fmt.Errorf("scripts: %s is %d, must be positive", name, n)
		}
	}
	for name, d := range map[string]time.Duration{"Wait": o.Wait, "Wall": o.Wall, "ChainWall": o.ChainWall, "AsideWall": o.AsideWall, "ActionWall": o.ActionWall, "LoadWall": o.LoadWall,
		"TestWall": o.TestWall, "Poll": o.Poll, "Debounce": o.Debounce} {
		if d < time.Millisecond {
			return fmt.Errorf("scripts: %s is %v, must be at least 1ms", name, d)
		}
	}
	if o.ChainInstructions < o.Instructions {
		return fmt.Errorf("scripts: ChainInstructions is %d, must be at least %d, those of one hook", o.ChainInstructions, o.Instructions)
	}
	for _, t := range o.Thresholds {
		if !o.knows(t.Code) {
			return fmt.Errorf("scripts: a threshold has the unknown code %q", t.Code)
		}
	}
	return o.validateTargets()
}

// The limits that are the same everywhere.
const (
	maxFile    = 256 << 10 // octets of one source file
	maxBundle  = 4 << 20   // octets of all source files
	maxFiles   = 1000
	maxDepth   = 8                     // directories below Dir
	maxString  = 256 << 10             // octets of any string that a script makes
	maxResults = 8000                  // values that one library call returns, as in Lua 5.1
	maxIndex   = syntax.MaxIndex       // of the array part of a table
	maxCalls   = 120                   // nested Lua calls
	maxHooks   = 1000                  // of a bundle
	maxNames   = 32                    // of hooks that one hook runs before, or after
	chainWork  = 4                     // times the work of one hook that a chain may do
	loadUnits  = 1_000_000             // units of work for running one file, or one test
	vmWork     = 1_000_000             // units of work after which a VM is replaced
	vmTried    = vmWork / 10           // of one whose bundle is tried, by its tests or a replay, with far more work in a row than messages make
	vmBusy     = 50 * time.Millisecond // or time in its hooks: some instructions make more of what they cost than others
	mostBusy   = 5 * time.Millisecond  // of one hook that counts: it may merely not have been scheduled
)

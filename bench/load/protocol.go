package load

import "time"

// What a Fleet and its workers tell each other: one JSON object a line, commands
// on the worker's standard input, events on its standard output. A worker answers
// a command with the event of the same name, in order, and with a failure when it
// cannot go on; progress comes in between.
const (
	doPlan  = "plan"  // connect everything of Plan; answered when all sessions are ready
	doStart = "start" // send
	doMark  = "mark"  // count anew
	doCut   = "cut"   // give what was counted since the mark
	doHold  = "hold"  // send no more; answered when all sends are, with the rooms' heads
	doDrain = "drain" // wait for what is on its way, up to the heads, then judge
	doBreak = "break" // cut every connection; with Plan.Reconnect they come back
	doReady = "ready" // answered when all sessions are ready (again)

	isProgress = "progress"
	isFailure  = "failure"
)

type command struct {
	Do    string
	Plan  *Plan            `json:",omitempty"`
	Paces map[string]Pace  `json:",omitempty"` // by group, with start
	Heads map[string]int64 `json:",omitempty"` // of rooms, with drain
	Limit time.Duration    `json:",omitempty"` // how long the answer may take
}

type event struct {
	Is       string
	Progress *Progress        `json:",omitempty"`
	Connects *Connects        `json:",omitempty"` // with plan and ready
	Results  []Result         `json:",omitempty"` // with cut and drain, one for each group
	Heads    map[string]int64 `json:",omitempty"` // with hold
	Failure  string           `json:",omitempty"`
}

// Pace is how a group sends from a start on, instead of what its plan says.
type Pace struct {
	Window int
	Rate   float64 // of all workers together
}

// Progress is where a worker stands, since its start.
type Progress struct {
	Sessions int // of the plan
	Ready    int
	Ended    int64 // sessions that ended although they should not
	Sent     int64
	Received int64
	Faults   int64
}

func (p *Progress) add(o Progress) {
	p.Sessions += o.Sessions
	p.Ready += o.Ready
	p.Ended += o.Ended
	p.Sent += o.Sent
	p.Received += o.Received
	p.Faults += o.Faults
}

// Connects is how sessions got ready, the last time that they were asked to.
type Connects struct {
	Count  int64
	Failed int64     // attempts
	From   int64     // ns of the clock: the first attempt
	To     int64     // the last session was ready
	Took   Histogram // from the attempt to ready, of each session
}

// Seconds is the time from the first attempt to the last ready session.
func (c *Connects) Seconds() float64 { return time.Duration(c.To - c.From).Seconds() }

func (c *Connects) add(o *Connects) {
	if o.Count > 0 && (c.Count == 0 || o.From < c.From) {
		c.From = o.From
	}
	c.To = max(c.To, o.To)
	c.Count += o.Count
	c.Failed += o.Failed
	c.Took.Add(&o.Took)
}

// Result is what a group has done: since the mark (cut) or since its start (drain).
type Result struct {
	Name     string
	Seconds  float64 // since the mark
	Sent     int64
	Answered int64
	Refused  map[string]int64 // by code
	Ended    map[string]int64 // sessions, by reason
	Resyncs  int64            // sessions that were told to sync
	Reads    int64            // read calls that brought deliveries
	Behind   time.Duration    // the most that a send was late, of an open loop
	Beats    int64            // heartbeats answered
	Silenced int64            // sessions that read nothing and were closed as slow for it

	Checks   Checks
	Delivery Histogram // from due to received
	Answer   Histogram // from due to answered
}

func (r *Result) add(o *Result) {
	r.Name = o.Name
	r.Seconds = max(r.Seconds, o.Seconds)
	r.Sent += o.Sent
	r.Answered += o.Answered
	r.Refused = addCounts(r.Refused, o.Refused)
	r.Ended = addCounts(r.Ended, o.Ended)
	r.Resyncs += o.Resyncs
	r.Reads += o.Reads
	r.Behind = max(r.Behind, o.Behind)
	r.Beats += o.Beats
	r.Silenced += o.Silenced
	r.Checks.add(o.Checks)
	r.Delivery.Add(&o.Delivery)
	r.Answer.Add(&o.Answer)
}

// Since is what r, which goes on from before, counts beyond it; not its times.
func (r *Result) Since(before *Result) Result {
	n := Result{
		Name: r.Name, Sent: r.Sent - before.Sent, Answered: r.Answered - before.Answered, Resyncs: r.Resyncs - before.Resyncs,
		Beats: r.Beats - before.Beats, Silenced: r.Silenced - before.Silenced,
		Refused: lessCounts(r.Refused, before.Refused), Ended: lessCounts(r.Ended, before.Ended),
	}
	a, b := r.Checks, before.Checks
	n.Checks = Checks{Received: a.Received - b.Received, Skipped: a.Skipped - b.Skipped, Lost: a.Lost - b.Lost,
		Doubled: a.Doubled - b.Doubled, Reordered: a.Reordered - b.Reordered, Garbled: a.Garbled - b.Garbled}
	return n
}

func lessCounts(all, before map[string]int64) map[string]int64 {
	left := map[string]int64{}
	for key, n := range all {
		if n > before[key] {
			left[key] = n - before[key]
		}
	}
	return left
}

func addCounts(to, from map[string]int64) map[string]int64 {
	if to == nil && len(from) > 0 {
		to = map[string]int64{}
	}
	for key, n := range from {
		to[key] += n
	}
	return to
}

// Errors is what happened that should not, beside the findings of the checks.
func (r *Result) Errors() (n int64) {
	for _, times := range r.Refused {
		n += times
	}
	for _, times := range r.Ended {
		n += times
	}
	return n + r.Resyncs
}

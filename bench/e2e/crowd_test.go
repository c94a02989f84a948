package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/bench/history"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
)

// crowd is pairs of people who talk while things go wrong, and the books of what
// was promised to them meanwhile.
type crowd struct {
	t     *testing.T
	name  string
	pairs []*pair
	acked atomic.Int64
	reset atomic.Int64 // how often a device was told that its cursor means nothing
	away  absences     // of the devices

	mu    sync.Mutex // guards the fields below
	sends []history.Send
	ends  []error           // of connections
	read  []history.Reading // at the end, by the last audit

	kept bool // owned by the test: see keepBooks
}

// pair is two people who send to each other.
type pair struct {
	members [2]*member
}

// member is one person, with devices that are all shown everything.
type member struct {
	owner   *person
	devices []*device
	told    []*told // one for each device
}

// told is what one device has been shown, as the application saw it.
type told struct {
	mu      sync.Mutex // guards the fields below
	entries []*client.Entry
	times   []time.Time // when each was
}

func (d *told) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.entries)
}

// kinds are the devices of a person, in the order in which they are added.
var kinds = []idl.DeviceType{idl.DeviceMobile, idl.DeviceDesktop, idl.DeviceWeb, idl.DeviceTablet}

// gather makes n pairs of people who have one device for each way to reach the
// server; of two people, the first devices take different ways.
func gather(t *testing.T, n int, ways ...func() client.Options) *crowd {
	return gatherNamed(t, "p", n, len(ways), ways...)
}

// gatherNamed is gather for people with so many devices, and names of their own:
// several crowds can be on one server.
func gatherNamed(t *testing.T, name string, n, devices int, ways ...func() client.Options) *crowd {
	c := &crowd{t: t, name: name}
	c.keepBooks(t)
	for i := range n {
		p := &pair{}
		for side := range p.members {
			at := 2*i + side
			way := func(k int) client.Options { return ways[(at+k)%len(ways)]() }
			owner, err := signUp(t.Context(), way(0), fmt.Sprintf("%s%d-%d", name, i, side))
			if err != nil {
				t.Fatal(err)
			}
			p.members[side] = &member{owner: owner}
			for k := range devices {
				c.join(t.Context(), p.members[side], way(k), kinds[k])
			}
		}
		c.pairs = append(c.pairs, p)
	}
	return c
}

// join adds a device of the member's that keeps books.
func (c *crowd) join(ctx context.Context, m *member, o client.Options, kind idl.DeviceType) *device {
	d, err := newDevice(ctx, o, m.owner, kind.String(), kind)
	if err != nil {
		c.t.Fatal(err)
	}
	// The crowd keeps books of its own, for every entry.
	if err := d.disconnect(); err != nil {
		c.t.Fatal(err)
	}
	told := &told{}
	d.options.Store = &client.MemoryStore{}
	d.options.Handler.Message = func(_ context.Context, e *client.Entry) error {
		told.mu.Lock()
		defer told.mu.Unlock()
		told.entries, told.times = append(told.entries, e), append(told.times, time.Now())
		return nil
	}
	d.options.Handler.Disconnected = func(_ context.Context, cut client.Disconnect) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ends = append(c.ends, cut.Err)
	}
	d.options.Handler.Reset = func(context.Context, client.Reset) { c.reset.Add(1) }
	away := c.away.watch(&d.options.Handler)
	if err := d.connect(ctx); err != nil {
		c.t.Fatal(err)
	}
	away.session.Store(d.session)
	m.devices, m.told = append(m.devices, d), append(m.told, told)
	return d
}

// talk has everybody send count messages and returns when all are answered.
func (c *crowd) talk(ctx context.Context, count int) {
	c.speakUntil(ctx, func(said int) bool { return said == count })
}

// talkWhile has everybody send until what happens meanwhile is over, and returns
// when all is answered. When meanwhile ends the test, no answer is waited for.
func (c *crowd) talkWhile(ctx context.Context, meanwhile func()) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := true
	var over atomic.Bool
	var talking sync.WaitGroup
	talking.Go(func() { c.speakUntil(ctx, func(int) bool { return over.Load() }) })
	defer talking.Wait()
	defer over.Store(true)
	defer func() {
		if failed {
			cancel()
		}
	}()
	meanwhile()
	failed = false
}

func (c *crowd) speakUntil(ctx context.Context, enough func(said int) bool) {
	var all sync.WaitGroup
	for _, p := range c.pairs {
		for side, m := range p.members {
			all.Go(func() { c.speak(ctx, m, p.members[1-side], enough) })
		}
	}
	all.Wait()
}

// speak sends messages from all devices in turn, a few ahead of their answers.
func (c *crowd) speak(ctx context.Context, m, to *member, enough func(said int) bool) {
	const ahead = 4
	slots := make(chan struct{}, ahead)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	from := c.said(m)
	for i := 0; !enough(i); i++ {
		slots <- struct{}{}
		d := m.devices[i%len(m.devices)]
		send := history.Send{Conversation: conversation(m, to), ID: fmt.Sprintf("%s-%d", m.owner.name, from+i), Sent: time.Now()}
		sent, err := d.session.Send(ctx, client.Outgoing{To: to.owner.id, Text: fmt.Sprint("text ", i), ClientID: send.ID})
		if err != nil {
			c.t.Error(err)
			return
		}
		waiting.Go(func() {
			defer func() { <-slots }()
			rep, err := sent.Wait(ctx)
			send.Answered = time.Now()
			switch {
			case err == nil:
				send.Outcome, send.MessageID, send.Seq = history.Acked, rep.MessageId, rep.Seq
				c.acked.Add(1)
			case sent.State() == client.Refused:
				send.Outcome = history.Refused
				c.t.Errorf("%s: %v", send.ID, err)
			default:
				c.t.Errorf("%s: %v", send.ID, err)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.sends = append(c.sends, send)
		})
	}
}

// said is how many messages the member has sent in earlier talks.
func (c *crowd) said(m *member) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sends {
		if len(s.ID) > len(m.owner.name) && s.ID[:len(m.owner.name)+1] == m.owner.name+"-" {
			n++
		}
	}
	return n
}

func conversation(a, b *member) string {
	return fmt.Sprint(min(a.owner.id, b.owner.id), " and ", max(a.owner.id, b.owner.id))
}

// gap is the longest time without an acknowledgement between from and to.
func (c *crowd) gap(from, to time.Time) (longest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	times := []time.Time{from, to}
	for _, s := range c.sends {
		if s.Outcome == history.Acked && s.Answered.After(from) && s.Answered.Before(to) {
			times = append(times, s.Answered)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i].Sub(times[i-1]))
	}
	return longest
}

// ackedBetween is how many messages were acknowledged then.
func (c *crowd) ackedBetween(from, to time.Time) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sends {
		if s.Outcome == history.Acked && s.Answered.After(from) && s.Answered.Before(to) {
			n++
		}
	}
	return n
}

// audit holds what is stored, and what was shown, against what was promised:
// lost, twice, phantom, reordered, disagree and vanished are all 0, everybody was
// shown everything, and every inbox is dense and the same on each device.
func (c *crowd) audit(ctx context.Context) *history.Report {
	c.t.Helper()
	c.mu.Lock()
	h := &history.History{Sends: slices.Clone(c.sends)}
	c.mu.Unlock()
	for _, p := range c.pairs {
		h.Readings = append(h.Readings, c.readings(ctx, p)...)
	}
	c.mu.Lock()
	c.read = slices.DeleteFunc(slices.Clone(h.Readings), func(r history.Reading) bool { return r.Live })
	c.mu.Unlock()
	report := h.Check()
	if report.Count() > 0 || c.reset.Load() > 0 || report.Acked == 0 {
		c.t.Errorf("%v, %d resets", report, c.reset.Load())
	}
	return report
}

// readings are what the pair's people read at the end, and what their devices
// were shown; no inbox may have a gap.
func (c *crowd) readings(ctx context.Context, p *pair) (all []history.Reading) {
	name := conversation(p.members[0], p.members[1])
	for side, m := range p.members {
		log := c.readLog(ctx, p, side)
		all = append(all, history.Reading{Conversation: name, Reader: m.owner.name + "'s history", Items: items(log)})
		for k, told := range m.told {
			err := until(ctx, func() (bool, error) { return told.count() >= len(log), nil })
			told.mu.Lock()
			if err != nil || len(told.entries) != len(log) {
				c.t.Errorf("%s@%s was shown %d messages of %d: %v", m.owner.name, m.devices[k].name, len(told.entries), len(log), err)
			}
			for at, e := range told.entries {
				if e.InboxSeq != int64(at+1) {
					c.t.Errorf("%s@%s was shown inbox seq %d at place %d", m.owner.name, m.devices[k].name, e.InboxSeq, at+1)
					break
				}
			}
			all = append(all, c.shown(name, m, k, told))
			told.mu.Unlock()
		}
	}
	return all
}

// shown is what one device was shown. told.mu must be held.
func (c *crowd) shown(conversation string, m *member, device int, told *told) history.Reading {
	r := history.Reading{Conversation: conversation, Reader: m.owner.name + "@" + m.devices[device].name, Live: true}
	for at, e := range told.entries {
		seen := item(e.Message)
		seen.Seen = told.times[at]
		r.Items = append(r.Items, seen)
	}
	return r
}

func items(log []*chatpb.Message) (all []history.Item) {
	for _, m := range log {
		all = append(all, item(m))
	}
	return all
}

func item(m *chatpb.Message) history.Item {
	return history.Item{ID: m.ClientId, MessageID: m.Id, Seq: m.Seq}
}

// readLog reads the pair's whole conversation as one of them, oldest first.
func (c *crowd) readLog(ctx context.Context, p *pair, side int) (log []*chatpb.Message) {
	req := &chatpb.HistoryRequest{WithUserId: p.members[1-side].owner.id, Limit: 500}
	for {
		rep, err := p.members[side].devices[0].session.History(ctx, req)
		if err != nil {
			c.t.Fatal(err)
		}
		slices.Reverse(rep.Messages) // newest first, as they come
		log = append(rep.Messages, log...)
		if !rep.HasMore {
			return log
		}
		req.BeforeSeq = log[0].Seq
	}
}

// devices are everybody's.
func (c *crowd) devices() (all []*device) {
	for _, p := range c.pairs {
		for _, m := range p.members {
			all = append(all, m.devices...)
		}
	}
	return all
}

// leave ends everybody's session.
func (c *crowd) leave() {
	for _, d := range c.devices() {
		if err := d.disconnect(); err != nil {
			c.t.Error(err)
		}
	}
}

// signIn signs a person in on one more device and gives the token, without a
// session.
func signIn(ctx context.Context, o client.Options, name, device string, kind idl.DeviceType) (token string, err error) {
	conn, err := client.Dial(ctx, o)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	rep, err := conn.SignIn(ctx, name, password, &accountpb.Device{Id: device, Type: kind})
	if err != nil {
		return "", err
	}
	return rep.Token, nil
}

// countDisconnects gives a function that says how many connections have ended since.
func (c *crowd) countDisconnects() func() int {
	had := len(c.cuts())
	return func() int { return len(c.cuts()) - had }
}

// countReasons gives a function that says with which reasons connections have been
// ended by the server since.
func (c *crowd) countReasons() func() []idl.CloseReason {
	had := len(c.cuts())
	return func() (reasons []idl.CloseReason) {
		for _, err := range c.cuts()[had:] {
			if q, ok := errors.AsType[*client.Quit](err); ok {
				reasons = append(reasons, q.Reason)
			}
		}
		return reasons
	}
}

// cuts are all ends of connections so far, as the devices' handlers were told.
func (c *crowd) cuts() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.ends)
}

func retryAfter(err error) time.Duration {
	if r, ok := errors.AsType[*client.Refusal](err); ok {
		return r.RetryAfter
	}
	return 0
}

// Package history checks what people were promised against what they can read: it
// takes who sent what, what was acknowledged, and what every reader saw, and names
// each message that was lost, doubled, invented, reordered, shown in two orders or
// taken back. It knows nothing of servers and clients; fault tests and bench fill a
// History and hand it in after the faults.
package history

import (
	"fmt"
	"strings"
	"time"
)

// Outcome is what a sender knows of a message at the end.
type Outcome int

const (
	Unknown Outcome = iota // no answer came: it may be there or not
	Acked                  // committed, the server said
	Refused                // refused for good: it must not be there
)

// Send is one message as its sender knows it.
type Send struct {
	Conversation string
	ID           string    // the client ID with its sender's name: unique in the history
	Sent         time.Time // before the first attempt
	Answered     time.Time // after the answer, unless Unknown
	Outcome      Outcome
	MessageID    string // what the ack named; empty unless Acked
	Seq          int64
	// Stream names what was sent ahead of its answers and acked without being sent again:
	// what is of one stream stands in the order of Sends. Empty: it is of none.
	Stream string
}

// Item is one message as a reader saw it.
type Item struct {
	ID        string // as in Send
	MessageID string
	Seq       int64 // the place in the conversation
	// Seen is when it was shown, of a Live reading; zero: that is not known. Check does not look at it.
	Seen time.Time
}

// Reading is one conversation as one reader saw it, in the order in which it was
// shown.
type Reading struct {
	Conversation string
	Reader       string
	// Live is a device that was shown messages while things happened; else the
	// reading was made at the end and must hold everything.
	Live  bool
	Items []Item
}

// same reports whether both are the same message at the same place, whenever each was seen.
func (i Item) same(as Item) bool {
	return i.ID == as.ID && i.MessageID == as.MessageID && i.Seq == as.Seq
}

// History is everything that is held together.
type History struct {
	Sends    []Send
	Readings []Reading
}

// Report lists what is wrong, a line for each finding; all empty: nothing is.
type Report struct {
	Acked, Refused, Unknown int // of the sends: an idle server loses nothing

	Lost      []string // acked, and absent at the end
	Twice     []string // more than once in one reading
	Phantom   []string // never sent, or refused
	Reordered []string // before a message that was acked before it was sent, or against seq or ID
	Disagree  []string // two readers, two orders or two contents
	Vanished  []string // shown live, and absent at the end
}

// Count is the number of findings.
func (r *Report) Count() int {
	return len(r.Lost) + len(r.Twice) + len(r.Phantom) + len(r.Reordered) + len(r.Disagree) + len(r.Vanished)
}

// shown is how many findings of a kind String names.
const shown = 5

// String gives the figures, and the first findings of each kind.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d acked, %d refused, %d unknown", r.Acked, r.Refused, r.Unknown)
	for _, kind := range []struct {
		name  string
		found []string
	}{{"lost", r.Lost}, {"twice", r.Twice}, {"phantom", r.Phantom}, {"reordered", r.Reordered}, {"disagree", r.Disagree}, {"vanished", r.Vanished}} {
		fmt.Fprintf(&b, ", %d %s", len(kind.found), kind.name)
		for _, line := range kind.found[:min(len(kind.found), shown)] {
			fmt.Fprintf(&b, "\n\t%s: %s", kind.name, line)
		}
	}
	return b.String()
}

// Check holds the readings against the sends.
func (h *History) Check() *Report {
	c := checker{report: &Report{}, sends: make(map[string]*Send, len(h.Sends)), places: make(map[string]int, len(h.Sends)), ends: map[string][]*ending{}}
	for i := range h.Sends {
		c.sent(&h.Sends[i])
		c.places[h.Sends[i].ID] = i
	}
	for i := range h.Readings {
		if !h.Readings[i].Live {
			c.readAtTheEnd(&h.Readings[i])
		}
	}
	for i := range h.Readings {
		c.read(&h.Readings[i])
	}
	for i := range h.Sends {
		c.lost(&h.Sends[i])
	}
	return c.report
}

type checker struct {
	report *Report
	sends  map[string]*Send     // by ID
	places map[string]int       // of the sends in the history, by ID
	ends   map[string][]*ending // by conversation: the readings at the end
}

// ending is one reading at the end, with the place of each message.
type ending struct {
	reader string
	places map[string]place // by ID
}

type place struct {
	at int
	Item
}

func (c *checker) sent(s *Send) {
	switch s.Outcome {
	case Acked:
		c.report.Acked++
	case Refused:
		c.report.Refused++
	case Unknown:
		c.report.Unknown++
	}
	if c.sends[s.ID] != nil {
		note(&c.report.Twice, "%s was sent under one ID twice: the history itself is wrong", s.ID)
	}
	c.sends[s.ID] = s
}

func (c *checker) readAtTheEnd(r *Reading) {
	e := &ending{reader: r.Reader, places: make(map[string]place, len(r.Items))}
	for at, item := range r.Items {
		e.places[item.ID] = place{at, item}
	}
	c.ends[r.Conversation] = append(c.ends[r.Conversation], e)
}

// read judges one reading by itself, against what was sent and against the end.
func (c *checker) read(r *Reading) {
	c.doubles(r)
	c.order(r)
	c.streams(r)
	for _, item := range r.Items {
		c.origin(r, item)
		for _, end := range c.ends[r.Conversation] {
			c.compare(r, item, end)
		}
	}
	for _, end := range c.ends[r.Conversation] {
		c.sameOrder(r, end)
	}
}

// doubles finds what one reader saw twice: a message, its ID or its seq.
func (c *checker) doubles(r *Reading) {
	ids, names, seqs := map[string]bool{}, map[string]string{}, map[int64]string{}
	for _, item := range r.Items {
		if ids[item.ID] {
			note(&c.report.Twice, "%s saw %s again", r.Reader, item.ID)
			continue
		}
		ids[item.ID] = true
		if other, used := names[item.MessageID]; used {
			note(&c.report.Twice, "%s saw message ID %s for %s and %s", r.Reader, item.MessageID, other, item.ID)
		}
		if other, used := seqs[item.Seq]; used {
			note(&c.report.Twice, "%s saw seq %d of %s for %s and %s", r.Reader, item.Seq, r.Conversation, other, item.ID)
		}
		names[item.MessageID], seqs[item.Seq] = item.ID, item.ID
	}
}

// order holds a reading to time, seqs and IDs: seqs and IDs grow, seqs without a
// gap, and nobody stands before a message that was acked before he was sent.
func (c *checker) order(r *Reading) {
	var acked *Send // the one of those that follow which was acked first
	for i := len(r.Items) - 1; i >= 0; i-- {
		item := r.Items[i]
		s := c.sends[item.ID]
		if s == nil {
			continue
		}
		if acked != nil && acked.Answered.Before(s.Sent) {
			note(&c.report.Reordered, "%s saw %s before %s, which was acked %v before the other was sent",
				r.Reader, item.ID, acked.ID, s.Sent.Sub(acked.Answered))
		}
		if s.Outcome == Acked && (acked == nil || s.Answered.Before(acked.Answered)) {
			acked = s
		}
	}
	for i := 1; i < len(r.Items); i++ {
		before, item := r.Items[i-1], r.Items[i]
		if item.Seq <= before.Seq || !r.Live && item.Seq != before.Seq+1 {
			note(&c.report.Reordered, "%s saw %s with seq %d after %s with seq %d", r.Reader, item.ID, item.Seq, before.ID, before.Seq)
		}
		if item.MessageID <= before.MessageID {
			note(&c.report.Reordered, "%s saw %s with ID %s after %s with ID %s", r.Reader, item.ID, item.MessageID, before.ID, before.MessageID)
		}
	}
}

// streams holds a reading to the order in which each stream was sent.
func (c *checker) streams(r *Reading) {
	last := map[string]*Send{}
	for _, item := range r.Items {
		s := c.sends[item.ID]
		if s == nil || s.Stream == "" {
			continue
		}
		if before := last[s.Stream]; before != nil && c.places[before.ID] > c.places[s.ID] {
			note(&c.report.Reordered, "%s saw %s after %s, which was sent after it over %s", r.Reader, item.ID, before.ID, s.Stream)
		}
		last[s.Stream] = s
	}
}

// origin asks who sent what was read.
func (c *checker) origin(r *Reading, item Item) {
	switch s := c.sends[item.ID]; {
	case s == nil:
		note(&c.report.Phantom, "%s saw %s, which nobody sent", r.Reader, item.ID)
	case s.Conversation != r.Conversation:
		note(&c.report.Phantom, "%s saw %s in %s, it was sent to %s", r.Reader, item.ID, r.Conversation, s.Conversation)
	case s.Outcome == Refused:
		note(&c.report.Phantom, "%s saw %s, which was refused", r.Reader, item.ID)
	case s.Outcome == Acked && (s.MessageID != item.MessageID || s.Seq != item.Seq):
		note(&c.report.Disagree, "%s was acked as %s, seq %d; %s saw %s, seq %d",
			item.ID, s.MessageID, s.Seq, r.Reader, item.MessageID, item.Seq)
	}
}

// compare looks a message of one reading up in a reading at the end.
func (c *checker) compare(r *Reading, item Item, end *ending) {
	found, ok := end.places[item.ID]
	switch {
	case !ok && r.Live:
		note(&c.report.Vanished, "%s saw %s, %s does not find it", r.Reader, item.ID, end.reader)
	case !ok:
		note(&c.report.Disagree, "%s reads %s, %s does not", r.Reader, item.ID, end.reader)
	case !found.same(item):
		note(&c.report.Disagree, "%s saw %s as %s, seq %d; %s reads it as %s, seq %d",
			r.Reader, item.ID, item.MessageID, item.Seq, end.reader, found.MessageID, found.Seq)
	}
}

// sameOrder compares the order of what both readings have.
func (c *checker) sameOrder(r *Reading, end *ending) {
	last := place{at: -1}
	for _, item := range r.Items {
		found, ok := end.places[item.ID]
		if !ok {
			continue
		}
		if found.at < last.at {
			note(&c.report.Disagree, "%s saw %s after %s, %s before it", r.Reader, item.ID, last.ID, end.reader)
		}
		last = found
	}
}

// lost looks an acked message up in every reading at the end.
func (c *checker) lost(s *Send) {
	if s.Outcome != Acked {
		return
	}
	ends := c.ends[s.Conversation]
	if len(ends) == 0 {
		note(&c.report.Lost, "%s: nobody read %s at the end", s.ID, s.Conversation)
	}
	for _, end := range ends {
		if _, ok := end.places[s.ID]; !ok {
			note(&c.report.Lost, "%s, acked as %s, seq %d, is not in what %s reads", s.ID, s.MessageID, s.Seq, end.reader)
		}
	}
}

func note(found *[]string, format string, args ...any) {
	*found = append(*found, fmt.Sprintf(format, args...))
}

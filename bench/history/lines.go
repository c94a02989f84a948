package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// What a line tells of.
const (
	lineSent    = "sent"
	lineAcked   = "acked"
	lineRefused = "refused"
	lineUnknown = "unknown" // no answer came
	lineShown   = "shown"   // to a device, while things happened
	lineRead    = "read"    // at the end
)

// line is one thing that happened, as it is written.
type line struct {
	Time         *time.Time `json:"time,omitempty"` // none: at the end
	What         string     `json:"what"`
	Conversation string     `json:"conversation"`
	ID           string     `json:"id"`
	MessageID    string     `json:"message_id,omitempty"`
	Seq          int64      `json:"seq,omitempty"`
	Reader       string     `json:"reader,omitempty"`
	Stream       string     `json:"stream,omitempty"`
}

// WriteLines writes the history for people and their tools: a line of JSON for each message that
// was sent, answered, shown and read, in the order of their times; what has none, as what was read at
// the end, comes last, in the order of its reading.
func (h *History) WriteLines(w io.Writer) error {
	out := bufio.NewWriter(w)
	to := json.NewEncoder(out)
	for _, one := range h.lines() {
		if err := to.Encode(one); err != nil {
			return fmt.Errorf("write a history: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write a history: %w", err)
	}
	return nil
}

func (h *History) lines() (all []line) {
	for i := range h.Sends {
		s := &h.Sends[i]
		one := line{Conversation: s.Conversation, ID: s.ID, Stream: s.Stream}
		one.What, one.Time = lineSent, at(s.Sent)
		all = append(all, one)
		one.What, one.Time = lineUnknown, at(s.Answered)
		switch s.Outcome {
		case Acked:
			one.What, one.MessageID, one.Seq = lineAcked, s.MessageID, s.Seq
		case Refused:
			one.What = lineRefused
		}
		all = append(all, one)
	}
	for i := range h.Readings {
		r := &h.Readings[i]
		what := lineRead
		if r.Live {
			what = lineShown
		}
		for _, item := range r.Items {
			all = append(all, line{What: what, Time: at(item.Seen), Conversation: r.Conversation, ID: item.ID, MessageID: item.MessageID, Seq: item.Seq, Reader: r.Reader})
		}
	}
	slices.SortStableFunc(all, func(a, b line) int {
		switch {
		case a.Time != nil && b.Time != nil:
			return a.Time.Compare(*b.Time)
		case a.Time != nil:
			return -1
		case b.Time != nil:
			return 1
		}
		return 0
	})
	return all
}

// at is when something happened; nil for the zero time.
func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

package history_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/bench/history"
)

var start = time.Unix(1_700_000_000, 0)

// sound is a history in which all is well: two senders in one conversation, two
// readers at the end, one device live.
func sound() *history.History {
	h := &history.History{}
	var items []history.Item
	for i := range 10 {
		s := history.Send{
			Conversation: "c", ID: fmt.Sprintf("%s-%d", []string{"alice", "bob"}[i%2], i), Outcome: history.Acked,
			Sent: start.Add(time.Duration(i) * time.Second), Answered: start.Add(time.Duration(i)*time.Second + 1500*time.Millisecond),
			MessageID: fmt.Sprintf("ID%02d", i), Seq: int64(i + 1),
		}
		h.Sends = append(h.Sends, s)
		items = append(items, history.Item{ID: s.ID, MessageID: s.MessageID, Seq: s.Seq})
	}
	h.Sends[9].Outcome = history.Unknown
	h.Sends = append(h.Sends,
		history.Send{Conversation: "c", ID: "alice-refused", Outcome: history.Refused},
		history.Send{Conversation: "c", ID: "alice-unknown"})
	h.Readings = []history.Reading{
		{Conversation: "c", Reader: "alice", Items: items},
		{Conversation: "c", Reader: "bob", Items: slices.Clone(items)},
		{Conversation: "c", Reader: "bob@phone", Live: true, Items: slices.Clone(items[2:6])},
	}
	for i := range h.Readings[2].Items {
		h.Readings[2].Items[i].Seen = start.Add(time.Duration(i) * time.Minute) // that is no part of what was read
	}
	return h
}

func TestSoundHistory(t *testing.T) {
	r := sound().Check()
	if r.Count() != 0 || r.Acked != 9 || r.Refused != 1 || r.Unknown != 2 {
		t.Errorf("got %v", r)
	}
}

// TestPlantedFaults: each kind of fault is found, and as what it is.
func TestPlantedFaults(t *testing.T) {
	drop := func(r *history.Reading, i int) { r.Items = slices.Delete(r.Items, i, i+1) }
	swap := func(r *history.Reading, i, j int) { r.Items[i], r.Items[j] = r.Items[j], r.Items[i] }
	// renumber makes a reading dense again after a change of its order.
	renumber := func(h *history.History) {
		for r := range h.Readings[:2] {
			for i := range h.Readings[r].Items {
				item := &h.Readings[r].Items[i]
				item.Seq, item.MessageID = int64(i+1), fmt.Sprintf("ID%02d", i)
				for s := range h.Sends {
					if h.Sends[s].ID == item.ID {
						h.Sends[s].Seq, h.Sends[s].MessageID = item.Seq, item.MessageID
					}
				}
			}
		}
	}
	tests := []struct {
		name  string
		plant func(h *history.History)
		want  string // the kinds that must be found, all others must not
	}{
		{"an acked message is nowhere", func(h *history.History) {
			for i := range h.Readings[:2] {
				h.Readings[i].Items = h.Readings[i].Items[:8]
			}
		}, "lost"},
		{"nobody reads at the end", func(h *history.History) { h.Readings = h.Readings[2:] }, "lost"},
		{"a message is stored twice", func(h *history.History) {
			for i := range h.Readings[:2] {
				again := h.Readings[i].Items[3]
				again.Seq, again.MessageID = 11, "ID10"
				h.Readings[i].Items = append(h.Readings[i].Items, again)
			}
		}, "twice disagree reordered"},
		{"a device is shown a message twice", func(h *history.History) {
			h.Readings[2].Items = append(h.Readings[2].Items, h.Readings[2].Items[3])
		}, "twice reordered"},
		{"a seq is used twice", func(h *history.History) {
			h.Sends[5].Seq = 5
			for i := range h.Readings {
				for j := range h.Readings[i].Items {
					if item := &h.Readings[i].Items[j]; item.ID == h.Sends[5].ID {
						item.Seq = 5
					}
				}
			}
		}, "twice reordered"},
		{"what was sent ahead of its answer stands first", func(h *history.History) {
			h.Sends[3].Stream, h.Sends[4].Stream = "alice's phone", "alice's phone"
			h.Sends[3].Sent, h.Sends[4].Sent = h.Sends[2].Sent, h.Sends[2].Sent
			h.Sends[3].Answered, h.Sends[4].Answered = h.Sends[2].Answered, h.Sends[2].Answered
			h.Readings = h.Readings[:2]
			swap(&h.Readings[0], 3, 4)
			swap(&h.Readings[1], 3, 4)
			renumber(h)
		}, "reordered"},
		{"a message that nobody sent", func(h *history.History) {
			for i := range h.Readings[:2] {
				h.Readings[i].Items = append(h.Readings[i].Items, history.Item{ID: "eve-1", MessageID: "ID10", Seq: 11})
			}
		}, "phantom"},
		{"a message that was refused", func(h *history.History) {
			for i := range h.Readings[:2] {
				h.Readings[i].Items = append(h.Readings[i].Items, history.Item{ID: "alice-refused", MessageID: "ID10", Seq: 11})
			}
		}, "phantom"},
		{"a message in a foreign conversation", func(h *history.History) {
			h.Readings = append(h.Readings, history.Reading{Conversation: "d", Reader: "carol", Items: h.Readings[0].Items[:1]})
		}, "phantom"},
		{"a later message stands first, for all", func(h *history.History) {
			h.Readings = h.Readings[:2]
			swap(&h.Readings[0], 2, 6)
			swap(&h.Readings[1], 2, 6)
			renumber(h)
		}, "reordered"},
		{"an ID that does not grow", func(h *history.History) {
			h.Readings = h.Readings[:2]
			h.Sends[4].MessageID, h.Readings[0].Items[4].MessageID, h.Readings[1].Items[4].MessageID = "ID00x", "ID00x", "ID00x"
		}, "reordered"},
		{"a gap in the log", func(h *history.History) {
			for i := range h.Readings[:2] {
				h.Readings[i].Items[9].Seq = 12
			}
		}, "reordered"},
		{"one reader has another order", func(h *history.History) {
			for i := range h.Sends { // no order follows from time
				h.Sends[i].Sent = start
			}
			swap(&h.Readings[1], 4, 5)
		}, "disagree reordered"},
		{"one reader misses what is not acked", func(h *history.History) { drop(&h.Readings[1], 9) }, "disagree"},
		{"acked with another seq", func(h *history.History) { h.Sends[3].Seq = 99 }, "disagree"},
		{"acked with another ID", func(h *history.History) { h.Sends[3].MessageID = "ID99" }, "disagree"},
		{"shown and taken back", func(h *history.History) {
			h.Sends[9].Outcome = history.Unknown
			h.Readings[2].Items = append(h.Readings[2].Items, h.Readings[0].Items[9])
			drop(&h.Readings[0], 9)
			drop(&h.Readings[1], 9)
		}, "vanished"},
		{"the history uses an ID twice", func(h *history.History) { h.Sends = append(h.Sends, h.Sends[0]) }, "twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := sound()
			tt.plant(h)
			r := h.Check()
			for kind, found := range map[string][]string{
				"lost": r.Lost, "twice": r.Twice, "phantom": r.Phantom, "reordered": r.Reordered, "disagree": r.Disagree, "vanished": r.Vanished,
			} {
				if want := slices.Contains(strings.Fields(tt.want), kind); want != (len(found) > 0) {
					t.Errorf("%s: got %q, want some: %v", kind, found, want)
				}
			}
			for kind := range strings.FieldsSeq(tt.want) {
				if !strings.Contains(r.String(), kind+": ") {
					t.Errorf("the report does not name what is %s: %v", kind, r)
				}
			}
		})
	}
}

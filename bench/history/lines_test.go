package history_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"freeim/bench/history"
)

// A history is written with all that was sent, answered, shown and read, by time, and the rest behind that.
func TestWriteLines(t *testing.T) {
	second := func(n int) time.Time { return start.Add(time.Duration(n) * time.Second).UTC() }
	h := history.History{
		Sends: []history.Send{
			{Conversation: "c", ID: "a-1", Sent: second(2), Answered: second(5), Outcome: history.Acked, MessageID: "M1", Seq: 1, Stream: "s"},
			{Conversation: "c", ID: "b-1", Sent: second(1), Answered: second(3), Outcome: history.Refused},
			{Conversation: "c", ID: "b-2", Sent: second(6)},
		},
		Readings: []history.Reading{
			{Conversation: "c", Reader: "a", Items: []history.Item{{ID: "a-1", MessageID: "M1", Seq: 1}}},
			{Conversation: "c", Reader: "b@phone", Live: true, Items: []history.Item{{ID: "a-1", MessageID: "M1", Seq: 1, Seen: second(4)}}},
		},
	}
	var got bytes.Buffer
	if err := h.WriteLines(&got); err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2023-11-14T22:13:21Z","what":"sent","conversation":"c","id":"b-1"}
{"time":"2023-11-14T22:13:22Z","what":"sent","conversation":"c","id":"a-1","stream":"s"}
{"time":"2023-11-14T22:13:23Z","what":"refused","conversation":"c","id":"b-1"}
{"time":"2023-11-14T22:13:24Z","what":"shown","conversation":"c","id":"a-1","message_id":"M1","seq":1,"reader":"b@phone"}
{"time":"2023-11-14T22:13:25Z","what":"acked","conversation":"c","id":"a-1","message_id":"M1","seq":1,"stream":"s"}
{"time":"2023-11-14T22:13:26Z","what":"sent","conversation":"c","id":"b-2"}
{"what":"unknown","conversation":"c","id":"b-2"}
{"what":"read","conversation":"c","id":"a-1","message_id":"M1","seq":1,"reader":"a"}
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	if err := h.WriteLines(full{}); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("a disk without room: %v", err)
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no room") }

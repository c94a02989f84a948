package redis

import (
	"slices"
	"testing"

	"freeim/core/im"
	"freeim/core/timeline"
)

// The codec, one value at a time.

func encodeMessage(m *im.Message) []byte { return new(seal).message(m) }

func encodeEntry(user im.UserID, e *timeline.EntryRef) []byte { return new(seal).entry(user, e) }

func encodeHint(sender im.UserID, clientID string, h *hint) []byte {
	return new(seal).hint(sender, clientID, h)
}

func decodeMessage(value string, c im.ConversationID) (im.Message, bool) {
	var s seal
	s.atLog(c)
	return s.readMessage(value, c)
}

func decodeEntry(value string, user im.UserID) (timeline.EntryRef, bool) {
	var s seal
	s.atInbox(user)
	return s.readEntry(value)
}

func decodeHint(value string, sender im.UserID, clientID string) (hint, bool) {
	var s seal
	s.atWindow(sender, clientID)
	return s.readHint(value)
}

// samples are values of every kind.
func samples() (m im.Message, e timeline.EntryRef, h hint) {
	m = im.Message{
		ID: im.MessageID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, Conversation: "c_1_2", Seq: 300, Sender: 1, ClientID: "client", Body: []byte("body"),
	}
	e = timeline.EntryRef{InboxSeq: 70_000, ID: m.ID, Ref: timeline.Ref{Conversation: m.Conversation, Seq: m.Seq}}
	h = hint{digest: [32]byte{31: 9}, id: m.ID, ref: e.Ref, inboxSeqs: []int64{1, 1 << 40}}
	return m, e, h
}

func TestValuesAreReadAsWritten(t *testing.T) {
	m, e, h := samples()
	got, ok := decodeMessage(string(encodeMessage(&m)), m.Conversation)
	if !ok || got.ID != m.ID || got.Seq != m.Seq || got.Sender != m.Sender || got.ClientID != m.ClientID ||
		string(got.Body) != "body" || got.Conversation != m.Conversation || !got.Time.Equal(m.ID.Time()) {
		t.Errorf("message: got %+v, %t, want %+v", got, ok, m)
	}
	if got, ok := decodeEntry(string(encodeEntry(2, &e)), 2); !ok || got != e {
		t.Errorf("entry: got %+v, %t, want %+v", got, ok, e)
	}
	hinted, ok := decodeHint(string(encodeHint(1, "client", &h)), 1, "client")
	if !ok || hinted.digest != h.digest || hinted.id != h.id || hinted.ref != h.ref || !slices.Equal(hinted.inboxSeqs, h.inboxSeqs) {
		t.Errorf("hint: got %+v, %t, want %+v", hinted, ok, h)
	}
}

// A value is only taken where it belongs, and only whole.
func TestValuesElsewhereAreRefused(t *testing.T) {
	m, e, h := samples()
	message, entry, window := string(encodeMessage(&m)), string(encodeEntry(2, &e)), string(encodeHint(1, "client", &h))
	for name, taken := range map[string]func() bool{
		"a message in another log":            func() bool { _, ok := decodeMessage(message, "c_1_3"); return ok },
		"an entry in another inbox":           func() bool { _, ok := decodeEntry(entry, 3); return ok },
		"a hint of another sender":            func() bool { _, ok := decodeHint(window, 2, "client"); return ok },
		"a hint of another client ID":         func() bool { _, ok := decodeHint(window, 1, "clien"); return ok },
		"an entry for a message":              func() bool { _, ok := decodeMessage(entry, "c_1_2"); return ok },
		"a hint for an entry":                 func() bool { _, ok := decodeEntry(window, 1); return ok },
		"sender and client ID run together":   func() bool { _, ok := decodeHint(string(encodeHint(1, "1 x", &h)), 11, " x"); return ok },
		"a message of a format of the future": func() bool { _, ok := decodeMessage("\x03"+message[1:], "c_1_2"); return ok },
		"an entry that is erased":             func() bool { _, ok := decodeEntry("\x02"+entry[1:], 2); return ok },
	} {
		if taken() {
			t.Errorf("%s is taken", name)
		}
	}
	for n := range len(message) {
		if _, ok := decodeMessage(message[:n], m.Conversation); ok {
			t.Errorf("a message cut to %d octets is taken", n)
		}
	}
	for n := range len(entry) {
		if _, ok := decodeEntry(entry[:n], 2); ok {
			t.Errorf("an entry cut to %d octets is taken", n)
		}
	}
	for n := range len(window) {
		if _, ok := decodeHint(window[:n], 1, "client"); ok {
			t.Errorf("a hint cut to %d octets is taken", n)
		}
	}
}

// FuzzValues holds that no value harms, and that whatever is read is written the
// same again. The checksum is put right, since no input would pass it.
func FuzzValues(f *testing.F) {
	m, e, h := samples()
	f.Add(encodeMessage(&m)[headLen:], true)
	f.Add(encodeEntry(2, &e)[headLen:], true)
	f.Add(encodeHint(1, "client", &h)[headLen:], true)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, true)
	f.Add(encodeMessage(&m), false)
	f.Add(new(seal).erasedMessage(&m), false)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		value := func(s *seal) string {
			if !sealed {
				return string(data)
			}
			v := append(make([]byte, headLen), data...)
			s.write(v)
			return string(v)
		}
		var s seal
		s.atLog("c_1_2")
		v := value(&s)
		if m, ok := decodeMessage(v, "c_1_2"); ok && string(encodeMessage(&m)) != v && string(new(seal).erasedMessage(&m)) != v {
			t.Errorf("the message %q is written %q", v, encodeMessage(&m))
		}
		s.atInbox(2)
		v = value(&s)
		if e, ok := decodeEntry(v, 2); ok && string(encodeEntry(2, &e)) != v {
			t.Errorf("the entry %q is written %q", v, encodeEntry(2, &e))
		}
		s.atWindow(1, "client")
		v = value(&s)
		if h, ok := decodeHint(v, 1, "client"); ok && string(encodeHint(1, "client", &h)) != v {
			t.Errorf("the hint %q is written %q", v, encodeHint(1, "client", &h))
		}
	})
}

func TestSpans(t *testing.T) {
	const last = 1<<63 - 1
	for _, row := range []struct {
		name string
		got  span
		want span
	}{
		{"forward from the start", forward(0, 3, 10), span{1, 3}},
		{"forward to the end", forward(8, 3, 10), span{9, 10}},
		{"forward from the end", forward(10, 3, 10), span{1, 0}},
		{"forward from the last number", forward(last, 3, 10), span{1, 0}},
		{"forward from before the start", forward(-5, 1, 10), span{1, 1}},
		{"forward without bound", forward(3, last, 10), span{4, 10}},
		{"forward of none", forward(3, 0, 10), span{1, 0}},
		{"forward of nothing", forward(0, 3, 0), span{1, 0}},
		{"backward from the end", backward(0, 3, 10), span{8, 10}},
		{"backward from the middle", backward(3, 5, 10), span{1, 2}},
		{"backward from the first", backward(1, 5, 10), span{1, 0}},
		{"backward from after the end", backward(last, 2, 10), span{9, 10}},
		{"backward without bound", backward(-1, last, 10), span{1, 10}},
		{"backward of nothing", backward(0, 3, 0), span{1, 0}},
	} {
		if row.got != row.want {
			t.Errorf("%s: got %v, want %v", row.name, row.got, row.want)
		}
	}
}

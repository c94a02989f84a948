package room_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"freeim/edge/frame"
	"freeim/edge/room"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	hall     = "r_hall"
	jsonForm = room.Form(0)
	pbForm   = room.Form(1)
)

// message is the body that a test broadcasts.
func message(seq int64, important bool) room.Broadcast {
	m := &roompb.RoomMessage{Room: "hall", Seq: seq, Text: fmt.Sprint("message ", seq)}
	if important {
		m.Kind = roompb.RoomKind_ROOM_KIND_GIFT
	}
	return room.Broadcast{Room: hall, Seq: seq, Important: important, Action: idl.ActionRoomMessage,
		Protobuf: body(idl.CodecProtobuf, m), JSON: body(idl.CodecJSON, m)}
}

func body(c idl.Codec, m idl.Message) []byte {
	b, err := idl.Append(nil, c, m)
	if err != nil {
		panic(err)
	}
	return b
}

func codec(f room.Form) idl.Codec {
	if f == pbForm {
		return idl.CodecProtobuf
	}
	return idl.CodecJSON
}

func block(dst []byte, f room.Form, frames []frame.Frame) []byte {
	for _, one := range frames {
		one.Codec = codec(f)
		dst = frame.Append(dst, one)
	}
	return dst
}

// site is rooms with what they need of an edge.
type site struct {
	*room.Rooms

	mu      sync.Mutex // guards the fields below
	reports []room.State
	lines   map[uint64]*line
	slow    map[uint64]int
	heard   func(room.State) // of every report; nil: nobody
}

func newSite() *site {
	s := &site{lines: make(map[uint64]*line), slow: make(map[uint64]int)}
	s.Rooms = room.New(room.Options{
		Report: func(state room.State) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.reports = append(s.reports, state)
			if s.heard != nil {
				go s.heard(state)
			}
		},
		Block: block, Codec: codec,
		Left: func(session uint64, a idl.Action, protobuf, json []byte) bool {
			s.mu.Lock()
			l := s.lines[session]
			s.mu.Unlock()
			return l.left(a, protobuf, json)
		},
		Slow: func(session uint64) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.slow[session]++
		},
	})
	return s
}

func (s *site) takeReports() []room.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.reports
	s.reports = nil
	return out
}

// line is one client, as it sees a room.
type line struct {
	form    room.Form
	session uint64
	member  *room.Member

	mu       sync.Mutex // guards the fields below
	full     bool       // refuses
	stuffed  bool       // refuses even what says that it is out
	waiters  []room.Waiter
	writes   int
	pushed   []int64
	skipped  map[int64]roompb.RoomSkipReason
	seen     map[int64]bool
	low      int64 // the newest of each lane
	high     int64
	asides   int
	outs     []roompb.RoomLeftReason
	gone     bool // nothing may come any more
	mistakes []string
}

// join takes a new client in.
func (s *site) join(session uint64, user int64, f room.Form, head int64, p room.Policy) *line {
	l := &line{form: f, session: session, skipped: make(map[int64]roompb.RoomSkipReason), seen: make(map[int64]bool)}
	s.enter(l, user, head, p)
	return l
}

func (s *site) enter(l *line, user, head int64, p room.Policy) {
	s.mu.Lock()
	s.lines[l.session] = l
	s.mu.Unlock()
	l.member, _ = s.Enter(room.Enter{Room: hall, Head: head, Policy: p}, room.Who{Session: l.session, User: user, Out: l, Form: l.form},
		func() bool { return true })
}

func (l *line) wrong(format string, args ...any) {
	l.mistakes = append(l.mistakes, fmt.Sprintf("session %d: ", l.session)+fmt.Sprintf(format, args...))
}

// Broadcast implements room.Receiver.
func (l *line) Broadcast(p []byte, w room.Waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		l.waiters = append(l.waiters, w)
		return false
	}
	if l.gone {
		l.wrong("got something after it had left")
	}
	l.writes++
	var d frame.Decoder
	if err := d.Feed(p, 1<<20, func(f frame.Frame) error { l.take(f); return nil }); err != nil || d.Buffered() > 0 {
		l.wrong("no whole frames: %v", err)
	}
	return true
}

// order is what was pushed so far.
func (l *line) order() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.pushed)
}

func (l *line) take(f frame.Frame) {
	switch f.Action {
	case idl.ActionRoomMessage:
		var m roompb.RoomMessage
		if err := idl.Decode(f.Body, f.Codec, &m); err != nil || f.Codec != codec(l.form) {
			l.wrong("a body in %v: %v", f.Codec, err)
		}
		newest := &l.low
		if m.Kind != roompb.RoomKind_ROOM_KIND_TEXT {
			newest = &l.high
		}
		if m.Seq <= *newest {
			l.wrong("%d came after %d of its lane", m.Seq, *newest)
		}
		*newest = m.Seq
		l.once(m.Seq)
		l.pushed = append(l.pushed, m.Seq)
	case idl.ActionRoomHistory:
		var s roompb.RoomSkip
		if err := idl.Decode(f.Body, f.Codec, &s); err != nil || s.Room != "hall" || len(s.Ranges) == 0 {
			l.wrong("a skip %+v: %v", s, err)
		}
		last := int64(-1)
		for _, r := range s.Ranges {
			if r.From > r.To || r.From <= last+1 {
				l.wrong("ranges that are not ascending and apart: %+v", s.Ranges)
			}
			last = r.To
			for seq := r.From; seq <= r.To; seq++ {
				l.once(seq)
				l.skipped[seq] = s.Reason
			}
		}
	default:
		l.asides++
	}
}

func (l *line) once(seq int64) {
	if l.seen[seq] {
		l.wrong("%d was pushed or declared twice", seq)
	}
	l.seen[seq] = true
}

func (l *line) left(a idl.Action, protobuf, json []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out roompb.RoomLeft
	if err := idl.Decode(json, idl.CodecJSON, &out); err != nil || a != idl.ActionLeaveRoom {
		l.wrong("told %v %s", a, json)
	}
	if l.stuffed {
		return false
	}
	l.outs = append(l.outs, out.Reason)
	l.gone = true
	return true
}

// fill has the client read nothing from now on.
func (l *line) fill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = true
}

// drain has it read again.
func (l *line) drain() {
	l.mu.Lock()
	waiters := l.waiters
	l.full, l.waiters = false, nil
	l.mu.Unlock()
	for _, w := range waiters {
		go w.Writable()
	}
}

// leave takes the client out; nothing may come after it.
func (l *line) leave() {
	l.member.Leave()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
}

// wants checks that every seq in (head, last] came or was declared.
func (l *line) wants(t *testing.T, head, last int64) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.mistakes {
		t.Error(m)
	}
	for seq := head + 1; seq <= last; seq++ {
		if !l.seen[seq] {
			t.Errorf("session %d: %d of (%d, %d] was neither pushed nor declared", l.session, seq, head, last)
			return
		}
	}
	for seq := range l.seen {
		if seq <= head {
			t.Errorf("session %d: %d came, which is not above its head %d", l.session, seq, head)
		}
	}
}

func (l *line) declared(seq int64) roompb.RoomSkipReason {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.skipped[seq]
}

func (l *line) count() (pushed, writes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pushed), l.writes
}

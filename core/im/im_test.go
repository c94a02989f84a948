package im_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/idl"
)

// day is a moment that the tests' clocks start from.
func day() time.Time { return time.UnixMilli(1_767_225_600_000) }

func TestMessageIDsCompareAlikeAsTextBytesAndTime(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		a, b := randomID(random), randomID(random)
		if random.IntN(2) == 0 { // close neighbours: a bit apart
			b = a
			b[random.IntN(10)] ^= 1 << random.IntN(8)
		}
		want := bytes.Compare(a[:], b[:])
		if got := cmp.Compare(a.String(), b.String()); got != want {
			t.Fatalf("%v and %v: the texts compare %d, the bytes %d", a, b, got, want)
		}
		if got := a.Time().Compare(b.Time()); got != 0 && got != want {
			t.Fatalf("%v and %v: the times compare %d, the bytes %d", a, b, got, want)
		}
	}
}

func randomID(random *rand.Rand) (id im.MessageID) {
	binary.BigEndian.PutUint64(id[:], random.Uint64())
	binary.BigEndian.PutUint16(id[8:], uint16(random.Uint32()))
	return id
}

func TestParseMessageIDReadsWhatStringWrites(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		id := randomID(random)
		if got, err := im.ParseMessageID(id.String()); err != nil || got != id {
			t.Fatalf("%x: got %x and %v", id, got, err)
		}
	}
}

func TestParseMessageIDRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "a message ID has 16 characters, this one 0"},
		{"short", strings.Repeat("2", 15), "a message ID has 16 characters, this one 15"},
		{"long", strings.Repeat("2", 17), "a message ID has 16 characters, this one 17"},
		{"zero digit", "0222222222222222", `character '0' does not occur in message IDs`},
		{"lower case", "222222222222222a", `character 'a' does not occur in message IDs`},
		{"look-alike I", "2222222I22222222", `character 'I' does not occur in message IDs`},
		{"NUL", "222222222222\x00222", `character '\x00' does not occur in message IDs`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if id, err := im.ParseMessageID(tt.text); err == nil || err.Error() != tt.want || id != (im.MessageID{}) {
				t.Errorf("got %v and %v, want %s", id, err, tt.want)
			}
		})
	}
}

// FuzzParseMessageID holds that whatever parses is written the same again.
func FuzzParseMessageID(f *testing.F) {
	f.Add("EVGVFCJ22227FA83")
	f.Add("ZZZZZZZZZZZZZZZZ")
	f.Add("2222222222222220")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := im.ParseMessageID(s); err == nil && id.String() != s {
			t.Errorf("%q is written %q", s, id)
		}
	})
}

func TestNextHoldsTimeAndType(t *testing.T) {
	g := im.NewIDGenerator(day)
	for c, want := range map[im.ConversationID]im.ConversationType{
		im.ChatOf(17, 42): im.Chat, "g_7": im.Group, "r_lobby": im.Room, "": 0, "x_1": 0, "c": 0,
	} {
		id := g.Next(c)
		if id.Type() != want || c.Type() != want || !id.Time().Equal(day()) {
			t.Errorf("%s: got type %d at %v, want %d at %v", c, id.Type(), id.Time(), want, day())
		}
	}
}

func TestNextDistinguishesConversations(t *testing.T) {
	low := func(c im.ConversationID) uint32 {
		id := im.NewIDGenerator(day).Next(c)
		return binary.BigEndian.Uint32(id[6:]) & (1<<22 - 1)
	}
	seven, again, eight := low("g_7"), low("g_7"), low("g_8")
	if seven != again || seven == eight {
		t.Errorf("got hashes %x, %x, %x, want the third alone to differ", seven, again, eight)
	}
}

func TestNextBorrowsTimeWhenSpinOverflows(t *testing.T) {
	g := im.NewIDGenerator(day) // a clock that stands
	var last im.MessageID
	made := map[time.Duration]int{} // by how far after the clock
	for i := range 3 * 4096 {
		id := g.Next("g_1")
		if bytes.Compare(id[:], last[:]) <= 0 {
			t.Fatalf("ID %d: %v does not follow %v", i, id, last)
		}
		made[id.Time().Sub(day())]++
		last = id
	}
	// The first millisecond lacks the spins before its random start.
	first := made[0]
	if first <= 2048 || first > 4096 || made[time.Millisecond] != 4096 || made[2*time.Millisecond] != 4096 || made[3*time.Millisecond] != 4096-first {
		t.Errorf("got %v IDs in the milliseconds, want 2049-4096, 4096, 4096 and the rest", made)
	}
}

// Two cores write into conversations with the same hash, in the same
// milliseconds: their IDs must not meet at every one.
func TestNextStartsEachMillisecondElsewhere(t *testing.T) {
	now := day()
	clock := func() time.Time { return now }
	one, other, met := im.NewIDGenerator(clock), im.NewIDGenerator(clock), 0
	for range 1000 {
		now = now.Add(time.Millisecond)
		if one.Next("g_1") == other.Next("g_1") {
			met++
		}
	}
	if met > 20 { // 0.5 on average
		t.Errorf("%d of 1000 IDs are the same", met)
	}
}

func TestNextGrowsThoughTheClockStepsBack(t *testing.T) {
	now := day()
	g := im.NewIDGenerator(func() time.Time { return now })
	first := g.Next("g_1")
	for _, step := range []time.Duration{-time.Millisecond, -time.Hour, -100 * 365 * 24 * time.Hour} {
		now = day().Add(step)
		id := g.Next("g_1")
		if id.String() <= first.String() || !id.Time().Equal(day()) {
			t.Errorf("%v: got %v at %v, want it after %v at %v", step, id, id.Time(), first, day())
		}
		first = id
	}
	now = day().Add(time.Second)
	if id := g.Next("g_1"); !id.Time().Equal(now) {
		t.Errorf("got %v, want the clock's %v again", id.Time(), now)
	}
}

func TestNextOnAClockBefore1970StartsAtZero(t *testing.T) {
	now := time.Unix(-5, 0)
	g := im.NewIDGenerator(func() time.Time { return now })
	if id := g.Next("g_1"); id.Time().UnixMilli() != 0 {
		t.Errorf("got %v, want 1970", id.Time())
	}
	now = day()
	if id := g.Next("g_1"); !id.Time().Equal(day()) {
		t.Errorf("got %v, want %v", id.Time(), day())
	}
}

func TestObserveMakesLaterIDsGreater(t *testing.T) {
	before := im.NewIDGenerator(func() time.Time { return day().Add(time.Hour) })
	var newest im.MessageID
	for range 5000 {
		newest = before.Next("r_1")
	}
	g := im.NewIDGenerator(day)
	g.Observe(newest)
	if id := g.Next("c_1_2"); id.String() <= newest.String() {
		t.Errorf("got %v, want it after %v", id, newest)
	}
	g.Observe(im.MessageID{}) // an older one changes nothing
	if id := g.Next("c_1_2"); id.String() <= newest.String() {
		t.Errorf("after an older one: got %v, want it after %v", id, newest)
	}
}

func TestNextIsUniqueAmongGoroutines(t *testing.T) {
	const workers, each = 8, 5000
	g := im.NewIDGenerator(nil)
	made := make([][]im.MessageID, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range each {
				made[w] = append(made[w], g.Next("g_1"))
			}
		})
	}
	wg.Wait()
	seen := map[im.MessageID]bool{}
	for w, ids := range made {
		for i, id := range ids {
			if seen[id] {
				t.Fatalf("%v was made twice", id)
			}
			seen[id] = true
			if i > 0 && bytes.Compare(ids[i-1][:], id[:]) >= 0 {
				t.Fatalf("goroutine %d: %v does not follow %v", w, id, ids[i-1])
			}
		}
	}
}

func TestChatOfIsTheSameBothWays(t *testing.T) {
	for _, pair := range [][2]im.UserID{{1, 2}, {9, 10}, {42, 17}, {7, 7}, {1, idl.MaxSafeInteger}} {
		c := im.ChatOf(pair[0], pair[1])
		if c != im.ChatOf(pair[1], pair[0]) {
			t.Errorf("%v: got %s and %s", pair, c, im.ChatOf(pair[1], pair[0]))
		}
		low, high, ok := c.Pair()
		if !ok || low != min(pair[0], pair[1]) || high != max(pair[0], pair[1]) {
			t.Errorf("%s: got %d, %d, %v, want %v", c, low, high, ok, pair)
		}
	}
}

func TestPairRefusesEveryOtherSpelling(t *testing.T) {
	tests := []struct {
		name string
		id   im.ConversationID
	}{
		{"empty", ""},
		{"prefix alone", "c_"},
		{"one person", "c_17"},
		{"nobody first", "c__42"},
		{"nobody second", "c_17_"},
		{"three people", "c_17_42_43"},
		{"higher first", "c_42_17"},
		{"no prefix", "17_42"},
		{"prefix twice", "c_c_17_42"},
		{"group", "g_17_42"},
		{"upper case", "C_17_42"},
		{"leading zero", "c_017_42"},
		{"sign", "c_+17_42"},
		{"negative", "c_-17_42"},
		{"zero", "c_0_42"},
		{"both zero", "c_0_0"},
		{"space", "c_17_42 "},
		{"underscore in a number", "c_1_7_42"},
		{"hexadecimal", "c_0x11_42"},
		{"full-width digits", "c_１７_42"},
		{"NUL", "c_17_42\x00"},
		{"2^53", "c_17_9007199254740992"},
		{"2^63", "c_17_9223372036854775808"},
		{"hundred digits", "c_17_" + im.ConversationID(strings.Repeat("9", 100))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if a, b, ok := tt.id.Pair(); ok || a != 0 || b != 0 {
				t.Errorf("got %d, %d, %v, want no pair", a, b, ok)
			}
		})
	}
}

// FuzzPair holds that a pair has one spelling.
func FuzzPair(f *testing.F) {
	f.Add("c_17_42")
	f.Add("c_42_17")
	f.Add("c_+1_2")
	f.Fuzz(func(t *testing.T, s string) {
		c := im.ConversationID(s)
		if a, b, ok := c.Pair(); ok && (a <= 0 || b < a || b > idl.MaxSafeInteger || im.ChatOf(b, a) != c || c.Type() != im.Chat) {
			t.Errorf("%q: got %d and %d", s, a, b)
		}
	})
}

func TestErrorSaysWhatItCarries(t *testing.T) {
	cause := errors.New("disk full")
	tests := []struct {
		name string
		err  error
		code idl.Code
		text string
	}{
		{"field", im.Invalid("text", "at most %d", 5), idl.CodeInvalidArgument, "CODE_INVALID_ARGUMENT: text: at most 5"},
		{"reason", im.Errorf(idl.CodeNotFound, "no user %d", 7), idl.CodeNotFound, "CODE_NOT_FOUND: no user 7"},
		{"cause", im.Unavailable(time.Second, cause), idl.CodeUnavailable, "CODE_UNAVAILABLE: try again: disk full"},
		{"none of ours", cause, idl.CodeInternal, "disk full"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := im.CodeOf(tt.err); got != tt.code || tt.err.Error() != tt.text {
				t.Errorf("got %v, %q, want %v, %q", got, tt.err, tt.code, tt.text)
			}
		})
	}
	if got := im.CodeOf(nil); got != idl.CodeUnknown {
		t.Errorf("nil: got %v, want %v", got, idl.CodeUnknown)
	}
	if !errors.Is(tests[2].err, cause) {
		t.Error("the cause is lost")
	}
}

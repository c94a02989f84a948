package chat

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Marks are a set of seqs: they behave as a map does, in any order of changes.
func TestMarks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var m marks
		model := map[int64]bool{}
		for range 60 {
			seq := random.Int64N(40) + 1
			switch random.IntN(5) {
			case 0:
				m = m.remove(seq)
				delete(model, seq)
			case 1:
				if through := random.Int64N(10); random.IntN(4) == 0 {
					m = m.drop(through)
					for one := range model {
						if one <= through {
							delete(model, one)
						}
					}
				}
			default:
				m = m.add(seq)
				model[seq] = true
			}
			m = parseMarks(m.String())
			for after := int64(0); after <= 41; after++ {
				want := int64(0)
				for one := range model {
					if one > after {
						want++
					}
				}
				if got := m.behind(after); got != want {
					t.Fatalf("%v has %d behind %d, want %d", m, got, after, want)
				}
			}
		}
	}
}

// What is too much is forgotten, the oldest first; what cannot be read is nothing.
func TestMarksBounds(t *testing.T) {
	var m marks
	for seq := int64(2); seq <= 4000; seq += 2 {
		m = m.add(seq)
	}
	if len(m) != mostMarks || m[0].from != 4000-2*(mostMarks-1) {
		t.Errorf("got %d marks from %d", len(m), m[0].from)
	}
	m = marks{{1, 3}}
	for seq := int64(5); len(m) < mostMarks; seq += 2 {
		m = m.add(seq)
	}
	if m = m.remove(2); len(m) != mostMarks || m[0] != (markSpan{3, 3}) {
		t.Errorf("got %d marks from %v", len(m), m[0])
	}
	for text, want := range map[string]string{"": "", "x": "", "3-1": "", "5 4": "5", "1 3-x 7-9": "1 7-9", "-5": "", "0": ""} {
		if got := parseMarks(text).String(); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func FuzzMarks(f *testing.F) {
	f.Add("1 3-5 9")
	f.Fuzz(func(t *testing.T, text string) {
		m := parseMarks(text)
		if again := parseMarks(m.String()); again.String() != m.String() || m.behind(0) < 0 {
			t.Errorf("%q is %q, then %q", text, m, again)
		}
	})
}

// Spans are added and taken away as their seqs are one by one; what two have in common is counted.
func TestMarkSpans(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var m, same marks
		for range 20 {
			s := markSpan{from: random.Int64N(40) + 1}
			s.to = s.from + random.Int64N(8)
			away := random.IntN(3) == 0
			if m = m.addSpan(s); away {
				m = m.removeSpan(s)
			}
			for seq := s.from; seq <= s.to; seq++ {
				if same = same.add(seq); away {
					same = same.remove(seq)
				}
			}
			if m.String() != same.String() {
				t.Fatalf("got %q, want %q", m, same)
			}
		}
		others, after := marks{{2, 9}, {11, 11}, {20, 33}}, random.Int64N(40)
		want := int64(0)
		for seq := after + 1; seq < 60; seq++ {
			if len(m.holding(seq)) == 1 && len(others.holding(seq)) == 1 {
				want++
			}
		}
		if got := m.shared(others, after); got != want {
			t.Fatalf("%q and %q share %d behind %d, want %d", m, others, got, after, want)
		}
	}
}

// holding is the span that holds a seq, if one does.
func (m marks) holding(seq int64) marks {
	for _, s := range m {
		if s.from <= seq && seq <= s.to {
			return marks{s}
		}
	}
	return nil
}

// What disappears together is one span, and is gone when the last of it is; what cannot be read is left out.
func TestFading(t *testing.T) {
	var f fading
	day := (24 * time.Hour).Milliseconds()
	for seq, ms := range []int64{1: 10_000, 2: 10_900, 3: 11_000, 4: 11_001, 6: 11_500} {
		if ms > 0 {
			f = f.add(int64(seq), ms, 10_000)
		}
	}
	if got := f.String(); got != "1@10000 2-3@11000 4@12000 6@12000" || parseFading(got).String() != got {
		t.Errorf("got %q", got)
	}
	for ms, want := range map[int64]string{9_999: "", 10_000: "1", 11_000: "1-3", 12_000: "1-4 6"} {
		if got := f.gone(time.UnixMilli(ms)).String(); got != want {
			t.Errorf("at %d: got %q, want %q", ms, got, want)
		}
	}
	if got := f.keep(time.UnixMilli(10_000), 2).String(); got != "3@11000 4@12000 6@12000" {
		t.Errorf("got %q", got)
	}
	f = nil
	for seq := range int64(100_000) { // nearly a day of messages
		f = f.add(seq+1, day+seq*800, day)
	}
	if len(f) > mostMarks || f.gone(time.UnixMilli(2*day)).String() != "1-100000" {
		t.Errorf("a day has %d spans, from %v", len(f), f[0])
	}
	for text, want := range map[string]string{"": "", "5": "", "5@x": "", "7@1 5@2": "7@1", "@": "", "1-2@3 x@4 5@6": "1-2@3 5@6"} {
		if got := parseFading(text).String(); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

package chat

import (
	"math/rand/v2"
	"testing"
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

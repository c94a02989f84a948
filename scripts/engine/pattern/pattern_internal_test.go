package pattern

import "testing"

// FuzzPattern: no pattern and no subject may crash the matcher, or take more
// steps than there are by more than one scan of the subject.
func FuzzPattern(f *testing.F) {
	for _, seed := range []string{"", "^a.-b$", "(%a+)%s*%1", "%b()", "%f[%w]%w+", "[^%a-z]*", "()", "a?a?a?b", "[", "%", "(", "[]]", "[a-]", "%b", "(()%1)"} {
		f.Add(seed, "hello (world) aab")
	}
	f.Fuzz(func(t *testing.T, text, subject string) {
		if len(subject) > 4<<10 {
			return
		}
		for _, gmatch := range []bool{false, true} {
			p, err := Compile(text, gmatch)
			if err != nil {
				continue
			}
			m := New(p, subject)
			from, to, ok := m.Find(0)
			if m.steps < -3*len(subject)-10 {
				t.Errorf("%q took %d steps too many", text, -m.steps)
			}
			if !ok || m.Spent() {
				continue
			}
			if from < 0 || to < from || to > len(subject) {
				t.Fatalf("%q matched %d to %d of %d", text, from, to, len(subject))
			}
			for i := range p.captures {
				m.Capture(i)
			}
		}
	})
}

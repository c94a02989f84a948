package report

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const (
	redraw  = 200 * time.Millisecond // of the line of a terminal, at most this often
	reprint = 10 * time.Second       // of a line elsewhere
	columns = 118                    // a longer line would not be overwritten whole
)

// Progress says what a run is doing: on a terminal in one line that is written
// over, elsewhere in a line now and then. Each measurement leaves a line with its
// result. One goroutine uses it.
type Progress struct {
	out     io.Writer
	live    bool // out is a terminal
	total   int
	step    int
	name    string
	started time.Time
	since   time.Time // when the step began
	said    time.Time // when a line was last written
	now     func() time.Time
}

// NewProgress is for so many measurements.
func NewProgress(out io.Writer, total int) *Progress {
	p := &Progress{out: out, total: total, now: time.Now}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.live = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	p.started = p.now()
	return p
}

// Step says that the next measurement begins.
func (p *Progress) Step(name string) {
	p.step++
	p.name, p.since, p.said = name, p.now(), time.Time{}
	p.Say("starting")
}

// Say says how the measurement stands, for instance "connected 4000 of 10000". It
// may be called often; most calls write nothing.
func (p *Progress) Say(format string, args ...any) {
	now, pause := p.now(), reprint
	if p.live {
		pause = redraw
	}
	if now.Sub(p.said) < pause {
		return
	}
	p.said = now
	text := fmt.Sprintf("[%d/%d] %s · %s · %s", p.step, p.total, p.name, fmt.Sprintf(format, args...), clock(now.Sub(p.since)))
	if left, known := p.left(now); known {
		text += ", about " + clock(left) + " left"
	}
	if p.live {
		fmt.Fprintf(p.out, "\r\033[K%s", cut(text, columns))
		return
	}
	fmt.Fprintln(p.out, text)
}

// Done says what a measurement found.
func (p *Progress) Done(r *Row) {
	p.clear()
	fmt.Fprintf(p.out, "[%d/%d] %s\n", p.step, p.total, Summary(r))
}

// Failed says that a measurement came to nothing.
func (p *Progress) Failed(err error) {
	p.clear()
	fmt.Fprintf(p.out, "[%d/%d] %s: FAILED: %v\n", p.step, p.total, p.name, err)
}

func (p *Progress) clear() {
	if p.live {
		fmt.Fprint(p.out, "\r\033[K")
	}
}

// left guesses the rest from the steps that are done.
func (p *Progress) left(now time.Time) (time.Duration, bool) {
	done := p.step - 1
	if done < 1 {
		return 0, false
	}
	each := p.since.Sub(p.started) / time.Duration(done)
	return max(0, each*time.Duration(p.total-done)-now.Sub(p.since)), true
}

// clock writes minutes and seconds.
func clock(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// cut shortens a text to so many characters.
func cut(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return string(runes[:n-1]) + "…"
}

// Summary is a row in one line.
func Summary(r *Row) string {
	parts := []string{fmt.Sprintf("%s round %d", r.Key(), r.Round)}
	if r.Units() > 0 {
		parts = append(parts, grouped(r.PerSecond())+"/s")
	}
	if r.Latency != nil && r.Latency.Count() > 0 {
		parts = append(parts, fmt.Sprintf("p50 %s p99 %s", milliseconds(r.Latency.Quantile(.5)), milliseconds(r.Latency.Quantile(.99))))
	}
	if cost, known := r.CPUPerMillion(Edge); known {
		parts = append(parts, "edge "+figure(cost)+" s/million")
	}
	if size, known := r.MemoryPerSession(Edge); known {
		parts = append(parts, "edge "+grouped(size)+" B/session")
	}
	if r.Skipped > 0 {
		parts = append(parts, fmt.Sprintf("%d skipped", r.Skipped))
	}
	if faults := r.Faults(); faults != "" {
		parts = append(parts, "FAULTS: "+faults)
	}
	return strings.Join(parts, " · ")
}

// milliseconds writes a duration with three digits.
func milliseconds(d time.Duration) string { return figure(d.Seconds()*1e3) + " ms" }

package hooktool

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"freeim/scripts/engine"
)

// replayed is the result of replay.
type replayed struct {
	Bundle  string       `json:"bundle"`
	Against string       `json:"against"` // "recorded", or a hash
	OK      bool         `json:"ok"`
	Calls   int          `json:"calls"`
	Skipped int          `json:"skipped"`
	Flips   int          `json:"flips"`
	Share   float64      `json:"flip_share"`
	Errors  int          `json:"errors"`
	Before  int          `json:"errors_before"`
	Fault   string       `json:"fault,omitempty"`
	P50     float64      `json:"p50_us"`
	P99     float64      `json:"p99_us"`
	WasP50  float64      `json:"p50_us_before,omitempty"`
	WasP99  float64      `json:"p99_us_before,omitempty"`
	Matrix  []replayCell `json:"matrix"`
}

// replayCell is one field of the matrix.
type replayCell struct {
	From     string          `json:"from"`
	To       string          `json:"to"`
	Count    int64           `json:"count"`
	Examples []replayExample `json:"examples,omitempty"`
}

type replayExample struct {
	At           time.Time `json:"at"`
	Action       string    `json:"action"`
	User         string    `json:"user,omitempty"`
	Conversation string    `json:"conversation,omitempty"`
	From         string    `json:"from,omitempty"` // the rules that decided
	To           string    `json:"to,omitempty"`
	Reason       string    `json:"reason,omitempty"`
}

func (t *tool) replay(ctx context.Context, args []string) error {
	fs := t.flags()
	f := serversOf(fs)
	from := fs.String("from", "", "`FILE` of recorded actions, or a directory of such (core.data/rules/recorded); the running server's last ones if left out")
	old := fs.String("old", "", "`DIR|HASH` of the scripts to compare with; what was said then, or without texts the scripts that said it, if left out")
	most := fs.String("max-flip", "", "`SHARE`, as in 0.5%, of which more decided otherwise is a failure")
	args, err := t.parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	limit, err := share(*most)
	if err != nil {
		return err
	}
	o, err := t.scripts(args)
	if err != nil {
		return err
	}
	recording, err := t.recorded(ctx, f, *from)
	if err != nil {
		return err
	}
	o.Log = slog.New(slog.DiscardHandler) // what fails is counted and shown
	d, err := t.draft(ctx, o)
	if err != nil {
		return err
	}
	defer d.Close()
	before, err := t.compared(ctx, o, f, *from, *old, recording)
	if err != nil {
		return err
	}
	if before != nil {
		defer before.Close()
	}
	r, err := d.Replay(ctx, recording, before)
	if err != nil {
		return err
	}
	if r.Calls == 0 {
		return fmt.Errorf("none of %s is of an action that this program knows", count(len(recording), "record"))
	}
	out := shownReplay(r)
	out.OK = r.Errors <= r.Before && out.Share <= limit
	if t.json {
		err = t.print(out)
	} else {
		out.write(t.Out, limit)
	}
	if err == nil && !out.OK {
		err = errFound
	}
	return err
}

// share reads 0.5% or 0.005; empty: any.
func share(text string) (float64, error) {
	if text == "" {
		return 1, nil
	}
	number, percent := strings.CutSuffix(text, "%")
	n, err := strconv.ParseFloat(number, 64)
	if percent {
		n /= 100
	}
	if err != nil || !(n >= 0 && n <= 1) {
		return 0, errUsage(fmt.Sprintf("--max-flip is %q: a share, as in 0.5%% or 0.005", text))
	}
	return n, nil
}

// recorded reads what was recorded, from files or of a running server.
func (t *tool) recorded(ctx context.Context, f *serverFlags, from string) ([]*engine.Recorded, error) {
	if from == "" {
		s, err := t.server(f)
		if err != nil {
			return nil, err
		}
		data, err := s.read(ctx, http.MethodGet, "recording", nil, nil)
		if err != nil {
			return nil, err
		}
		return engine.ReadRecording(bytes.NewReader(data))
	}
	paths := []string{from}
	if info, err := os.Stat(from); err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	} else if info.IsDir() {
		if paths, err = filepath.Glob(filepath.Join(from, "*.rec")); err != nil {
			return nil, err
		}
		slices.Sort(paths)
	}
	var all []*engine.Recorded
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		some, err := engine.ReadRecording(file)
		file.Close()
		if err != nil {
			fmt.Fprintf(t.Err, "note: %s: %v: what comes before it is used\n", path, err)
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nothing is recorded in %s: core.rules.record has every and disk to set", from)
	}
	return all, nil
}

// compared is what the recorded actions are put to beside the candidate; nil: what
// was said then counts.
func (t *tool) compared(ctx context.Context, o engine.Options, f *serverFlags, from, old string, recording []*engine.Recorded) (*engine.Draft, error) {
	if old == "" && engine.InFull(recording) {
		return nil, nil
	}
	var s engine.Scripts
	name := cmp.Or(old, engine.Asked(recording)[0])
	_, err := os.Stat(name)
	if from == "" && err != nil && bundleHash.MatchString(name) {
		s, err = t.fetched(ctx, f, name)
	} else {
		s, err = t.stored(name)
	}
	if err != nil && old == "" {
		err = fmt.Errorf("texts were not recorded in full, so what was said then tells nothing, and the scripts that said it cannot be had: %w\n(name others with --old DIR or HASH)", err)
	}
	if err != nil {
		return nil, err
	}
	d, found, err := s.Draft(ctx, o)
	if err == nil && d == nil {
		err = t.wrongScripts(cmp.Or(old, s.Bundle()), found)
	}
	return d, err
}

// fetched is the scripts of a bundle that the server keeps.
func (t *tool) fetched(ctx context.Context, f *serverFlags, hash string) (engine.Scripts, error) {
	s, err := t.server(f)
	if err != nil {
		return engine.Scripts{}, err
	}
	data, err := s.read(ctx, http.MethodGet, "bundle", url.Values{"hash": {hash}}, nil)
	if err != nil {
		return engine.Scripts{}, err
	}
	var said struct{ Files map[string]string }
	if err := json.Unmarshal(data, &said); err != nil {
		return engine.Scripts{}, err
	}
	if len(said.Files) == 0 {
		return engine.Scripts{}, errors.New("the server sends no files")
	}
	return engine.ScriptsOf(said.Files)
}

func shownReplay(r engine.Replayed) replayed {
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	out := replayed{Bundle: r.Bundle, Against: r.Against, Calls: r.Calls, Skipped: r.Skipped, Flips: r.Flips, Share: float64(r.Flips) / float64(max(r.Calls, 1)),
		Errors: r.Errors, Before: r.Before, Fault: r.Fault, P50: us(r.P50), P99: us(r.P99), WasP50: us(r.WasP50), WasP99: us(r.WasP99), Matrix: []replayCell{}}
	for _, c := range r.Cells {
		cell := replayCell{From: c.From, To: c.To, Count: c.Count}
		for _, e := range c.Examples {
			cell.Examples = append(cell.Examples, replayExample(e))
		}
		out.Matrix = append(out.Matrix, cell)
	}
	return out
}

func (r replayed) write(out io.Writer, limit float64) {
	against := "bundle " + r.Against
	if r.Against == "recorded" {
		against = "what was said then"
	}
	fmt.Fprintf(out, "bundle %s, against %s, on %s\n\n", r.Bundle, against, count(r.Calls, "recorded action"))
	r.writeMatrix(out)
	for _, c := range r.Matrix {
		if len(c.Examples) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%d × %s -> %s, for example:\n", c.Count, c.From, c.To)
		for _, e := range c.Examples {
			fmt.Fprintln(out, "  "+clean(e.String()))
		}
	}
	fmt.Fprintf(out, "\n%d of %d decided otherwise (%.2f %%); scripts fail on %d, on %d before\n", r.Flips, r.Calls, r.Share*100, r.Errors, r.Before)
	fmt.Fprintf(out, "time of an action's hooks: p50 %.1f us, p99 %.1f us", r.P50, r.P99)
	if r.WasP99 > 0 {
		fmt.Fprintf(out, "; before: p50 %.1f us, p99 %.1f us", r.WasP50, r.WasP99)
	}
	fmt.Fprintln(out)
	if r.Skipped > 0 {
		fmt.Fprintf(out, "%s left out: of actions that this program does not know\n", count(r.Skipped, "record"))
	}
	if r.Errors > r.Before {
		fmt.Fprintf(out, "FAILED: a server would refuse these scripts, since they fail on more; first: %s\n", clean(r.Fault))
	}
	if r.Share > limit {
		fmt.Fprintf(out, "FAILED: --max-flip allows %v %%\n", limit*100)
	}
}

// String is an example in a line.
func (e replayExample) String() string {
	out := fmt.Sprintf("%s %s user %s", clock(e.At), e.Action, cmp.Or(e.User, "?"))
	if e.Conversation != "" {
		out += " in " + e.Conversation
	}
	if e.From != "" {
		out += ", before by " + e.From
	}
	if e.To != "" {
		out += ", now by " + e.To
	}
	if e.Reason != "" {
		out += ": " + e.Reason
	}
	return out
}

// writeMatrix shows old outcomes as rows, new ones as columns.
func (r replayed) writeMatrix(out io.Writer) {
	var rows, columns []string
	counts := map[[2]string]int64{}
	for _, c := range r.Matrix {
		if !slices.Contains(rows, c.From) {
			rows = append(rows, c.From)
		}
		if !slices.Contains(columns, c.To) {
			columns = append(columns, c.To)
		}
		counts[[2]string{c.From, c.To}] += c.Count
	}
	slices.Sort(rows)
	slices.Sort(columns)
	lines := []string{"old \\ new\t" + strings.Join(columns, "\t")}
	for _, from := range rows {
		cells := []string{from}
		for _, to := range columns {
			if n := counts[[2]string{from, to}]; n > 0 {
				cells = append(cells, fmt.Sprint(n))
			} else {
				cells = append(cells, ".")
			}
		}
		lines = append(lines, strings.Join(cells, "\t"))
	}
	table(out, lines...)
}

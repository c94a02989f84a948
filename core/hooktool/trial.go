package hooktool

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"freeim/core/hooks"
	"freeim/scripts/engine"
)

// trialFlags are the flags that make up a call.
type trialFlags struct {
	text, user, action, file string
	set                      settings
}

// settings are the values of --set, in their order.
type settings []string

func (s *settings) String() string { return strings.Join(*s, " ") }

// Set implements flag.Value.
func (s *settings) Set(value string) error {
	if name, _, ok := strings.Cut(value, "="); !ok || name == "" {
		return errors.New("must be FIELD=VALUE, as in user=42 or req.room=lobby")
	}
	*s = append(*s, value)
	return nil
}

func trialOf(fs *flag.FlagSet) *trialFlags {
	f := &trialFlags{}
	fs.StringVar(&f.text, "text", "", "text of the message; \"hello\" if it is a message and nothing says otherwise")
	fs.StringVar(&f.user, "user", "", "ID of the sender")
	fs.StringVar(&f.action, "action", "", "the action; chat.send if left out")
	fs.StringVar(&f.file, "call", "", `file with the call as JSON, "-" for standard input: {"action": "room.join", "user": "42", "req": {"room": "lobby"}}`)
	fs.Var(&f.set, "set", "`FIELD=VALUE` of c, as often as needed: device_type=mobile, req.room=lobby")
	return f
}

// trial is the call that the flags make up.
func (f *trialFlags) trial(in io.Reader) (engine.Trial, error) {
	out := engine.Trial{}
	if f.file != "" {
		data, err := readInput(f.file, in)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &out); err != nil {
			return nil, fmt.Errorf("%s is no JSON object: %w", f.file, err)
		}
	}
	for name, value := range map[string]string{"text": f.text, "user": f.user, "action": f.action} {
		if value != "" {
			out[name] = value
		}
	}
	for _, one := range f.set {
		name, value, _ := strings.Cut(one, "=")
		put(out, strings.Split(name, "."), value)
	}
	return out, nil
}

func readInput(path string, in io.Reader) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(in)
	}
	return os.ReadFile(path)
}

// put sets a field, perhaps of a message inside. What is JSON but no number is
// taken as such: true, [..]; all else, IDs among it, as text.
func put(into map[string]any, path []string, value string) {
	for ; len(path) > 1; path = path[1:] {
		inner, ok := into[path[0]].(map[string]any)
		if !ok {
			inner = map[string]any{}
			into[path[0]] = inner
		}
		into = inner
	}
	into[path[0]] = value
	var parsed any
	if json.Unmarshal([]byte(value), &parsed) == nil {
		if _, number := parsed.(float64); !number && parsed != nil {
			into[path[0]] = parsed
		}
	}
}

// draft builds the scripts for a command that needs them to be right.
func (t *tool) draft(ctx context.Context, o engine.Options) (*engine.Draft, error) {
	d, found, err := engine.NewDraft(ctx, o, false)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, t.wrongScripts(o.Dir, found)
	}
	return d, nil
}

// wrongScripts shows what is wrong.
func (t *tool) wrongScripts(dir string, found []engine.Finding) error {
	for _, f := range told(dir, found) {
		fmt.Fprintln(t.Err, f)
	}
	return errors.New("the scripts are wrong: see above")
}

func (t *tool) bench(ctx context.Context, args []string) error {
	fs := t.flags()
	f := trialOf(fs)
	each := fs.Duration("time", time.Second, "how long each hook is asked")
	args, err := t.parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	trial, err := f.trial(t.In)
	if err != nil {
		return err
	}
	o, err := t.scripts(args)
	if err != nil {
		return err
	}
	d, err := t.draft(ctx, o)
	if err != nil {
		return err
	}
	defer d.Close()
	results := d.Bench(ctx, trial, *each)
	if t.json {
		return t.print(benched(results))
	}
	if len(results) == 0 {
		fmt.Fprintln(t.Out, "the scripts register no hook")
		return nil
	}
	rows := []string{"hook\taction\ttime\tunits\tallocs\toctets\tit said"}
	for _, r := range results {
		if r.Fault != "" {
			rows = append(rows, fmt.Sprintf("%s\t%s\t-\t-\t-\t-\tnot measured: %s", r.Rule, r.Action, r.Fault))
			continue
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%v\t%d\t%.1f\t%.0f\t%s", r.Rule, r.Action, r.Took, r.Units, r.Allocs, r.Octets, r.Said))
	}
	table(t.Out, rows...)
	fmt.Fprintf(t.Out, "per call, each hook alone; a hook may use %d units of work, in %v\n", 100_000, 5*time.Millisecond)
	return nil
}

// benchLine is a BenchResult as JSON.
type benchLine struct {
	Rule   string  `json:"rule"`
	Action string  `json:"action"`
	Calls  int     `json:"calls"`
	Ns     int64   `json:"ns"`
	Units  int     `json:"units"`
	Allocs float64 `json:"allocs"`
	Octets float64 `json:"octets"`
	Said   string  `json:"said,omitempty"`
	Fault  string  `json:"fault,omitempty"`
}

func benched(results []engine.BenchResult) []benchLine {
	out := []benchLine{}
	for _, r := range results {
		out = append(out, benchLine{r.Rule, r.Action, r.Calls, r.Took.Nanoseconds(), r.Units, r.Allocs, r.Octets, r.Said, r.Fault})
	}
	return out
}

func (t *tool) eval(ctx context.Context, args []string) error {
	fs := t.flags()
	f := trialOf(fs)
	dir := fs.String("dir", "", "the scripts, whose globals and libraries can be used; core.scripts if left out")
	args, err := t.parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	trial, err := f.trial(t.In)
	if err != nil {
		return err
	}
	var where []string
	if *dir != "" {
		where = []string{*dir}
	}
	o, err := t.scripts(where)
	if err != nil {
		return err
	}
	d, err := t.draft(ctx, o)
	if err != nil {
		return err
	}
	defer d.Close()
	if len(args) == 0 {
		return t.explain(ctx, d, trial)
	}
	source := args[0]
	if data, err := os.ReadFile(source); err == nil {
		source = string(data)
	}
	value, err := d.Eval(source, trial)
	if err != nil {
		return err
	}
	if t.json {
		return t.print(map[string]any{"value": value.Value, "units": value.Units, "us": value.Took.Microseconds(), "text": value.Text})
	}
	fmt.Fprintln(t.Out, value.Value)
	fmt.Fprintf(t.Out, "(%d units of work", value.Units)
	if given, ok := trial["text"].(string); ok && value.Text != given {
		fmt.Fprintf(t.Out, "; the text is now %q", value.Text)
	}
	fmt.Fprintln(t.Out, ")")
	return nil
}

// explain shows what each hook says about the call.
func (t *tool) explain(ctx context.Context, d *engine.Draft, trial engine.Trial) error {
	a, err := d.Ask(ctx, engine.Before, trial)
	if err != nil {
		return err
	}
	decision := hooks.NewDecision(a.Verdict)
	for _, s := range a.Steps {
		decision.Steps = append(decision.Steps, hooks.NewStep(s))
	}
	if t.json {
		return t.print(map[string]any{"decision": decision, "text": a.Text})
	}
	if len(a.Steps) == 0 {
		fmt.Fprintln(t.Out, "no hook is asked about this call: it is allowed")
		return nil
	}
	writeSteps(t.Out, decision.Steps, "")
	fmt.Fprintf(t.Out, "verdict: %s, %d units of work\n", decision.Summary(), a.Verdict.Units)
	if a.Text != "" && len(a.Verdict.Rewrites) > 0 {
		fmt.Fprintf(t.Out, "text: %q\n", a.Text)
	}
	return nil
}

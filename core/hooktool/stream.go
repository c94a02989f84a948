package hooktool

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"freeim/core/hooks"
)

// maxLine is the longest line of a stream, in octets.
const maxLine = 4 << 20

func (t *tool) tail(ctx context.Context, args []string) error {
	fs := t.flags()
	f := serversOf(fs)
	query := url.Values{}
	for name, about := range map[string]string{
		"action": "only this `ACTION`", "verdict": "only this `VERDICT`: allow, rewrite, deny, shadow, hold, reroute, fault",
		"hook": "only what the hook of this `NAME` decided, rewrote, or failed at", "user": "only the user of this `ID`"} {
		fs.Func(name, about, func(value string) error {
			query.Set(name, value)
			return nil
		})
	}
	if _, err := t.parse(fs, args, 0, 0); err != nil {
		return err
	}
	return t.stream(ctx, f, "tail", query)
}

func (t *tool) trace(ctx context.Context, args []string) error {
	fs := t.flags()
	f := serversOf(fs)
	user := fs.String("user", "", "`ID` of the user")
	ttl := fs.Duration("ttl", 10*time.Minute, "how long, at most an hour")
	if _, err := t.parse(fs, args, 0, 0); err != nil {
		return err
	}
	if *user == "" {
		return errUsage("whose actions? --user ID")
	}
	return t.stream(ctx, f, "trace", url.Values{"user": {*user}, "ttl": {ttl.String()}})
}

// stream shows decisions until the server ends, time is over, or ctx ends.
func (t *tool) stream(ctx context.Context, f *serverFlags, page string, query url.Values) error {
	s, err := t.server(f)
	if err != nil {
		return err
	}
	res, err := s.send(ctx, http.MethodGet, page, query, nil)
	if err != nil && ctx.Err() != nil {
		return nil // that is how a stream ends
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if !t.json {
		fmt.Fprintf(t.Err, "watching %s; Ctrl-C ends. Only actions that a hook is asked about are seen.\n", s.address)
	}
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		if t.json {
			fmt.Fprintf(t.Out, "%s\n", in.Bytes())
			continue
		}
		var line hooks.Line
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			return fmt.Errorf("what %s sends: %w", s.address, err)
		}
		t.show(line)
	}
	if err := in.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s ended the stream: %w", s.address, err)
	}
	return nil
}

func (t *tool) show(line hooks.Line) {
	if line.Lost > 0 {
		fmt.Fprintf(t.Out, "… %s left out: this reader was too slow\n", count(int(line.Lost), "decision"))
	}
	d := line.Decision
	if d == nil {
		return
	}
	who := ""
	if d.User != "" {
		who = " user " + d.User
	}
	fmt.Fprintf(t.Out, "%s %s %s%s: %s, %d us, %d units", d.At.Local().Format("15:04:05.000"), d.Bundle, d.Action, who, clean(d.Summary()), d.Us, d.Units)
	if d.Trace != "" {
		fmt.Fprintf(t.Out, ", trace %s", d.Trace)
	}
	fmt.Fprintln(t.Out)
	writeSteps(t.Out, d.Steps, "    ")
}

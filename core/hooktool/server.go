package hooktool

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// askTimeout bounds a question to a server; a reload runs the scripts' tests.
const askTimeout = 30 * time.Second

// serverFlags say which server to ask.
type serverFlags struct{ admin, keyFile string }

func serverOf(fs *flag.FlagSet) *serverFlags {
	f := &serverFlags{}
	fs.StringVar(&f.admin, "admin", "", "`HOST:PORT` of the server's administrative port; admin.listen of the configuration if left out")
	fs.StringVar(&f.keyFile, "key-file", "", "`FILE` with the administrative key; admin.key or admin.key_file if left out")
	return f
}

// server is the one that is asked.
type server struct {
	address, key string
	named        string // where the address is from
}

func (t *tool) server(f *serverFlags) (s server, err error) {
	site, err := t.load()
	if err != nil && f.admin == "" {
		return s, fmt.Errorf("%w\n(name the server with --admin HOST:PORT to do without a configuration)", err)
	}
	s = server{address: site.Admin, key: site.Key, named: "admin.listen of " + site.File}
	if f.admin != "" {
		s.address, s.named = f.admin, "--admin"
	}
	if f.keyFile != "" {
		text, err := os.ReadFile(f.keyFile)
		if err != nil {
			return s, fmt.Errorf("--key-file: %w", err)
		}
		s.key = strings.TrimSpace(string(text))
	}
	if s.address == "" {
		return s, fmt.Errorf("admin.listen of %s is empty: the server cannot be asked", site.File)
	}
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return s, fmt.Errorf("%s is %q: HOST:PORT", s.named, s.address)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		s.address = net.JoinHostPort("localhost", port)
	}
	return s, nil
}

// send asks for a page. Whoever gets the response closes its body.
func (s server) send(ctx context.Context, method, page string, query url.Values) (*http.Response, error) {
	target := url.URL{Scheme: "http", Host: s.address, Path: "/hooks/" + page, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), nil)
	if err != nil {
		return nil, err
	}
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	res, err := http.DefaultClient.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("nothing listens at %s (%s): does the server run? Name another one with --admin HOST:PORT", s.address, s.named)
	}
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	return nil, s.refusal(res)
}

// refusal says what a server's answer means for whoever asks.
func (s server) refusal(res *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	var said struct{ Errors []string }
	switch {
	case json.Unmarshal(text, &said) == nil && len(said.Errors) > 0:
		return errors.New(strings.Join(said.Errors, "\n"))
	case res.StatusCode == http.StatusUnauthorized && s.key == "":
		return fmt.Errorf("%s wants the administrative key: set admin.key or admin.key_file in the configuration, FREEIM_ADMIN_KEY, or --key-file FILE", s.address)
	case res.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s does not take this administrative key", s.address)
	case res.StatusCode == http.StatusNotFound:
		return fmt.Errorf("the server at %s has no rules: it is an edge, or a core without core.scripts", s.address)
	}
	return fmt.Errorf("%s answers %s: %s", s.address, res.Status, strings.TrimSpace(string(text)))
}

// ask asks for a page and reads its answer into out. With --json the answer is
// printed as it is, and done is true.
func (t *tool) ask(ctx context.Context, f *serverFlags, method, page string, query url.Values, out any) (done bool, err error) {
	s, err := t.server(f)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	res, err := s.send(ctx, method, page, query)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	if t.json {
		var whole any
		if err := json.NewDecoder(res.Body).Decode(&whole); err != nil {
			return false, err
		}
		return true, t.print(whole)
	}
	return false, json.NewDecoder(res.Body).Decode(out)
}

func (t *tool) liveOrder(ctx context.Context, f *serverFlags, args []string) error {
	query := url.Values{}
	if len(args) > 0 {
		query.Set("action", args[0])
	}
	var all []orderLine
	if done, err := t.ask(ctx, f, http.MethodGet, "order", query, &all); done || err != nil {
		return err
	}
	return t.showOrder(all, query.Get("action"))
}

// live is a server's answer about its rules, as far as it is shown.
type live struct {
	Node   string
	Status struct {
		Bundle string
		Since  time.Time
		Files  []string
		Hooks  []liveHook
		Tests  int
		Off    bool
		Late   int
		Lost   int64

		Rejected *struct {
			Bundle string
			At     time.Time
			Errors []string
		}
		Held *struct {
			Bundle, Who, Why string
			Since            time.Time
		}
		Candidate *struct {
			Bundle string
			Since  time.Time
		}
		VMs struct {
			Live, Idle                int
			Replaced, Broken, Starved int64
		}
	}
}

type liveHook struct {
	Rule      string
	OnError   string `json:"on_error"`
	Calls     int64
	Denied    int64
	Rewritten int64
	Faults    int64
	LastFault string `json:"last_fault"`
	Tripped   bool
	Off       bool
}

func (t *tool) status(ctx context.Context, args []string) error {
	fs := t.flags()
	f := serverOf(fs)
	if _, err := t.parse(fs, args, 0, 0); err != nil {
		return err
	}
	var l live
	if done, err := t.ask(ctx, f, http.MethodGet, "status", nil, &l); done || err != nil {
		return err
	}
	l.write(t.Out)
	return nil
}

func (l live) write(out io.Writer) {
	s := l.Status
	fmt.Fprintf(out, "%s: bundle %s since %s: %s, %s, %s passed\n", l.Node, s.Bundle, s.Since.Local().Format(time.DateTime),
		count(len(s.Files), "file"), count(len(s.Hooks), "hook"), count(s.Tests, "test"))
	if s.Off {
		fmt.Fprintln(out, "OFF: no hook is asked; \"on\" asks them again")
	}
	if s.Held != nil {
		fmt.Fprintf(out, "HELD since %s, whatever is on disk: %s %s\n", s.Held.Since.Local().Format(time.DateTime), s.Held.Who, s.Held.Why)
	}
	if s.Candidate != nil {
		fmt.Fprintf(out, "candidate %s on trial since %s\n", s.Candidate.Bundle, s.Candidate.Since.Local().Format(time.DateTime))
	}
	if s.Rejected != nil {
		fmt.Fprintf(out, "REJECTED at %s, what is on disk is not active:\n", s.Rejected.At.Local().Format(time.DateTime))
		for _, text := range s.Rejected.Errors {
			fmt.Fprintln(out, "  "+text)
		}
	}
	rows := []string{"hook\tcalls\tdenied\trewritten\tfaults\ton error\t"}
	for _, h := range s.Hooks {
		note := ""
		switch {
		case h.Off:
			note = "OFF"
		case h.Tripped:
			note = "NOT CALLED for a while: " + h.LastFault
		case h.LastFault != "":
			note = "last fault: " + h.LastFault
		}
		rows = append(rows, fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%s\t%s", h.Rule, h.Calls, h.Denied, h.Rewritten, h.Faults, h.OnError, note))
	}
	table(out, rows...)
	fmt.Fprintf(out, "VMs: %d, %d idle, %d broken; %d calls got none in time; after hooks: %d wait, %d lost\n",
		s.VMs.Live, s.VMs.Idle, s.VMs.Broken, s.VMs.Starved, s.Late, s.Lost)
}

func (t *tool) faults(ctx context.Context, args []string) error {
	fs := t.flags()
	f := serverOf(fs)
	if _, err := t.parse(fs, args, 0, 0); err != nil {
		return err
	}
	var all []struct {
		Place, Rule, Kind, Message, Bundle, Sample string
		Count                                      int64
		First, Last                                time.Time
	}
	if done, err := t.ask(ctx, f, http.MethodGet, "errors", nil, &all); done || err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintln(t.Out, "no hook has failed since the server was started")
	}
	for _, one := range all {
		fmt.Fprintf(t.Out, "%s: %s, %s: %s\n", one.Place, one.Kind, count(int(one.Count), "time"), one.Message)
		fmt.Fprintf(t.Out, "  hook %s, bundle %s; first %s, last %s\n", one.Rule, one.Bundle, one.First.Local().Format(time.DateTime), one.Last.Local().Format(time.DateTime))
		if one.Sample != "" {
			fmt.Fprintf(t.Out, "  first at: %s   (letters are shown as x, digits as 0)\n", one.Sample)
		}
	}
	return nil
}

func (t *tool) off(ctx context.Context, args []string) error { return t.turn(ctx, args, "off") }

func (t *tool) on(ctx context.Context, args []string) error { return t.turn(ctx, args, "on") }

func (t *tool) turn(ctx context.Context, args []string, page string) error {
	fs := t.flags()
	f := serverOf(fs)
	hook := fs.String("hook", "", "only the hook of this `NAME`")
	if _, err := t.parse(fs, args, 0, 0); err != nil {
		return err
	}
	query := url.Values{}
	if *hook != "" {
		query.Set("hook", *hook)
	}
	var l live
	if done, err := t.ask(ctx, f, http.MethodPost, page, query, &l); done || err != nil {
		return err
	}
	what := "all hooks are " + page
	if *hook != "" {
		what = *hook + " is " + page
	}
	fmt.Fprintf(t.Out, "%s: %s\n", l.Node, what)
	if l.Status.Off && page == "on" {
		fmt.Fprintln(t.Out, "but all hooks together are off: \"on\" without --hook asks them again")
	}
	return nil
}

func (t *tool) reload(ctx context.Context, args []string) error {
	fs := t.flags()
	f := serverOf(fs)
	if _, err := t.parse(fs, args, 0, 0); err != nil {
		return err
	}
	var r struct {
		From, To              string
		Files, Added, Removed []string
		Tests                 int
		Took                  string
	}
	if done, err := t.ask(ctx, f, http.MethodPost, "reload", nil, &r); done || err != nil {
		return err
	}
	if r.From == r.To {
		fmt.Fprintf(t.Out, "bundle %s stays: the files are those that are active\n", r.To)
		return nil
	}
	fmt.Fprintf(t.Out, "activated %s, before %s: %s; %s passed, took %s\n", r.To, r.From, strings.Join(r.Files, " "), count(r.Tests, "test"), r.Took)
	for _, name := range r.Added {
		fmt.Fprintln(t.Out, "  hook added: "+name)
	}
	for _, name := range r.Removed {
		fmt.Fprintln(t.Out, "  hook REMOVED: "+name)
	}
	return nil
}

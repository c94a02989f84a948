package hooktool

import (
	"bytes"
	"cmp"
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
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"freeim/scripts/pages"
)

// askTimeout bounds a question to a server: a reload or a push runs the scripts'
// tests, and a replay.
const askTimeout = time.Minute

// serverFlags say which servers to ask.
type serverFlags struct {
	servers addresses
	keyFile string
	edge    bool // the rules of edges are meant, not those of cores
}

// addresses are the values of --server.
type addresses []string

func (a *addresses) String() string { return strings.Join(*a, ",") }

// Set implements flag.Value.
func (a *addresses) Set(value string) error {
	for one := range strings.SplitSeq(value, ",") {
		if _, _, err := net.SplitHostPort(one); err != nil {
			return fmt.Errorf("%q must be HOST:PORT", one)
		}
		if !slices.Contains(*a, one) {
			*a = append(*a, one)
		}
	}
	return nil
}

func serversOf(fs *flag.FlagSet) *serverFlags {
	f := &serverFlags{}
	fs.Var(&f.servers, "server", "`HOST:PORT` of a server's administrative port, as often as there are servers, or with commas; admin.listen of the configuration if left out")
	fs.StringVar(&f.keyFile, "key-file", "", "`FILE` with the administrative key; admin.key or admin.key_file if left out")
	fs.BoolVar(&f.edge, "edge", false, "the rules of an edge, rather than those of a core; a process that is both has both")
	return f
}

// server is one that is asked.
type server struct {
	edge         bool   // about the rules of its edge
	name         string // as it was given
	address, key string
	from         string // where the address is from
}

// servers are those that the flags name, or the one of the configuration.
func (t *tool) servers(f *serverFlags) ([]server, error) {
	site, err := t.load()
	if err != nil && len(f.servers) == 0 {
		return nil, fmt.Errorf("%w\n(name the server with --server HOST:PORT to do without a configuration)", err)
	}
	key := site.Key
	if f.keyFile != "" {
		text, err := os.ReadFile(f.keyFile)
		if err != nil {
			return nil, fmt.Errorf("--key-file: %w", err)
		}
		key = strings.TrimSpace(string(text))
	}
	names, from := []string(f.servers), "--server"
	if len(names) == 0 {
		if site.Admin == "" {
			return nil, fmt.Errorf("admin.listen of %s is empty, so that server cannot be asked: set it, or name one with --server HOST:PORT", site.File)
		}
		names, from = []string{site.Admin}, "admin.listen of "+site.File
	}
	var all []server
	for _, name := range names {
		host, port, err := net.SplitHostPort(name)
		if err != nil {
			return nil, fmt.Errorf("%s is %q: it must be HOST:PORT", from, name)
		}
		s := server{edge: f.edge, name: name, address: name, key: key, from: from}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			s.address = net.JoinHostPort("localhost", port)
		}
		all = append(all, s)
	}
	return all, nil
}

// server is the only one that the flags name.
func (t *tool) server(f *serverFlags) (server, error) {
	all, err := t.servers(f)
	if err != nil {
		return server{}, err
	}
	if len(all) > 1 {
		return server{}, errUsage("one --server at a time")
	}
	return all[0], nil
}

// client asks servers directly, whatever proxies there are, and follows nobody: the
// key is for them alone.
func client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// request is the question for a page.
func (s server) request(ctx context.Context, method, page string, query url.Values, body []byte) (*http.Request, error) {
	target := url.URL{Scheme: "http", Host: s.address, Path: pages.Root(s.edge) + page, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	return req, nil
}

// send asks for a page. Whoever gets the response closes its body.
func (s server) send(ctx context.Context, method, page string, query url.Values, body []byte) (*http.Response, error) {
	req, err := s.request(ctx, method, page, query, body)
	if err != nil {
		return nil, err
	}
	res, err := client().Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("nothing listens at %s (%s): does the server run? Name another one with --server HOST:PORT", s.address, s.from)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("%s does not answer within %v: look at it, and ask for its status before anything is repeated", s.address, askTimeout)
	case err != nil:
		return nil, err
	case res.StatusCode == http.StatusOK:
		return res, nil
	}
	defer res.Body.Close()
	return nil, s.refusal(ctx, res)
}

// refusal says what a server's answer means for whoever asks.
func (s server) refusal(ctx context.Context, res *http.Response) error {
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
		return s.missing(ctx)
	}
	return fmt.Errorf("%s answers %s: %s", s.address, res.Status, strings.TrimSpace(string(text)))
}

// missing says why a server has no page: perhaps it is of the other kind.
func (s server) missing(ctx context.Context) error {
	other := s
	other.edge = !s.edge
	is, advice, without := "an edge", "ask edges with --edge, and cores without, in two calls", "a core without core.scripts"
	if s.edge {
		is, advice, without = "a core", "ask cores without --edge, and edges with it, in two calls", "an edge without edge.rules.dir"
	}
	req, err := other.request(ctx, http.MethodGet, "status", nil, nil)
	if err == nil {
		if res, err := client().Do(req); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return fmt.Errorf("the server at %s is %s, which has rules of its own: %s", s.address, is, advice)
			}
		}
	}
	return fmt.Errorf("the server at %s has no such page: it is %s, %s, or an older one", s.address, is, without)
}

// read asks for a page and gives its answer.
func (s server) read(ctx context.Context, method, page string, query url.Values, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	res, err := s.send(ctx, method, page, query, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("the answer of %s broke off: %w", s.address, err)
	}
	return text, nil
}

// ask asks the one server for a page and reads its answer into out. With --json the
// answer is printed as it is, and done is true.
func (t *tool) ask(ctx context.Context, f *serverFlags, method, page string, query url.Values, out any) (done bool, err error) {
	s, err := t.server(f)
	if err != nil {
		return false, err
	}
	text, err := s.read(ctx, method, page, query, nil)
	if err != nil {
		return false, err
	}
	if t.json {
		return true, t.print(json.RawMessage(text))
	}
	return false, json.Unmarshal(text, out)
}

// reply is what one of several servers answers.
type reply struct {
	server
	answer json.RawMessage
	err    error
}

// each asks all servers at the same time.
func each(ctx context.Context, all []server, method, page string, query url.Values, body []byte) []reply {
	replies := make([]reply, len(all))
	var asked sync.WaitGroup
	for i, s := range all {
		asked.Go(func() {
			text, err := s.read(ctx, method, page, query, body)
			replies[i] = reply{s, text, err}
		})
	}
	asked.Wait()
	return replies
}

// failed reports whether a server gave no answer.
func failed(replies []reply) (n int) {
	for _, r := range replies {
		if r.err != nil {
			n++
		}
	}
	return n
}

// complain says which servers gave none, and why.
func (t *tool) complain(replies []reply) {
	for _, r := range replies {
		if r.err != nil {
			fmt.Fprintf(t.Err, "%s: %v\n", r.name, r.err)
		}
	}
}

// answers prints what servers answer, for machines: of one the answer as it is, of
// several a list.
func (t *tool) answers(replies []reply) error {
	if len(replies) == 1 {
		if replies[0].err != nil {
			return replies[0].err
		}
		return t.print(replies[0].answer)
	}
	type one struct {
		Server string          `json:"server"`
		Answer json.RawMessage `json:"answer,omitempty"`
		Error  string          `json:"error,omitempty"`
	}
	var list []one
	for _, r := range replies {
		said := one{Server: r.name, Answer: r.answer}
		if r.err != nil {
			said.Error = r.err.Error()
		}
		list = append(list, said)
	}
	return t.print(list)
}

// decoded reads the answers that there are, by the servers' names.
func decoded[T any](replies []reply) (all map[string]T, err error) {
	all = map[string]T{}
	for _, r := range replies {
		if r.err != nil {
			continue
		}
		var one T
		if err := json.Unmarshal(r.answer, &one); err != nil {
			return nil, fmt.Errorf("the answer of %s: %w", r.name, err)
		}
		all[r.name] = one
	}
	return all, nil
}

// whose is a server by its own name, with its address if several were asked.
func (s server) whose(node string, several bool) string {
	kind := ""
	if s.edge {
		kind = "edge "
	}
	if !several {
		return kind + cmp.Or(node, s.name)
	}
	return fmt.Sprintf("%s%s (%s)", kind, cmp.Or(node, "?"), s.name)
}

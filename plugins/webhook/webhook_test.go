package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/plugins/webhook"
)

// patience is how long something may take on a busy machine.
const patience = time.Minute

func TestConform(t *testing.T) {
	plugintest.Conform(t, func() plugin.Plugin { return webhook.New() }, new(plugintest.Messages).Outbox())
}

const (
	secret    = "a secret of the test's own"
	oldSecret = "the one that was before it"
)

// told is an event as a receiver reads it.
type told struct {
	ID       string `json:"id"`
	Position string `json:"position"`
	Event    string `json:"event"`
	UserID   int64  `json:"user_id"`
	Push     *plugin.Alert
	Message  struct {
		ConversationID string `json:"conversation_id"`
		Seq            int64  `json:"seq"`
		Text           string `json:"text"`
		Data           string `json:"data"`
	} `json:"message"`
}

// receiver is an endpoint of the test's.
type receiver struct {
	t      *testing.T
	server *httptest.Server
	clock  atomic.Pointer[plugintest.Host]

	mu     sync.Mutex // guards the fields below
	got    []told     // what was taken, in order, each time that it came
	calls  int
	answer func(n int, events []told, w http.ResponseWriter) // nil: 200
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func (r *receiver) now() time.Time {
	if h := r.clock.Load(); h != nil {
		return h.Now()
	}
	return time.Now()
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the other side gave up
	}
	for _, s := range []string{secret, oldSecret} {
		if err := verify(req.Header.Get("Freeim-Signature"), body, []byte(s), r.now()); err != nil {
			r.t.Errorf("%s: %v", req.Header.Get("Freeim-Signature"), err)
		}
	}
	if verify(req.Header.Get("Freeim-Signature"), append(body, ' '), []byte(secret), r.now()) == nil {
		r.t.Error("another body has the same signature")
	}
	var d struct {
		Endpoint, Delivery string
		Attempt            int
		Events             []told
	}
	if err := json.Unmarshal(body, &d); err != nil || d.Endpoint != "test" || d.Delivery != req.Header.Get("Freeim-Delivery") || d.Attempt < 1 {
		r.t.Errorf("got %s: %v", body, err)
	}
	r.mu.Lock()
	r.calls++
	n, answers := r.calls, r.answer
	r.mu.Unlock()
	recorded := &recorder{ResponseWriter: w, took: func() {
		r.mu.Lock()
		r.got = append(r.got, d.Events...)
		r.mu.Unlock()
	}}
	if answers != nil {
		answers(n, d.Events, recorded)
	}
	recorded.begin(http.StatusOK)
}

// recorder tells of an answer that takes the events, before the other side can have it: it may send the next ones by then.
type recorder struct {
	http.ResponseWriter
	took  func()
	begun bool
}

func (r *recorder) begin(status int) {
	if !r.begun && status/100 == 2 {
		r.took()
	}
	r.begun = true
}

func (r *recorder) WriteHeader(status int) {
	r.begin(status)
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	r.begin(http.StatusOK)
	return r.ResponseWriter.Write(p)
}

func (r *recorder) Flush() { r.ResponseWriter.(http.Flusher).Flush() }

func (r *receiver) set(answer func(n int, events []told, w http.ResponseWriter)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) taken() []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *receiver) called() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

// world is a host with the plugin, and who is told.
type world struct {
	*plugintest.Host
	t        *testing.T
	hook     *webhook.Webhook
	messages *plugintest.Messages
	receiver *receiver
}

// configured makes the plugin with one endpoint and small times.
func configured(t *testing.T, url string, change func(*webhook.Config)) *webhook.Webhook {
	t.Helper()
	hook := webhook.New()
	c := hook.Config().(*webhook.Config)
	dir := t.TempDir()
	var files []string
	for _, s := range []string{secret, oldSecret} {
		files = append(files, filepath.Join(dir, fmt.Sprint(len(files))))
		if err := os.WriteFile(files[len(files)-1], []byte(s+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.Endpoints = []webhook.Endpoint{{Name: "test", URL: url, Events: []string{"*"}, SecretFiles: files, Private: true}}
	c.Pause, c.MostPause, c.Poll = 5*time.Millisecond, 50*time.Millisecond, 20*time.Millisecond
	if change != nil {
		change(c)
	}
	return hook
}

func start(t *testing.T, change func(*webhook.Config)) *world {
	t.Helper()
	w := &world{t: t, messages: &plugintest.Messages{}, receiver: newReceiver(t)}
	w.hook = configured(t, w.receiver.server.URL, change)
	w.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{w.hook}, Stubs: []plugintest.Stub{w.messages.Outbox()}, Start: time.Now()})
	w.receiver.clock.Store(w.Host)
	return w
}

// say commits n messages to each of some conversations, and gives them by conversation.
func (w *world) say(conversations, n int, name string) map[string][]string {
	w.t.Helper()
	said := map[string][]string{}
	for i := range n {
		for c := range conversations {
			id := im.ChatOf(1, im.UserID(c+2))
			done := w.messages.Say(w.t, id, 1, fmt.Sprintf("%s-%d-%d", name, c, i), fmt.Sprintf("%s %d", name, i), 1, im.UserID(c+2))
			said[string(id)] = append(said[string(id)], done.ID.String())
		}
	}
	return said
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

// firsts are the IDs that came, by conversation, each where it came first.
func firsts(got []told) map[string][]string {
	seen, all := map[string]bool{}, map[string][]string{}
	for _, e := range got {
		if !seen[e.ID] {
			seen[e.ID] = true
			all[e.Message.ConversationID] = append(all[e.Message.ConversationID], e.ID)
		}
	}
	return all
}

// wantTold waits until everything came, and checks the order.
func (w *world) wantTold(said map[string][]string) {
	w.t.Helper()
	n := 0
	for _, ids := range said {
		n += len(ids)
	}
	count := func() (n int) {
		for _, ids := range firsts(w.receiver.taken()) {
			n += len(ids)
		}
		return n
	}
	eventually(w.t, fmt.Sprintf("%d events are told", n), func() bool { return count() >= n })
	got := firsts(w.receiver.taken())
	for c, ids := range said {
		if !slices.Equal(got[c], ids) {
			w.t.Errorf("of %s came %v, want %v", c, got[c], ids)
		}
	}
}

// page asks an administrative page.
func (w *world) page(pattern string, values url.Values) (status int, body string) {
	w.t.Helper()
	method, path, _ := strings.Cut(pattern, " ")
	for _, page := range w.hook.Pages() {
		if page.Pattern != pattern {
			continue
		}
		req := httptest.NewRequest(method, path+"?"+values.Encode(), nil)
		if method == "POST" {
			req = httptest.NewRequest(method, path, strings.NewReader(values.Encode()))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		rec := httptest.NewRecorder()
		page.Handler.ServeHTTP(rec, req)
		return rec.Code, rec.Body.String()
	}
	w.t.Fatalf("no page %s", pattern)
	return 0, ""
}

// asked is page for what must be answered.
func (w *world) asked(pattern string, into any, values ...string) {
	w.t.Helper()
	form := url.Values{"endpoint": {"test"}}
	for i := 0; i < len(values); i += 2 {
		form.Set(values[i], values[i+1])
	}
	status, body := w.page(pattern, form)
	if status != http.StatusOK {
		w.t.Fatalf("%s %v: %d %s", pattern, form, status, body)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(body), into); err != nil {
			w.t.Fatalf("%s: %v", body, err)
		}
	}
}

func TestTellsInOrderAndSigned(t *testing.T) {
	w := start(t, func(c *webhook.Config) { c.Batch = 7 })
	said := w.say(20, 15, "m")
	w.wantTold(said)
	if got := len(w.receiver.taken()); got != 300 {
		t.Errorf("%d events came, want each of 300 once: nothing failed", got)
	}
	for _, e := range w.receiver.taken() {
		if e.Event != "message.committed" || e.Message.Text == "" || !strings.Contains(e.Position, "-") {
			t.Errorf("got %+v", e)
		}
	}
}

func TestTellsNamesOfEvents(t *testing.T) {
	w := start(t, func(c *webhook.Config) {
		c.Endpoints[0].Events = []string{"message.shadowed", "group.*", "social.accepted"}
	})
	chat := im.ChatOf(1, 2)
	w.messages.Say(t, chat, 1, "a", "seen", 1, 2)
	w.messages.Say(t, chat.Shadow(1), 1, "b", "unseen", 1)
	for i, name := range []string{"social.accepted", "social.refused"} {
		if _, err := w.messages.Post(t.Context(), plugin.Post{Conversation: im.NoticesOf(2), ClientID: fmt.Sprint("~", i), Name: name, Audience: []im.UserID{2}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.messages.Post(t.Context(), plugin.Post{Conversation: "g_1", ClientID: "~c", Name: "group.renamed", Audience: []im.UserID{1}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three events", func() bool { return len(w.receiver.taken()) == 3 })
	got := map[string]told{}
	for _, e := range w.receiver.taken() {
		got[e.Event] = e
	}
	if got["message.shadowed"].Message.ConversationID != string(chat) || got["social.accepted"].UserID != 2 || got["group.renamed"].Message.ConversationID != "g_1" {
		t.Errorf("got %+v", got)
	}
}

// Whatever fails, everything comes, and what comes first of each is in order.
func TestTellsThroughFailures(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	w := start(t, func(c *webhook.Config) { c.Timeout, c.Batch, c.Tries = 200*time.Millisecond, 5, 1000 }) // none is given up
	w.receiver.set(func(n int, _ []told, rw http.ResponseWriter) {
		switch n % 9 {
		case 0, 1:
			rw.WriteHeader(http.StatusInternalServerError)
		case 2: // it is late
			<-time.After(300 * time.Millisecond)
		case 3: // its answer does not end
			rw.WriteHeader(http.StatusOK)
			rw.(http.Flusher).Flush()
			<-time.After(300 * time.Millisecond)
		case 4: // more than anybody reads
			_, _ = rw.Write(make([]byte, 1<<20))
		case 5:
			http.Redirect(rw, &http.Request{Method: "POST"}, elsewhere.URL, http.StatusTemporaryRedirect)
		case 6:
			rw.Header().Set("Retry-After", "3600") // no longer than most_pause
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	w.wantTold(w.say(8, 12, "m"))
	if dead := w.dead(); len(dead) != 0 {
		t.Errorf("there are dead letters: %v", dead)
	}
}

type deadLetter struct{ Position, ID, Event, Reason string }

func (w *world) dead() []deadLetter {
	w.t.Helper()
	var page struct{ Dead []deadLetter }
	w.asked("GET /webhooks/dead", &page)
	return page.Dead
}

// poisoned refuses deliveries with a certain text.
func poisoned(status int) func(int, []told, http.ResponseWriter) {
	return func(_ int, events []told, w http.ResponseWriter) {
		for _, e := range events {
			if strings.HasPrefix(e.Message.Text, "poison") {
				w.WriteHeader(status)
				_, _ = io.WriteString(w, "not <this>\x00")
				return
			}
		}
	}
}

// One event that is refused stops neither what is before nor what is behind it.
func TestDeadLetters(t *testing.T) {
	for _, status := range []int{http.StatusUnprocessableEntity, http.StatusInternalServerError} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			w := start(t, func(c *webhook.Config) { c.Tries = 3 })
			w.receiver.set(poisoned(status))
			before := w.say(6, 5, "before")
			w.messages.Say(t, im.ChatOf(1, 2), 1, "poison", "poison", 1, 2)
			after := w.say(6, 5, "after")
			stop := make(chan struct{})
			var others sync.WaitGroup
			others.Go(func() { // others go on: it is the event, not the endpoint
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					case <-time.After(5 * time.Millisecond):
						w.messages.Say(t, im.ChatOf(7, im.UserID(8+i%40)), 7, fmt.Sprint("other", i), "other", 7)
					}
				}
			})
			eventually(t, "a dead letter", func() bool { return len(w.dead()) == 1 })
			close(stop)
			others.Wait()
			for c, ids := range after {
				before[c] = append(before[c], ids...)
			}
			for c, ids := range before {
				eventually(t, "all of "+c, func() bool { return len(firsts(w.receiver.taken())[c]) == len(ids) })
				if got := firsts(w.receiver.taken())[c]; !slices.Equal(got, ids) {
					t.Errorf("of %s came %v, want %v", c, got, ids)
				}
			}
			letter := w.dead()[0]
			if letter.Event != "message.committed" || !strings.Contains(letter.Reason, fmt.Sprint(status)) {
				t.Errorf("got %+v", letter)
			}

			var tried struct {
				Delivered, Status int
				Answer            string
			}
			w.asked("POST /webhooks/retry", &tried, "position", letter.Position)
			if tried.Delivered != 0 || tried.Status != status || tried.Answer != "not <this> " || len(w.dead()) != 1 {
				t.Errorf("got %+v", tried)
			}
			w.receiver.set(nil)
			w.asked("POST /webhooks/retry", &tried)
			if got := w.receiver.taken(); tried.Delivered != 1 || got[len(got)-1].ID != letter.ID || len(w.dead()) != 0 {
				t.Errorf("got %+v, the last event is %+v", tried, got[len(got)-1])
			}
			if status, body := w.page("POST /webhooks/drop", url.Values{"endpoint": {"test"}, "position": {letter.Position}}); status != http.StatusNotFound {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
}

// What is too old dies when it fails; with too many dead letters nothing more does, and all waits.
func TestGivesUpWhatIsOld(t *testing.T) {
	w := start(t, func(c *webhook.Config) { c.GiveUp, c.MostDead, c.Batch = time.Hour, 3, 2 })
	// The fourth is answered when the clock has moved: one that is on its way then would come with a signature of before.
	moved := make(chan struct{})
	move := sync.OnceFunc(func() { close(moved) })
	defer move()
	w.receiver.set(func(n int, _ []told, rw http.ResponseWriter) {
		if n == 4 {
			<-moved
		}
		rw.WriteHeader(http.StatusBadGateway)
	})
	said := w.say(1, 9, "m")
	eventually(t, "some calls", func() bool { return w.receiver.called() > 3 })
	if n := len(w.dead()); n != 0 {
		t.Fatalf("there are %d dead letters", n)
	}
	w.Advance(2 * time.Hour)
	move()
	eventually(t, "it is stopped", func() bool { return w.status().Stopped != "" })
	dead := w.dead()
	if n := len(dead); n < 3 || n > 4 {
		t.Fatalf("there are %d dead letters", n)
	}
	w.receiver.set(nil)
	w.asked("POST /webhooks/drop", nil, "all", "1")
	w.asked("POST /webhooks/resume", nil)
	for c := range said {
		said[c] = said[c][len(dead):]
	}
	w.wantTold(said)
}

type status struct {
	Stopped, Owner string
	Here, Broken   bool
	Pending        int64
	Dead           int
	Calls          []struct {
		Status, Attempt, Events int
		Fault, Answer           string
	}
}

func (w *world) status() status {
	w.t.Helper()
	var page struct{ Webhooks []status }
	w.asked("GET /webhooks", &page)
	return page.Webhooks[0]
}

func TestGoneStops(t *testing.T) {
	w := start(t, nil)
	w.receiver.set(func(_ int, _ []told, rw http.ResponseWriter) { rw.WriteHeader(http.StatusGone) })
	said := w.say(1, 3, "m")
	eventually(t, "it is stopped", func() bool { return strings.Contains(w.status().Stopped, "410") })
	calls := w.receiver.called()
	w.receiver.set(nil)
	for c, ids := range w.say(1, 2, "n") {
		said[c] = append(said[c], ids...)
	}
	if got := w.status(); got.Pending != 5 || w.receiver.called() != calls {
		t.Errorf("got %+v, %d calls after %d", got, w.receiver.called(), calls)
	}
	if all := w.hook.Forwarded()["test"]; !all.Stopped {
		t.Errorf("got %+v", all)
	}
	w.asked("POST /webhooks/resume", nil)
	w.wantTold(said)
	eventually(t, "what was told is noted", func() bool { return w.status().Pending == 0 }) // else it comes again: at least once
	w.asked("POST /webhooks/pause", nil)
	eventually(t, "nobody delivers", func() bool { return !w.status().Here })
	w.say(1, 1, "o")
	if got := w.status(); got.Stopped == "" || got.Pending != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestReplay(t *testing.T) {
	w := start(t, nil)
	first := w.say(3, 4, "m")
	w.wantTold(first)
	w.Advance(time.Minute)
	middle := w.Now().UTC()
	w.Advance(time.Minute)
	second := w.say(3, 4, "n")
	w.wantTold(map[string][]string{})
	eventually(t, "24 events", func() bool { return len(w.receiver.taken()) >= 24 })

	w.asked("POST /webhooks/replay", nil, "since", middle.Format(time.RFC3339))
	eventually(t, "12 more", func() bool { return len(w.receiver.taken()) >= 36 })
	if got := firsts(w.receiver.taken()[24:]); fmt.Sprint(got) != fmt.Sprint(second) {
		t.Errorf("got %v, want %v", got, second)
	}
	w.asked("POST /webhooks/replay", nil, "all", "1")
	eventually(t, "24 more", func() bool { return len(w.receiver.taken()) >= 60 })

	// One feed behind a position: what came there after it.
	at := w.receiver.taken()[0]
	feed, _, _ := strings.Cut(at.Position, "-")
	want := 0
	seen := map[string]bool{}
	for _, e := range w.receiver.taken() {
		if f, _, _ := strings.Cut(e.Position, "-"); f == feed && e.Position != at.Position && !seen[e.ID] {
			want++
		}
		seen[e.ID] = true
	}
	mark := len(w.receiver.taken()) // a delivery that an operator interrupts may come twice
	w.asked("POST /webhooks/replay", nil, "position", at.Position)
	eventually(t, "the rest of a feed", func() bool {
		again := map[string]bool{}
		for _, e := range w.receiver.taken()[mark:] {
			if f, _, _ := strings.Cut(e.Position, "-"); f == feed && e.Position != at.Position {
				again[e.ID] = true
			}
		}
		return len(again) == want
	})

	for name, form := range map[string]url.Values{
		"nothing":              {"endpoint": {"test"}},
		"no position":          {"endpoint": {"test"}, "position": {"x"}},
		"a feed that is none":  {"endpoint": {"test"}, "position": {"17-1"}},
		"beyond the end":       {"endpoint": {"test"}, "position": {feed + "-1000000"}},
		"no time":              {"endpoint": {"test"}, "since": {"yesterday"}},
		"a time that is to be": {"endpoint": {"test"}, "since": {w.Now().Add(time.Hour).Format(time.RFC3339)}},
	} {
		if status, body := w.page("POST /webhooks/replay", form); status != http.StatusBadRequest {
			t.Errorf("%s: got %d %s", name, status, body)
		}
	}
}

func TestPing(t *testing.T) {
	w := start(t, nil)
	var tried struct {
		Delivered, Status int
		Fault             string
	}
	w.asked("POST /webhooks/test", &tried)
	if got := w.receiver.taken(); tried.Delivered != 1 || len(got) != 1 || got[0].Event != "webhook.ping" {
		t.Errorf("got %+v, told %+v", tried, got)
	}
	w.receiver.set(func(_ int, _ []told, rw http.ResponseWriter) { rw.WriteHeader(http.StatusForbidden) })
	w.asked("POST /webhooks/test", &tried)
	if tried.Status != http.StatusForbidden || tried.Fault == "" {
		t.Errorf("got %+v", tried)
	}
	for range 20 {
		w.asked("POST /webhooks/test", nil)
	}
	if calls := w.status().Calls; len(calls) != 10 || calls[9].Status != http.StatusForbidden {
		t.Errorf("got %+v", calls)
	}
	if status, body := w.page("POST /webhooks/test", url.Values{"endpoint": {"other"}}); status != http.StatusNotFound {
		t.Errorf("got %d %s", status, body)
	}
}

// An address of a private network is none for who did not allow it, whatever its name.
func TestPrivateAddresses(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer server.Close()
	w := start(t, func(c *webhook.Config) {
		c.Endpoints[0].URL, c.Endpoints[0].Private = strings.Replace(server.URL, "127.0.0.1", "localhost", 1), false
	})
	var tried struct{ Fault string }
	w.asked("POST /webhooks/test", &tried)
	if !strings.Contains(tried.Fault, "private") {
		t.Errorf("got %+v", tried)
	}
}

// second is the plugin in another core of the same site.
type second struct{ *webhook.Webhook }

func (second) Info() plugin.Info {
	return plugin.Info{Name: "second", Version: "1", Needs: []string{plugin.ServiceOutbox}}
}

// Of two cores one delivers, also while operators set places; when it ends the other goes on.
func TestTwoCores(t *testing.T) {
	w := &world{t: t, messages: &plugintest.Messages{}, receiver: newReceiver(t)}
	short := func(c *webhook.Config) { c.Lease, c.Batch = time.Second, 3 }
	w.hook = configured(t, w.receiver.server.URL, short)
	other := configured(t, w.receiver.server.URL, short)
	w.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{w.hook, second{other}}, Stubs: []plugintest.Stub{w.messages.Outbox()}, Start: time.Now()})
	w.receiver.clock.Store(w.Host)
	first := w.say(5, 10, "m")
	w.wantTold(first)
	if got := len(w.receiver.taken()); got != 50 {
		t.Errorf("%d events came of 50", got)
	}
	owner := w.status().Owner
	w.Advance(time.Hour) // the lease is over, whoever is quicker takes it
	more := w.say(5, 10, "n")
	for c, ids := range more {
		first[c] = append(first[c], ids...)
	}
	w.wantTold(first)
	eventually(t, "what was told is noted", func() bool { return w.status().Pending == 0 })
	w.asked("POST /webhooks/pause", nil)
	w.asked("POST /webhooks/resume", nil)
	for c, ids := range w.say(5, 10, "o") {
		first[c] = append(first[c], ids...)
	}
	w.wantTold(first)
	if owner == "" {
		t.Error("nobody delivered")
	}
}

// A life of the store that is another one loses nothing.
func TestRestored(t *testing.T) {
	w := start(t, nil)
	said := w.say(4, 5, "m")
	w.wantTold(said)
	eventually(t, "what was told is noted", func() bool { return w.status().Pending == 0 })
	w.asked("POST /webhooks/pause", nil)
	eventually(t, "nobody delivers", func() bool { return !w.status().Here })
	for c, ids := range w.say(4, 5, "n") {
		said[c] = append(said[c], ids...)
	}
	renewer, ok := w.Timelines().(interface {
		Renew(ctx context.Context) (string, error)
	})
	if !ok {
		t.Skip("SKIPPED: the timelines of this profile are renewed when no core runs")
	}
	if _, err := renewer.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.asked("POST /webhooks/resume", nil)
	w.wantTold(said)
}

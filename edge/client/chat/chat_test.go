package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freeim/edge/client/clienttest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// page is what the program wrote, to be waited for.
type page struct {
	mu      sync.Mutex
	text    string
	changed chan struct{} // closed and replaced with every write
}

func newPage() *page { return &page{changed: make(chan struct{})} }

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text += string(b)
	close(p.changed)
	p.changed = make(chan struct{})
	return len(b), nil
}

func (p *page) now() (string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text, p.changed
}

// terminal is a program that runs, and its user.
type terminal struct {
	t         *testing.T
	keys      *io.PipeWriter
	out, errs *page
	done      chan int
	cancel    context.CancelFunc
}

func start(t *testing.T, args ...string) *terminal {
	t.Helper()
	in, keys := io.Pipe()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	x := &terminal{t: t, keys: keys, out: newPage(), errs: newPage(), done: make(chan int, 1), cancel: cancel}
	go func() {
		x.done <- run(ctx, args, in, x.out, x.errs)
		in.Close()
	}()
	t.Cleanup(func() {
		cancel()
		keys.Close()
	})
	return x
}

func (x *terminal) types(line string) {
	x.t.Helper()
	if _, err := io.WriteString(x.keys, line+"\n"); err != nil {
		x.t.Fatalf("typing %q: %v", line, err)
	}
}

// sees waits until p holds what pattern describes.
func (x *terminal) sees(p *page, pattern string) {
	x.t.Helper()
	want := regexp.MustCompile(pattern)
	late := time.After(time.Minute)
	for {
		text, changed := p.now()
		if want.MatchString(text) {
			return
		}
		select {
		case <-changed:
		case <-late:
			out, _ := x.out.now()
			errs, _ := x.errs.now()
			x.t.Fatalf("waited for %q in vain; out:\n%s\nerrors:\n%s", pattern, out, errs)
		}
	}
}

// exits waits for the end of the program.
func (x *terminal) exits(want int) {
	x.t.Helper()
	select {
	case got := <-x.done:
		if got != want {
			errs, _ := x.errs.now()
			x.t.Errorf("exit code %d, want %d; errors:\n%s", got, want, errs)
		}
	case <-time.After(time.Minute):
		x.t.Fatal("the program does not end")
	}
}

// server is a fake on a real port.
func server(t *testing.T, o clienttest.FakeOptions) (*clienttest.Fake, string) {
	t.Helper()
	fake := clienttest.NewFake(o)
	address, err := fake.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	return fake, address
}

func account(address, name string, more ...string) []string {
	return append([]string{"-addr", address, "-account", name, "-password", "correct horse", "-device", name + "-pc"}, more...)
}

func TestTwoPeopleChat(t *testing.T) {
	tests := []struct {
		name  string
		wire  clienttest.Wire
		flags []string
	}{
		{"tcp", clienttest.TCP, nil},
		{"tcp json", clienttest.TCP, []string{"-codec", "json"}},
		{"websocket", clienttest.WebSocket, []string{"-codec", "protobuf"}},
		{"websocket text", clienttest.WebSocket, []string{"-text"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, address := server(t, clienttest.FakeOptions{Wire: tt.wire})
			bob := start(t, account(address, "bob", append(tt.flags, "-signup")...)...)
			bob.sees(bob.errs, `signed in as bob \(100001\) on bob-pc`)
			alice := start(t, account(address, "alice", append(tt.flags, "-signup", "-to", "bob")...)...)
			alice.sees(alice.errs, `writing to bob`)
			alice.types("hello bob")
			alice.sees(alice.out, `(?m)^✓ hello bob$`)
			bob.sees(bob.out, `(?m)^\d\d:\d\d:\d\d alice: hello bob$`)
			alice.sees(alice.out, `(?m)^✓✓ hello bob$`)
			bob.types("/to 100002")
			bob.types("//not a command")
			alice.sees(alice.out, `bob: /not a command`)
			alice.types("/quit")
			alice.exits(exitOK)
			bob.types("")
			bob.keys.Close()
			bob.exits(exitOK)
		})
	}
}

func TestRewrittenMessage(t *testing.T) {
	_, address := server(t, clienttest.FakeOptions{Rewrite: func(text string) string { return strings.ReplaceAll(text, "damn", "****") }})
	start(t, account(address, "bob", "-signup")...).ready()
	alice := start(t, account(address, "alice", "-signup", "-to", "bob")...)
	alice.types("damn it")
	alice.sees(alice.errs, `changed by a rule: \*\*\*\* it`)
	alice.sees(alice.out, `(?m)^✓ \*\*\*\* it$`)
}

func TestCommands(t *testing.T) {
	_, address := server(t, clienttest.FakeOptions{})
	start(t, account(address, "bob", "-signup")...).ready()
	x := start(t, account(address, "alice", "-signup")...)
	x.sees(x.errs, "signed in as alice")
	steps := []struct {
		line, out, errs string
	}{
		{"/help", "", `/history \[N\]`},
		{"/history", "", `history of what`},
		{"/to", "", `/to needs a name`},
		{"/to nobody", "", `there is no user "nobody"`},
		{"/to bob", "", `writing to bob \(100001\)`},
		{"/history", "", `nothing yet`},
		{"one", `✓ one`, ""},
		{"two", `✓ two`, ""},
		{"/history 1", `(?m)^\S+ alice: two$`, ""},
		{"/history 0", "", `from 1 to 500`},
		{"/history 2", `(?s)alice: one\n\S+ alice: two\n$`, ""},
		{"/devices", `(?m)^alice-pc, this one, signed in`, ""},
		{"/dance", "", `there is no command /dance`},
	}
	for _, step := range steps {
		x.types(step.line)
		if step.out != "" {
			x.sees(x.out, step.out)
		}
		if step.errs != "" {
			x.sees(x.errs, step.errs)
		}
	}
	x.types("/quit")
	x.exits(exitFailed) // it was not always clear to whom to write
}

func (x *terminal) ready() { x.sees(x.errs, "signed in") }

func TestPipedInput(t *testing.T) {
	noShouting := func(r *chatpb.SendRequest) *wirepb.Error {
		if r.Text == strings.ToUpper(r.Text) {
			return &wirepb.Error{Code: idl.CodeRejected, Message: "no shouting"}
		}
		return nil
	}
	tests := []struct {
		name, input string
		code        int
		inbox       []string
		errs        string
	}{
		{"all committed", "one\ntwo\nthree", exitOK, []string{"one", "two", "three"}, ""},
		{"nothing", "", exitOK, nil, ""},
		{"one refused", "one\nTWO\nthree\n", exitFailed, []string{"one", "three"}, "no shouting"},
		{"a command fails", "/history 0\none\n", exitOK, []string{"one"}, "from 1 to 500"},
		{"nobody of that name", "one\n/to nobody\ntwo\n/to alice\nthree\n", exitFailed, []string{"one", "three"}, "to send to (/to NAME or /room NAME): two"},
		{"no name", "/to \none\n", exitFailed, nil, "not sent, nobody to send to"},
		{"no room", "/room\none\n", exitFailed, nil, "not sent, nobody to send to"},
		{"a command misspelt", "/too bob\none\n", exitFailed, nil, "not sent, nobody to send to"},
		{"nobody to send to", "/room lobby\n/leave\none\n/quit\n", exitFailed, nil, "not sent, nobody to send to (/to NAME or /room NAME): one"},
		{"sign out", "one\ntwo\n/signout\nthree\n", exitOK, []string{"one", "two"}, "signed out"},
		{"quit", "one\n/quit\ntwo\n", exitOK, []string{"one"}, ""},
		{"a line too long", strings.Repeat("x", 70_000), exitFailed, nil, "token too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake, address := server(t, clienttest.FakeOptions{Refuse: noShouting})
			out, errs := newPage(), newPage()
			code := run(t.Context(), account(address, "alice", "-signup", "-to", "alice"), strings.NewReader(tt.input), out, errs)
			text, _ := errs.now()
			if code != tt.code || !strings.Contains(text, tt.errs) {
				t.Errorf("exit code %d, want %d; errors:\n%s", code, tt.code, text)
			}
			if got := fake.Inbox("alice"); strings.Join(got, ",") != strings.Join(tt.inbox, ",") {
				t.Errorf("the server has %v, want %v", got, tt.inbox)
			}
		})
	}
}

func TestCannotStart(t *testing.T) {
	fake, address := server(t, clienttest.FakeOptions{})
	gone, nowhere := server(t, clienttest.FakeOptions{})
	gone.Close()
	run(t.Context(), account(address, "taken", "-signup"), strings.NewReader(""), io.Discard, io.Discard)
	const host = "127.0.0.1:1"
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	missing := notPEM + "x"
	if err := os.WriteFile(notPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"help", []string{"-h"}, exitOK, "send from a script"},
		{"no account", nil, exitUsage, "-account is needed"},
		{"unknown flag", []string{"-x"}, exitUsage, "not defined: -x"},
		{"an argument", []string{"-account", "a", "hello"}, exitUsage, `"hello" is not known`},
		{"type", account(address, "a", "-type", "fridge"), exitUsage, "want desktop, tablet, mobile or web"},
		{"codec", account(address, "a", "-codec", "xml"), exitUsage, `"xml" is not known`},
		{"no password", []string{"-account", "a"}, exitFailed, "-password is needed"},
		{"wrong password", append(account(address, "taken"), "-password", "x"), exitFailed, "account name or password is wrong"},
		{"account taken", account(address, "taken", "-signup"), exitFailed, "leave out -signup"},
		{"nobody there", account(nowhere, "a"), exitFailed, "connection refused"},
		{"bad address", account("localhost", "a"), exitFailed, "want tcp://host:port"},
		{"ca of no file", account("tls://"+host, "a", "-ca", missing), exitUsage, "no such file"},
		{"ca of another kind", account("wss://"+host, "a", "-ca", notPEM), exitUsage, "holds no certificate"},
		{"ca without TLS", account(address, "a", "-ca", notPEM), exitUsage, "-ca is for tls:// and wss://"},
		{"text over tcp", account(address, "a", "-text"), exitFailed, "WebSocket address"},
		{"unknown peer", account(address, "taken", "-to", "nobody"), exitFailed, `there is no user "nobody"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			errs := newPage()
			code := run(t.Context(), tt.args, strings.NewReader(""), io.Discard, errs)
			if text, _ := errs.now(); code != tt.code || !strings.Contains(text, tt.want) {
				t.Errorf("exit code %d, want %d with %q; errors:\n%s", code, tt.code, tt.want, text)
			}
		})
	}
	fake.Close()
}

// TestStateFile: a second start needs no password and shows no old message.
func TestStateFile(t *testing.T) {
	_, address := server(t, clienttest.FakeOptions{})
	state := filepath.Join(t.TempDir(), "state")
	start(t, account(address, "bob", "-signup")...).ready()
	send := func(text string) {
		t.Helper()
		args := account(address, "bob", "-to", "alice")
		if code := run(t.Context(), args, strings.NewReader(text), io.Discard, io.Discard); code != exitOK {
			t.Fatalf("bob's exit code %d", code)
		}
	}
	x := start(t, account(address, "alice", "-signup", "-state", state)...)
	x.sees(x.errs, "signed in")
	send("first")
	x.sees(x.out, "bob: first")
	x.types("/quit")
	x.exits(exitOK)
	send("second")

	again := []string{"-addr", address, "-account", "alice", "-device", "alice-pc", "-state", state}
	x = start(t, again...)
	x.sees(x.out, "bob: second")
	if text, _ := x.out.now(); strings.Contains(text, "first") {
		t.Errorf("an old message was shown again:\n%s", text)
	}
	info, err := os.Stat(state + ".token")
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("token file: %v, %v, want mode 0600", info, err)
	}
	x.types("/signout")
	x.sees(x.errs, "signed out")
	x.exits(exitOK)
	if _, err := os.Stat(state + ".token"); !os.IsNotExist(err) {
		t.Errorf("after the sign-out the token file: %v", err)
	}
	x = start(t, again...)
	x.sees(x.errs, "-password is needed")
	x.exits(exitFailed)
}

func TestTokenThatIsNotValidAnyMore(t *testing.T) {
	_, address := server(t, clienttest.FakeOptions{})
	state := filepath.Join(t.TempDir(), "state")
	quick := func(args ...string) (int, string) {
		errs := newPage()
		code := run(t.Context(), args, strings.NewReader(""), io.Discard, errs)
		text, _ := errs.now()
		return code, text
	}
	if code, text := quick(account(address, "alice", "-signup", "-state", state)...); code != exitOK {
		t.Fatal(text)
	}
	b, err := os.ReadFile(state + ".token")
	if err != nil {
		t.Fatal(err)
	}
	b = []byte(strings.Replace(string(b), "token-1", "token-9", 1))
	if err := os.WriteFile(state+".token", b, 0o600); err != nil {
		t.Fatal(err)
	}
	code, text := quick("-addr", address, "-account", "alice", "-device", "alice-pc", "-state", state)
	if code != exitFailed || !strings.Contains(text, "give -password") {
		t.Errorf("exit code %d; errors:\n%s", code, text)
	}
	if code, text := quick(account(address, "alice", "-state", state)...); code != exitOK {
		t.Errorf("with the password: exit code %d; errors:\n%s", code, text)
	}
}

func TestServerEndsTheSession(t *testing.T) {
	fake, address := server(t, clienttest.FakeOptions{})
	x := start(t, account(address, "alice", "-signup")...)
	x.sees(x.errs, "signed in")
	fake.Quit("alice", &wirepb.Quit{Reason: idl.CloseShutdown, Reconnect: true, Message: "drain"})
	x.sees(x.errs, `not connected: .*drain; trying again in`)
	x.sees(x.errs, `(?s)trying again in.*· connected`)
	fake.Quit("alice", &wirepb.Quit{Reason: idl.CloseKicked})
	x.sees(x.errs, `you signed in on another device of this type`)
	x.exits(exitFailed)

	x = start(t, account(address, "alice")...)
	x.sees(x.errs, "signed in")
	fake.Quit("alice", &wirepb.Quit{Reason: idl.CloseRemoved, Message: "by a rule"})
	x.sees(x.errs, `the operators of this server ended the session`)
	x.exits(exitFailed)
}

func TestNotices(t *testing.T) {
	fake, address := server(t, clienttest.FakeOptions{})
	x := start(t, account(address, "alice", "-signup")...)
	x.sees(x.errs, "signed in")
	fake.Notify("alice", &wirepb.Notice{Event: "poll.closed", Text: "It is\nover", Data: `{"yes":2}`})
	x.sees(x.errs, `· poll.closed, from the server: It is⏎over`)
	fake.Notify("alice", &wirepb.Notice{Event: "poll.closed", Data: `{"yes":2}`})
	x.sees(x.errs, `· poll.closed, from the server: {"yes":2}`)
}

// TestTwoTerminals: a person's second terminal ends the first, which says how to
// have both; with a type of its own it does not.
func TestTwoTerminals(t *testing.T) {
	_, address := server(t, clienttest.FakeOptions{OneOfEachType: true})
	alice := []string{"-addr", address, "-account", "alice", "-password", "correct horse"}
	first := start(t, append(alice, "-signup")...)
	first.sees(first.errs, `signed in as alice \(100001\) on terminal;`)
	tablet := start(t, append(alice, "-type", "tablet", "-to", "alice")...)
	tablet.sees(tablet.errs, `signed in as alice \(100001\) on terminal-tablet;`)
	tablet.types("to both")
	tablet.sees(tablet.out, `✓ to both`)
	first.sees(first.out, `you to alice: to both`)
	second := start(t, alice...)
	second.sees(second.errs, `signed in`)
	first.sees(first.errs, `another device of this type.*-type tablet makes a second terminal`)
	first.exits(exitFailed)
}

func TestInterrupt(t *testing.T) {
	_, address := server(t, clienttest.FakeOptions{})
	x := start(t, account(address, "alice", "-signup")...)
	x.sees(x.errs, "signed in")
	x.cancel()
	x.sees(x.errs, "interrupted")
	x.exits(exitFailed)
}

// TestOtherDevice: what one wrote elsewhere is shown with the person it went to.
func TestOtherDevice(t *testing.T) {
	_, address := server(t, clienttest.FakeOptions{})
	start(t, account(address, "bob", "-signup")...).ready()
	x := start(t, account(address, "alice", "-signup")...)
	x.sees(x.errs, "signed in")
	phone := append(account(address, "alice", "-to", "bob"), "-device", "phone")
	if code := run(t.Context(), phone, strings.NewReader("from afar"), io.Discard, io.Discard); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	x.sees(x.out, `you to bob: from afar`)
}

func TestSafeText(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"plain", "Grüße, 世界 😀", "Grüße, 世界 😀"},
		{"a line of its own", "hi\n12:00:00 bank: pay", "hi⏎12:00:00 bank: pay"},
		{"escape", "\x1b[2Jgone", "�[2Jgone"},
		{"carriage return", "x\ry", "x�y"},
		{"tab", "a\tb", "a b"},
		{"right to left", "a\u202eb", "a�b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := safe(tt.text); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

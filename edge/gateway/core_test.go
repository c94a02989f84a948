package gateway_test

import (
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"freeim/edge/gateway"
	"freeim/edge/room"
	"freeim/edge/session"
	"freeim/idl"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Pollers and their pool of idle workers live as long as the process.
		goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*defaultPoll).Wait"),
		goleak.IgnoreAnyFunction("github.com/bytedance/gopkg/util/gopool.(*worker).run.func1"),
	)
}

// core answers in process: Auth binds, JoinRoom enters r_hall, Message echoes its body, GetMessageID is
// never answered.
type core struct {
	hub   *session.Hub
	calls chan called
	done  chan struct{}
	hold  chan struct{} // closed by a test that sent a frame of the action "hold"
	work  sync.WaitGroup

	holding atomic.Bool // the action "hold" is being looked up

	mu   sync.Mutex // guards the fields below
	gone map[session.ID]int
	bind map[session.ID]int
	from string // the address of the last GetMessageID
	most int    // calls that came together
}

// called is a call to be answered, or to be said not to be sent.
type called struct {
	session.Call
	unsent bool
}

func newCore() *core {
	c := &core{
		calls: make(chan called, 1<<16), done: make(chan struct{}), hold: make(chan struct{}),
		gone: make(map[session.ID]int), bind: make(map[session.ID]int),
	}
	c.work.Go(c.run)
	return c
}

func (c *core) run() {
	for {
		select {
		case call := <-c.calls:
			if call.unsent {
				c.hub.Reply(session.Reply{Session: call.Session, Sequence: call.Sequence, Unsent: true})
			} else {
				c.answer(call.Call)
			}
		case <-c.done:
			return
		}
	}
}

func (c *core) answer(call session.Call) {
	r := session.Reply{Session: call.Session, Action: call.Action, Sequence: call.Sequence, Body: call.Body}
	switch call.Action {
	case idl.ActionGetMessageID:
		c.mu.Lock()
		c.from = call.Address
		c.mu.Unlock()
		return
	case idl.ActionAuth:
		c.mu.Lock()
		c.bind[call.Session]++
		c.mu.Unlock()
		r.Bind = &session.Identity{User: int64(call.Session), Device: "d"}
	case idl.ActionJoinRoom:
		r.Enter = &room.Enter{Room: "r_hall"}
	}
	c.hub.Reply(r)
}

func (c *core) Call(call session.Call) { c.calls <- called{call, false} }

// CallTogether answers them in any order, or says of all but the first that they were not
// sent, or takes none.
func (c *core) CallTogether(calls []session.Call) bool {
	c.mu.Lock()
	c.most = max(c.most, len(calls))
	c.mu.Unlock()
	chance := rand.N(8)
	if chance == 0 {
		return false
	}
	all := make([]called, len(calls))
	for i, to := range rand.Perm(len(calls)) {
		all[to] = called{calls[i], chance == 1 && i > 0}
	}
	for _, call := range all {
		c.calls <- call
	}
	return true
}

func (c *core) together() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most
}

func (c *core) Gone(s session.ID, _ session.Identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone[s]++
}

func (c *core) RoomState(room.State) {}

func (c *core) gones(s session.ID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone[s]
}

func (c *core) binds(s session.ID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bind[s]
}

func (c *core) address() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.from
}

func (c *core) Action(a idl.Action) (session.ActionInfo, bool) {
	switch a {
	case idl.ActionAuth:
		return session.ActionInfo{Name: "account.auth", Open: true}, true
	case idl.ActionMessage:
		return session.ActionInfo{Name: "chat.send", Joins: true}, true
	case idl.ActionGetMessageID, idl.ActionJoinRoom:
		return session.ActionInfo{Name: "chat.send"}, true
	}
	return session.ActionInfo{}, false
}

func (c *core) ActionNamed(name string) (idl.Action, bool) {
	switch name {
	case "panic":
		panic("asked for")
	case "hold":
		c.holding.Store(true)
		<-c.hold
	case "account.auth":
		return idl.ActionAuth, true
	case "chat.send":
		return idl.ActionMessage, true
	}
	return 0, false
}

// edge is a gateway with its hub and core, gone at the end of the test with
// everything that it started.
type edge struct {
	*gateway.Gateway
	hub  *session.Hub
	core *core
}

func newEdge(t testing.TB, o gateway.Options, s session.Options) *edge {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	c := newCore()
	s.Core, s.Log = c, log
	hub, err := session.New(s)
	if err != nil {
		t.Fatal(err)
	}
	c.hub = hub
	o.Hub, o.Log = hub, log
	o.TCP, o.HTTP, o.Echo, o.TCPS, o.HTTPS = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	if o.TLS == nil {
		o.TLS = &tls.Config{Certificates: []tls.Certificate{authority.certificate()}}
	}
	g, err := gateway.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	e := &edge{g, hub, c}
	t.Cleanup(e.close)
	return e
}

func (e *edge) close() {
	e.Close()
	e.hub.Close()
	close(e.core.done)
	e.core.work.Wait()
	settle()
}

// settle returns when the pollers have handled what they had fetched before. Under the race detector netpoll
// finds a connection by the number of its descriptor, so the end of one that has been closed meanwhile would
// be taken for that of the next with this number.
func settle() {
	for range runtime.GOMAXPROCS(0)/20 + 1 { // as many pollers as netpoll has by default, in turn
		if err := roundTrip(); err != nil {
			panic(err)
		}
	}
}

// roundTrip has a poller read an octet.
func roundTrip() error {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ends[1])
	c, err := netpoll.NewFDConnection(ends[0])
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := unix.Write(ends[1], []byte{0}); err != nil {
		return err
	}
	return c.Reader().Skip(1)
}

// eventually polls until what is true; the deadline only ends a failed test.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

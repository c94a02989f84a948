package client_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/client"
	"freeim/edge/client/clienttest"
	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// phone is an application on one device: it writes down every message, keeps its
// cursor in store, and sends again what a closed session had given up.
type phone struct {
	t       *testing.T
	name    string // of the account
	options client.Options
	session *client.Session

	mu    sync.Mutex // guards taken
	taken []string
}

// install signs a phone in, past all disturbances.
func install(t *testing.T, fake *clienttest.Fake, f form, account, device string) *phone {
	t.Helper()
	p := &phone{t: t, name: account}
	p.options = client.Options{
		Address: f.wire.Scheme() + "://im.test:1/ws", Codec: f.codec, Text: f.text,
		Dial: fake.Dial, Store: new(client.MemoryStore),
		Handler: client.Handler{Message: p.take},
	}
	c, err := client.Dial(t.Context(), p.options)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SignUp(t.Context(), account, "password", "") // the second device gets ALREADY_EXISTS
	in, err := c.SignIn(t.Context(), account, "password", &accountpb.Device{Id: device, Type: idl.DeviceDesktop})
	if err != nil {
		t.Fatal(err)
	}
	p.options.Token = in.Token
	return p
}

func (p *phone) take(_ context.Context, e *client.Entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = append(p.taken, e.Text)
	return nil
}

func (p *phone) has() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.taken)
}

func (p *phone) on() {
	s, err := client.Open(p.t.Context(), p.options)
	if err != nil {
		p.t.Fatal(err)
	}
	p.session = s
}

func (p *phone) off() { p.session.Close() }

func (p *phone) send(to int64, text string) *client.Pending {
	sent, err := p.session.Send(p.t.Context(), client.Outgoing{To: to, Text: text, ClientID: p.name + "." + text})
	if err != nil {
		p.t.Fatal(err)
	}
	return sent
}

// eventually waits in virtual time until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 3600 {
		synctest.Wait()
		if ok() {
			return
		}
		time.Sleep(time.Second)
	}
	t.Fatalf("after an hour: %s", what)
}

// expectSame fails unless every phone has exactly its inbox: each message once,
// in inbox order.
func expectSame(t *testing.T, fake *clienttest.Fake, phones ...*phone) {
	t.Helper()
	for _, p := range phones {
		eventually(t, p.name+" has not all messages", func() bool { return len(p.has()) >= len(fake.Inbox(p.name)) })
		if got, want := p.has(), fake.Inbox(p.name); !slices.Equal(got, want) {
			t.Errorf("%s has\n%v, the inbox\n%v", p.name, got, want)
		}
	}
}

// user IDs in a Fake, in the order of sign-up
const (
	aliceID = 100001
	bobID   = 100002
)

// fewMessages is a short life of two people; at returns what happens to the nth
// frame of it. It gives the number of frames.
func fewMessages(t *testing.T, f form, at func(n int) clienttest.Disturbance) int {
	var disturbed atomic.Bool
	var n atomic.Int64
	fake := clienttest.NewFake(clienttest.FakeOptions{
		Wire: f.wire, Page: 2,
		Disturb: func(bool, frame.Frame) clienttest.Disturbance {
			if !disturbed.Load() {
				return clienttest.Pass
			}
			return at(int(n.Add(1)))
		},
	})
	defer fake.Close()
	alice, bob := install(t, fake, f, "alice", "a1"), install(t, fake, f, "bob", "b1")
	disturbed.Store(true)
	alice.on()
	var sent []*client.Pending
	for i := range 3 {
		sent = append(sent, alice.send(bobID, fmt.Sprintf("a%d", i)))
	}
	for _, p := range sent {
		if _, err := p.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	bob.on() // was away: sync
	for i := range 2 {
		sent = append(sent, bob.send(aliceID, fmt.Sprintf("b%d", i)))
	}
	for _, p := range sent {
		eventually(t, p.ClientID()+" is not delivered", func() bool { return p.State() == client.Delivered })
	}
	expectSame(t, fake, alice, bob)
	alice.off()
	bob.off()
	return int(n.Load())
}

// TestCutAtEveryStep ends a connection before and after each frame of a life in
// turn: nothing is lost, nothing comes twice, the order stays.
func TestCutAtEveryStep(t *testing.T) {
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			frames := 0
			synctest.Test(t, func(t *testing.T) {
				frames = fewMessages(t, f, func(int) clienttest.Disturbance { return clienttest.Pass })
			})
			if frames < 20 {
				t.Fatalf("only %d frames", frames)
			}
			for cut := range frames {
				for _, how := range []clienttest.Disturbance{clienttest.CutBefore, clienttest.CutAfter} {
					synctest.Test(t, func(t *testing.T) {
						fewMessages(t, f, func(n int) clienttest.Disturbance {
							if n == cut+1 {
								return how
							}
							return clienttest.Pass
						})
					})
					if t.Failed() {
						t.Fatalf("cut at frame %d, %v", cut+1, how)
					}
				}
			}
		})
	}
}

// weather disturbs by chance until it clears up.
type weather struct {
	mu    sync.Mutex
	dice  *rand.Rand
	clear bool
}

func (w *weather) disturb(up bool, f frame.Frame) clienttest.Disturbance {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.clear {
		return clienttest.Pass
	}
	switch n := w.dice.IntN(100); {
	case n < 2:
		return clienttest.CutBefore
	case n < 4:
		return clienttest.CutAfter
	case n < 12 && f.Action != idl.ActionQuit:
		return clienttest.Lose
	case n < 20 && f.Action != idl.ActionQuit:
		return clienttest.Twice
	}
	return clienttest.Pass
}

func (w *weather) set(clear bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clear = clear
}

// TestAnyFaults: whatever is cut, lost or doubled, and however often a program
// is restarted, each device's application sees its inbox, each message once.
func TestAnyFaults(t *testing.T) {
	for seed := range uint64(40) {
		f := forms()[seed%5]
		t.Run(fmt.Sprint(seed, " ", f.name), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { anyFaults(t, f, seed) })
		})
	}
}

func anyFaults(t *testing.T, f form, seed uint64) {
	sky := &weather{dice: rand.New(rand.NewPCG(seed, 7)), clear: true}
	dice := rand.New(rand.NewPCG(seed, 8))
	fake := clienttest.NewFake(clienttest.FakeOptions{Wire: f.wire, Page: 7, Disturb: sky.disturb})
	defer fake.Close()
	alice, bob, tablet := install(t, fake, f, "alice", "a1"), install(t, fake, f, "bob", "b1"), install(t, fake, f, "bob", "b2")
	tablet.options.Queue = 8
	phones := []*phone{alice, bob, tablet}
	for _, p := range phones {
		p.on()
	}
	sky.set(false)
	unsettled := make(map[*client.Pending]func() *client.Pending)
	for i := range 60 {
		p, to := alice, int64(bobID)
		if i%3 > 0 {
			p, to = phones[i%3], aliceID
		}
		send := func() *client.Pending { return p.send(to, fmt.Sprint(i)) }
		unsettled[send()] = send
		if dice.IntN(10) == 0 {
			p := phones[dice.IntN(3)]
			p.off()
			p.on()
		}
		time.Sleep(time.Duration(dice.IntN(500)) * time.Millisecond)
	}
	settleAll(t, unsettled)
	sky.set(true)
	fake.CutAll() // pushes at the end may have been lost with nothing after them
	expectSame(t, fake, phones...)
	if n := len(fake.Inbox("alice")); n != 60 {
		t.Errorf("%d messages are committed, want 60", n)
	}
	for _, p := range phones {
		p.off()
	}
}

// settleAll sends again what was given up, until everything is committed.
func settleAll(t *testing.T, unsettled map[*client.Pending]func() *client.Pending) {
	for len(unsettled) > 0 {
		for p, again := range unsettled {
			_, err := p.Wait(t.Context())
			delete(unsettled, p)
			switch p.State() {
			case client.GivenUp:
				unsettled[again()] = again
			case client.Refused:
				t.Errorf("%s: %v", p.ClientID(), err)
			}
		}
	}
}

// TestEpochUnderWay: the server loses everything; clients hear of it and go on.
func TestEpochUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := clienttest.NewFake(clienttest.FakeOptions{})
		defer fake.Close()
		alice, bob := install(t, fake, forms()[1], "alice", "a1"), install(t, fake, forms()[1], "bob", "b1")
		resets := 0
		bob.options.Handler.Reset = func(_ context.Context, r client.Reset) {
			bob.mu.Lock()
			defer bob.mu.Unlock()
			resets++
			bob.taken = nil
		}
		alice.on()
		bob.on()
		for i := range 5 {
			alice.send(bobID, fmt.Sprint("old ", i))
		}
		expectSame(t, fake, bob)
		fake.Forget()
		fake.CutAll()
		alice.send(bobID, "new")
		eventually(t, "bob has not the new message", func() bool { return slices.Equal(bob.has(), []string{"new"}) })
		if resets != 1 {
			t.Errorf("told of %d resets, want 1", resets)
		}
		alice.off()
		bob.off()
	})
}

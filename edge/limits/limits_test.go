package limits_test

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/limits"
)

var (
	here      = netip.MustParseAddr("203.0.113.7")
	elsewhere = netip.MustParseAddr("203.0.113.8")
)

func guard(t testing.TB, o limits.Options) *limits.Guard {
	t.Helper()
	g, err := limits.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// enter is a connection that must be let in.
func enter(t testing.TB, g *limits.Guard, a netip.Addr) *limits.Peer {
	t.Helper()
	p, ok := g.Connect(a)
	if !ok {
		t.Fatalf("a connection of %v is refused", a)
	}
	return p
}

func TestConnectionsAtOnce(t *testing.T) {
	g := guard(t, limits.Options{Connections: 2})
	first := enter(t, g, here)
	enter(t, g, here)
	if _, ok := g.Connect(here); ok {
		t.Error("a third is let in")
	}
	enter(t, g, elsewhere)
	enter(t, g, netip.MustParseAddr("::ffff:203.0.113.9"))
	first.Leave()
	enter(t, g, here)
	if got := g.Stats().Refused; got != 1 {
		t.Errorf("counted %d refused, want 1", got)
	}
}

// One client of IPv6 has a whole network of 64 bits.
func TestOneAddressOfIPv6(t *testing.T) {
	g := guard(t, limits.Options{Connections: 1})
	enter(t, g, netip.MustParseAddr("2001:db8:0:1::1"))
	if _, ok := g.Connect(netip.MustParseAddr("2001:db8:0:1:ffff::2")); ok {
		t.Error("another address of the same network is let in")
	}
	enter(t, g, netip.MustParseAddr("2001:db8:0:2::1"))
}

func TestConnectsASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, limits.Options{Connects: 10})
		for range 50 { // five seconds' worth
			enter(t, g, here).Leave()
		}
		if _, ok := g.Connect(here); ok {
			t.Error("one more is let in")
		}
		time.Sleep(time.Second)
		for range 10 {
			enter(t, g, here).Leave()
		}
		if _, ok := g.Connect(here); ok {
			t.Error("an eleventh in this second is let in")
		}
	})
}

func TestExemptAndUnlimited(t *testing.T) {
	g := guard(t, limits.Options{Connections: 1, Frames: 1, Ban: time.Hour, Exempt: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
	for range 10 {
		p := enter(t, g, here)
		for range 100 {
			if w := p.Take(1 << 20); w > 0 {
				t.Fatalf("must wait %v", w)
			}
		}
		p.AuthFailed()
		p.Offend("flood")
		if w := p.MayAuth(); w > 0 {
			t.Fatalf("must wait %v", w)
		}
	}
	if len(g.Bans()) > 0 {
		t.Error("an exempt address is banned")
	}
	var none *limits.Guard
	if p, ok := none.Connect(here); p != nil || !ok || none.Bans() != nil || none.Unban(here) {
		t.Error("a nil guard limits")
	}
}

// Frames and octets count over all connections, and what is refused costs nothing.
func TestFramesAndOctets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, limits.Options{Frames: 10, Octets: 100_000})
		a, b := enter(t, g, here), enter(t, g, here)
		for range 25 {
			if a.Take(1) > 0 || b.Take(1) > 0 {
				t.Fatal("refused too early")
			}
		}
		if w := a.Take(1); w != 100*time.Millisecond {
			t.Errorf("got a wait of %v, want 100ms", w)
		}
		time.Sleep(100 * time.Millisecond)
		if w := b.Take(1); w > 0 {
			t.Errorf("must wait %v longer than was said", w)
		}
		time.Sleep(10 * time.Second)
		for range 7 {
			if w := a.Take(70_000); w > 0 {
				t.Fatalf("must wait %v", w)
			}
		}
		w := a.Take(70_000)
		if w <= 0 || w > time.Second {
			t.Fatalf("got a wait of %v for the octets", w)
		}
		for range 42 { // the refused frame has cost none of the 50
			if w := a.Take(0); w > 0 {
				t.Fatalf("must wait %v", w)
			}
		}
		if got := g.Stats().Limited; got != 2 {
			t.Errorf("counted %d, want 2", got)
		}
	})
}

// A frame passes however low the rate is.
func TestALongFramePasses(t *testing.T) {
	g := guard(t, limits.Options{Octets: 10})
	if w := enter(t, g, here).Take(70_000); w > 0 {
		t.Errorf("must wait %v", w)
	}
}

// What was used is remembered when a client comes again.
func TestConnectingAgainChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, limits.Options{Frames: 1})
		p := enter(t, g, here)
		for range 5 {
			p.Take(1)
		}
		p.Leave()
		if p := enter(t, g, here); p.Take(1) == 0 {
			t.Error("a new connection has a new account")
		}
	})
}

func TestUsers(t *testing.T) {
	g := guard(t, limits.Options{UserSessions: 1, UserFrames: 1})
	p, ok := g.User(7)
	if !ok {
		t.Fatal("the first session is refused")
	}
	if _, ok := g.User(7); ok {
		t.Error("the second is let in")
	}
	if _, ok := g.User(8); !ok {
		t.Error("another's is refused")
	}
	for range 5 {
		p.Take(1)
	}
	if p.Take(1) == 0 {
		t.Error("frames without a bound")
	}
	p.Leave()
	if _, ok := g.User(7); !ok {
		t.Error("refused after the first has left")
	}
}

func TestFailedSignIns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, limits.Options{AuthFailures: 10})
		p := enter(t, g, here)
		for range 10 {
			p.AuthFailed()
			if w := p.MayAuth(); w > 0 {
				t.Fatalf("must wait %v after ten at most", w)
			}
		}
		for want := 6 * time.Second; want < 15*time.Minute; want *= 2 {
			p.AuthFailed()
			if got := p.MayAuth(); got != want {
				t.Fatalf("got a pause of %v, want %v", got, want)
			}
			time.Sleep(want)
			if got := p.MayAuth(); got != 0 {
				t.Fatalf("%v are left of it", got)
			}
		}
		p.AuthFailed()
		if got := p.MayAuth(); got != 15*time.Minute {
			t.Fatalf("got a pause of %v, want the longest", got)
		}
		if got := enter(t, g, elsewhere).MayAuth(); got != 0 {
			t.Errorf("another address must wait %v", got)
		}
		p.Leave()
		if got := enter(t, g, here).MayAuth(); got == 0 {
			t.Error("a new connection need not wait")
		}
		time.Sleep(31 * time.Minute)
		p = enter(t, g, here)
		for range 10 {
			p.AuthFailed()
		}
		if w := p.MayAuth(); w > 0 {
			t.Errorf("not forgotten: must wait %v", w)
		}
	})
}

func TestBans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, limits.Options{Ban: 10 * time.Second, BanMax: time.Minute})
		p := enter(t, g, here)
		for i, want := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
			p.Offend("flood")
			p.Offend("flood") // a second connection of it, closed just after
			list := g.Bans()
			if len(list) != 1 || list[0].Times != i+1 || time.Until(list[0].Until) != want || list[0].Address.String() != "203.0.113.7/32" {
				t.Fatalf("got %+v, want ban %d of %v", list, i+1, want)
			}
			if _, ok := g.Connect(here); ok {
				t.Fatal("let in while banned")
			}
			enter(t, g, elsewhere)
			time.Sleep(want)
			enter(t, g, here)
		}
		time.Sleep(11 * time.Minute)
		p.Offend("flood")
		if list := g.Bans(); len(list) != 1 || list[0].Times != 1 {
			t.Fatalf("got %+v, want the earlier ones forgotten", list)
		}
		if !g.Unban(here) || g.Unban(here) || len(g.Bans()) > 0 {
			t.Error("not lifted once")
		}
		enter(t, g, here)
		enter(t, g, netip.MustParseAddr("2001:db8:0:1::1")).Offend("flood")
		if _, ok := g.Connect(netip.MustParseAddr("2001:db8:0:1::2")); ok {
			t.Error("its neighbour in the network is let in")
		}
		if got := g.Stats(); got.Banned != 6 || got.Bans != 1 {
			t.Errorf("got %+v", got)
		}
	})
}

// Whoever connects anew goes on where he was; the more connections an address has,
// the more is borne of it; and what passes, or a minute's calm, makes good.
func TestRefusalsOverConnections(t *testing.T) {
	const patience = 10
	refuse := func(t *testing.T, p *limits.Peer, n int) {
		t.Helper()
		for range n {
			if p.Refused(patience) {
				t.Fatal("out of patience too early")
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, limits.Options{Frames: 1})
		for range 5 {
			p := enter(t, g, here)
			refuse(t, p, 2)
			p.Leave()
		}
		p := enter(t, g, here)
		if !p.Refused(patience) {
			t.Error("connecting anew begins anew")
		}
		refuse(t, p, patience) // counted anew after it
		for range 5 {
			p.Passed()
		}
		refuse(t, p, 5)
		other := enter(t, g, here) // 20 for two
		refuse(t, other, patience)
		if !p.Refused(patience) {
			t.Error("nothing is held against two connections")
		}
		refuse(t, p, 2*patience)
		time.Sleep(time.Minute)
		refuse(t, p, 2*patience)
		for range 100 {
			if p.Refused(0) {
				t.Fatal("patience without end has one")
			}
		}
		p.Leave()
		other.Leave()
		time.Sleep(time.Minute)
		enter(t, g, elsewhere).Leave()
		var nobody *limits.Peer
		nobody.Passed()
		if nobody.Refused(1) {
			t.Error("an address without limits is held to some")
		}
	})
}

// Whatever comes, the tables stay within their bounds.
func TestTablesAreBounded(t *testing.T) {
	g := guard(t, limits.Options{Frames: 1, Ban: time.Hour})
	for i := range uint32(1 << 18) {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], i)
		a := netip.AddrFrom4(b)
		p := enter(t, g, a)
		p.Take(1) // owes something, so it would be remembered
		if i%2 == 0 {
			p.Offend("flood")
		}
		p.Leave()
	}
	if got := len(g.Bans()); got > 1<<16 || g.Stats().Bans != int64(got) {
		t.Errorf("%d bans, counted %d", got, g.Stats().Bans)
	}
	if got := limits.Remembered(g); got > 1<<16 {
		t.Errorf("%d addresses without a connection", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	g := guard(t, limits.Options{Connections: 1 << 20, Frames: 1000, Octets: 1 << 20, Ban: time.Second, UserFrames: 10})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 2000 {
				a := netip.AddrFrom4([4]byte{10, 0, byte(j % 7), byte(i % 2)})
				p, _ := g.Connect(a)
				u, _ := g.User(int64(j % 5))
				p.Take(100)
				u.Take(100)
				p.AuthFailed()
				if j%100 == 0 {
					p.Offend("flood")
					g.Bans()
				}
				p.Leave()
				u.Leave()
			}
		})
	}
	all.Wait()
}

func TestTakeAllocatesNothing(t *testing.T) {
	g := guard(t, limits.Options{Frames: 1 << 30, Octets: 1 << 40})
	p := enter(t, g, here)
	if n := testing.AllocsPerRun(1000, func() { p.Take(100) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	g := guard(b, limits.Options{Frames: 1 << 30, Octets: 1 << 40})
	p := enter(b, g, here)
	b.ReportAllocs()
	for b.Loop() {
		p.Take(100)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []limits.Options{{Frames: -1}, {Ban: -1}} {
		if _, err := limits.New(o); err == nil {
			t.Errorf("%+v: got no error", o)
		}
	}
}

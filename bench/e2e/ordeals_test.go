package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/core/engines"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
)

// fault is something that happens to an installation while people talk.
type fault struct {
	name string
	run  func(o *ordeal)
}

// TestFaults lets everything that production is made of be killed, frozen,
// emptied, cut off and replaced in turn, under load: reliability figures 1-5, 11.
func TestFaults(t *testing.T) {
	beside(t)
	ctx, cancel := lasting(t)
	t.Cleanup(cancel) // behind what runs beside others
	sites := make(chan *ordeal, times(2, 1))
	for range cap(sites) {
		sites <- begin(ctx, t, false)
	}
	for _, f := range []fault{
		{"core killed", func(o *ordeal) { o.kills(o.Cores, func(_ int, kill func()) { kill() }) }},
		{"edge killed", edgeKilled},
		{"database killed", databaseKilled},
		{"database frozen", databaseFrozen},
		{"database read-only", databaseReadOnly},
		{"every core gone", coresGone},
		{"redis killed", redisKilled},
		{"redis emptied", redisEmptied},
		{"edge paused", func(o *ordeal) { o.pauses(o.Edges) }},
		{"core paused", func(o *ordeal) { o.pauses(o.Cores) }},
		{"bad weather", badWeather},
		{"partitions", partitions},
		{"across edges", acrossEdges},
		{"every core replaced", coresReplaced},
		{"edges drained", edgesDrained},
	} {
		t.Run(f.name, func(t *testing.T) {
			beside(t)
			o := <-sites
			defer func() { sites <- o }()
			if ctx.Err() != nil {
				t.Fatal("no time is left")
			}
			o.suffer(t, f.run)
		})
	}
}

// kills kills each of the processes in turn, and starts it again; around is called
// with what does that. A full run acknowledges 5,000 messages from one kill to the
// next: a million in all.
func (o *ordeal) kills(all []*cluster.Process, around func(at int, kill func())) {
	for i := range times(2, 200) {
		o.progress(int64(times(50, 4900)) + rand.Int64N(100))
		p := all[i%len(all)]
		around(i%len(all), func() {
			start := time.Now()
			o.do(p.Kill())
			o.back(p.Name+" was killed", 5*time.Second)
			o.do(p.Start(o.ctx))
			if gap := o.people.gap(start, time.Now()); full() && gap > 5*time.Second {
				o.t.Errorf("nothing was acknowledged for %v while %s was away, want 5 s at most", gap, p.Name)
			}
		})
	}
	o.progress(100)
}

// edgeKilled: whoever is on the other edge is served on; 95 of 100 sends are
// answered within half a second.
func edgeKilled(o *ordeal) {
	owner, err := signUp(o.ctx, o.at(0), "bystander")
	o.do(err)
	token, err := signIn(o.ctx, o.at(0), "bystander", "probe", idl.DeviceTablet)
	o.do(err)
	var took []time.Duration
	sent := 0
	o.kills(o.Edges, func(at int, kill func()) {
		conn, err := client.Dial(o.ctx, o.at(1-at))
		o.do(err)
		_, err = conn.Auth(o.ctx, token)
		o.do(err)
		p := &probe{Client: conn, to: owner.id, n: sent}
		answers := p.sendUntil(o.ctx, kill)
		sent = p.n
		o.do(conn.Close())
		for _, a := range answers {
			o.do(a.err)
			took = append(took, a.took)
		}
	})
	slices.Sort(took)
	p95 := took[len(took)*95/100]
	o.t.Logf("%d sends on the other edge meanwhile: median %v, p95 %v, slowest %v", len(took), took[len(took)/2], p95, took[len(took)-1])
	if full() && p95 > 500*time.Millisecond {
		o.t.Errorf("p95 of sends on the other edge is %v, want 500 ms at most", p95)
	}
}

// databaseKilled: nothing is acknowledged, and whoever sends is told to come back.
func databaseKilled(o *ordeal) {
	probe := o.probe("mourner")
	for range times(2, 50) {
		o.progress(50 + rand.Int64N(100))
		answers := probe.sendUntil(o.ctx, func() {
			o.do(o.mariadb.Kill())
			o.quiet("MariaDB was killed", 500*time.Millisecond)
			o.do(probe.await(o.ctx, 1))
			o.health(o.Cores, false, "directory: ")
			o.health(o.Edges, true, "")
			o.do(o.mariadb.Restart(o.ctx))
			o.back("MariaDB was there again", 5*time.Second)
		})
		o.health(o.Cores, true, "")
		codes := o.told("the killed database", answers)
		if n := codes[idl.CodeDeadlineExceeded]; n > 0 {
			o.t.Errorf("%d sends to the killed database were told DEADLINE_EXCEEDED, want UNAVAILABLE", n)
		}
		o.allRun()
	}
}

// quiet lets time pass in which nothing may be acknowledged, but for what was
// committed already.
func (o *ordeal) quiet(because string, d time.Duration) {
	o.t.Helper()
	settle := time.After(d / 4)
	<-settle
	before := o.people.acked.Load()
	<-time.After(d - d/4)
	if n := o.people.acked.Load() - before; n > 0 {
		o.t.Errorf("%d messages were acknowledged while %s", n, because)
	}
}

// databaseFrozen: nothing is acknowledged, whoever sends is told to come back, and
// all goes on when the database does.
func databaseFrozen(o *ordeal) {
	probe := o.probe("prober")
	o.do(probe.send(o.ctx))
	for range times(1, 20) {
		o.progress(100)
		o.do(o.mariadb.Pause())
		answers := probe.sendUntil(o.ctx, func() {
			o.quiet("MariaDB was frozen", time.Duration(times(11, 30))*time.Second)
			o.health(o.Cores, false, "")
			o.do(o.mariadb.Resume())
			o.back("MariaDB went on", 5*time.Second)
		})
		o.health(o.Cores, true, "")
		codes := o.told("the frozen database", answers)
		if n := codes[idl.CodeDeadlineExceeded]; n > 0 {
			o.t.Errorf("%d sends to the frozen database were told DEADLINE_EXCEEDED, want UNAVAILABLE", n)
		}
		if full() && codes[idl.CodeUnavailable] == 0 {
			o.t.Errorf("no send to the frozen database was refused with UNAVAILABLE")
		}
		o.allRun()
	}
}

// databaseReadOnly: it refuses what the cores write, as a replica does.
func databaseReadOnly(o *ordeal) {
	probe := o.probe("replica")
	for range times(1, 20) {
		o.progress(100)
		answers := probe.sendUntil(o.ctx, func() {
			o.do(o.mariadb.ReadOnly(o.ctx, true))
			o.quiet("MariaDB was read-only", time.Second)
			o.do(probe.await(o.ctx, 1))
			o.do(o.mariadb.ReadOnly(o.ctx, false))
			o.back("MariaDB took writes", 5*time.Second)
		})
		o.told("the read-only database", answers)
		o.allRun()
	}
}

// coresGone: an edge without any core says so, to load balancers too, and is there for
// clients again by itself.
func coresGone(o *ordeal) {
	for range times(1, 20) {
		o.progress(50)
		for _, core := range o.Cores {
			o.do(core.Kill())
		}
		o.health(o.Edges, false, "no core is reached")
		o.balanced(http.StatusServiceUnavailable)
		for _, core := range o.Cores {
			o.do(core.Start(o.ctx))
		}
		o.back("the cores were there again", 5*time.Second)
		o.health(o.Edges, true, "")
		o.balanced(http.StatusOK)
	}
}

// balanced holds what each edge tells load balancers on the port of its clients.
func (o *ordeal) balanced(want int) {
	o.t.Helper()
	for _, edge := range o.Edges {
		rep, err := http.Get("http://" + edge.HTTP + "/healthz")
		o.do(err)
		o.do(rep.Body.Close())
		if rep.StatusCode != want {
			o.t.Errorf("%s tells load balancers %d, want %d", edge.Name, rep.StatusCode, want)
		}
	}
}

func redisKilled(o *ordeal) {
	for range times(2, 30) {
		o.progress(50 + rand.Int64N(100))
		o.do(o.redis.Kill())
		o.back("Redis was killed", 5*time.Second)
		o.health(o.Cores, true, "presence:degraded")
		o.do(o.redis.Restart(o.ctx))
		o.back("Redis was there again", 5*time.Second)
		o.routable()
		o.health(o.Cores, true, "presence:ok")
	}
}

func redisEmptied(o *ordeal) {
	for range times(2, 20) {
		o.progress(50 + rand.Int64N(100))
		o.do(o.redis.RestartEmpty(o.ctx))
		o.back("Redis was emptied", 5*time.Second)
		o.routable()
	}
}

// pauses freezes each process for as long as the others need to give it up, and
// lets it go on. Devices that moved to another edge stay there.
func (o *ordeal) pauses(all []*cluster.Process) {
	for range times(1, 5) {
		for _, p := range all {
			o.progress(50)
			o.do(p.Pause())
			o.back(p.Name+" was paused", 30*time.Second)
			<-time.After(time.Duration(times(2, 30)) * time.Second)
			o.do(p.Resume())
			o.back(p.Name+" went on", 5*time.Second)
			o.do(p.AwaitReady(o.ctx))
		}
	}
}

// acrossEdges: pushes, kicks and the policy of devices reach the other edge.
func acrossEdges(o *ordeal) {
	for round := range times(1, 50) {
		name := fmt.Sprint("roamer", round)
		owner, err := signUp(o.ctx, o.at(0), name)
		o.do(err)
		desk := o.attend(0, name, "desk", idl.DeviceDesktop)
		phone := o.attend(1, name, "phone", idl.DeviceMobile)
		web := o.attend(1, name, "web", idl.DeviceWeb)
		_, err = web.Send(o.ctx, &chatpb.SendRequest{ClientId: "note", ToUserId: owner.id, Text: "to all my devices"})
		o.do(err, desk.pushed(o.ctx, "to all my devices"), phone.pushed(o.ctx, "to all my devices"))

		newer := o.attend(0, name, "phone2", idl.DeviceMobile) // on the other edge than the first phone
		o.do(phone.ended(o.ctx, idl.CloseKicked))
		again, err := client.Dial(o.ctx, o.at(0))
		o.do(err)
		if _, err := again.Auth(o.ctx, phone.token); client.CodeOf(err) != idl.CodeUnauthenticated {
			o.t.Errorf("a kicked phone came back on another edge: %v", err)
		}
		o.do(again.Close())

		moved, err := client.Dial(o.ctx, o.at(1)) // the same device, now on the other edge
		o.do(err)
		_, err = moved.Auth(o.ctx, desk.token)
		o.do(err, desk.ended(o.ctx, idl.CloseReplaced))

		_, err = web.SignOut(o.ctx, &accountpb.SignOutRequest{Scope: accountpb.SignOutScope_SIGN_OUT_SCOPE_OTHERS})
		o.do(err, newer.ended(o.ctx, idl.CloseSignedOut), moved.Close(), web.Close())
	}
}

// lines are all connections between two kinds of ends.
func (o *ordeal) lines() map[string][]*cluster.Proxy {
	return map[string][]*cluster.Proxy{
		"clients and edges":  o.Fronts,
		"edges and cores":    o.Links,
		"cores and database": {o.database},
		"cores and Redis":    {o.cache},
	}
}

// badWeather is slow and lossy lines everywhere.
func badWeather(o *ordeal) {
	weather := cluster.Weather{Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.1}
	for _, line := range o.lines() {
		for _, p := range line {
			p.Set(weather)
		}
	}
	o.progress(int64(times(50, 2000)))
	for _, line := range o.lines() {
		for _, p := range line {
			p.Set(cluster.Weather{Rate: 64 << 10})
		}
	}
	o.progress(int64(times(50, 2000)))
	for _, line := range o.lines() {
		for _, p := range line {
			p.Set(cluster.Weather{})
		}
	}
}

// partitions makes each line in turn dark, then resets what goes through it.
func partitions(o *ordeal) {
	for range times(1, 20) {
		for name, line := range o.lines() {
			o.progress(50)
			for _, p := range line {
				p.Set(cluster.Weather{Black: true})
			}
			<-time.After(time.Duration(times(2, 15)) * time.Second)
			for _, p := range line {
				p.Set(cluster.Weather{})
			}
			o.back("it was dark between "+name, 10*time.Second)
			for range times(2, 5) {
				for _, p := range line {
					p.Cut()
				}
				o.back("lines were cut between "+name, 10*time.Second)
			}
		}
	}
}

// coresReplaced drains and starts every core in turn, again and again: no client
// loses its connection, and every ack comes.
func coresReplaced(o *ordeal) {
	lost := o.people.countDisconnects()
	var slowest time.Duration
	for range times(1, 20) {
		for _, core := range o.Cores {
			o.progress(50)
			start := time.Now()
			o.do(core.Stop(o.ctx))
			slowest = max(slowest, time.Since(start))
			o.do(core.Start(o.ctx))
			o.progress(50)
		}
	}
	if n := lost(); n > 0 {
		o.t.Errorf("%d connections were lost while the cores were replaced", n)
	}
	o.t.Logf("the slowest core took %v to drain", slowest.Round(time.Millisecond))
}

// edgesDrained ends each edge in turn with SIGTERM: it tells its clients to go,
// and they go to the other one.
func edgesDrained(o *ordeal) {
	reasons := o.people.countReasons()
	o.people.away.begin()
	for range times(1, 20) {
		for _, edge := range o.Edges {
			o.progress(50)
			start := time.Now()
			o.do(edge.Stop(o.ctx))
			took := time.Since(start)
			o.t.Logf("%s ended %v after SIGTERM", edge.Name, took.Round(time.Millisecond))
			if took > 30*time.Second {
				o.t.Errorf("%s took %v to end", edge.Name, took)
			}
			o.back(edge.Name+" was drained", 3*time.Second)
			o.do(edge.Start(o.ctx))
		}
	}
	o.progress(50)
	o.people.away.judge(o.t)
	if got := reasons(); len(got) == 0 || slices.ContainsFunc(got, func(r idl.CloseReason) bool { return r != idl.CloseShutdown }) {
		o.t.Errorf("clients were sent away with %v, want %v only", got, idl.CloseShutdown)
	}
}

// TestRedisFailover: the primary is killed, and a replica takes its place.
func TestRedisFailover(t *testing.T) {
	beside(t)
	ctx, cancel := lasting(t)
	defer cancel()
	o := begin(ctx, t, true)
	o.suffer(t, func(o *ordeal) {
		for range times(1, 20) {
			o.failsOver(func() {})
		}
	})
}

// failsOver kills the primary of Redis, and waits until its replica has taken its place and all
// is well; meanwhile happens in between.
func (o *ordeal) failsOver(meanwhile func()) {
	primary, replica := o.sentinel.Primary, o.sentinel.Replica
	if addr, err := o.sentinel.PrimaryAddr(o.ctx); err == nil && addr == replica.Addr() {
		primary, replica = replica, primary
	}
	o.progress(100)
	o.do(primary.Kill())
	o.back("the primary was killed", 5*time.Second)
	meanwhile()
	o.do(until(o.ctx, func() (bool, error) {
		addr, err := o.sentinel.PrimaryAddr(o.ctx)
		return err == nil && addr == replica.Addr(), nil
	}))
	o.back("the replica took its place", 10*time.Second)
	o.do(primary.Restart(o.ctx))
	o.routable()
}

// TestCoreRestartsInFailover: while Redis has no primary a core is killed and started, so its edges list
// their sessions to a registry that does not answer.
func TestCoreRestartsInFailover(t *testing.T) {
	beside(t)
	ctx, cancel := lasting(t)
	defer cancel()
	o := begin(ctx, t, true)
	o.suffer(t, func(o *ordeal) {
		for i := range times(1, 20) {
			core := o.Cores[i%len(o.Cores)]
			o.failsOver(func() {
				o.do(core.Kill())
				o.back(core.Name+" was killed", 5*time.Second)
				o.do(core.Start(o.ctx))
				o.back(core.Name+" was there again", 5*time.Second)
			})
		}
	})
}

// TestEtcdFaults: without etcd the edges keep their links, and a core that comes at another address meanwhile is
// found when etcd is back.
func TestEtcdFaults(t *testing.T) {
	beside(t)
	ctx, cancel := lasting(t)
	defer cancel()
	etcd := engines.Etcd(t)
	o := beginWith(ctx, t, engines.MariaDB(t), false, func(s *cluster.SiteOptions) {
		s.Etcd, s.EdgeEnv = etcd.Addr(), append(s.EdgeEnv, "FREEIM_EDGE_LOOKUP=1s")
	})
	o.suffer(t, func(o *ordeal) {
		o.linked(2)
		for i := range times(1, 20) {
			o.progress(50)
			lost := o.people.countDisconnects()
			o.do(etcd.Kill())
			o.back("etcd was killed", time.Second)
			o.progress(100)
			if n := lost(); n > 0 {
				o.t.Errorf("%d clients lost their connection when etcd was killed", n)
			}
			o.linked(2)
			core := o.Cores[i%len(o.Cores)]
			o.do(core.Stop(o.ctx), core.Move(), core.Start(o.ctx))
			o.back(core.Name+" went elsewhere", 5*time.Second)
			o.linked(1) // nobody can know where it is
			o.do(etcd.Restart(o.ctx))
			o.linked(2)
			o.back("etcd was there again", time.Second)
		}
	})
}

// linked waits until each edge has links to so many cores.
func (o *ordeal) linked(cores float64) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.ctx, time.Minute)
	defer cancel()
	for _, edge := range o.Edges {
		var last float64
		err := until(ctx, func() (bool, error) {
			last = o.sum(ctx, []*cluster.Process{edge}, "freeim_link_up")
			return last == cores, nil
		})
		if err != nil {
			o.t.Fatalf("%s has links to %v cores, want %v: %v", edge.Name, last, cores, err)
		}
	}
}

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/core/engines"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// ordeal is a whole installation with people who talk across its edges: two edges
// and two cores as processes, on engines of their own, with a Proxy before each of
// them. Faults happen to it one after the other; after each the books are audited.
type ordeal struct {
	*site
	ctx      context.Context
	mariadb  *engines.MariaDBServer
	database *cluster.Proxy // between the cores and MariaDB
	redis    *engines.RedisServer
	cache    *cluster.Proxy         // between the cores and Redis
	sentinel *engines.SentinelGroup // instead of redis and cache, or nil
	people   *crowd
	ledger   *ledger
}

// begin starts an ordeal that ends with the test.
func begin(ctx context.Context, t *testing.T, watched bool) *ordeal {
	return beginOn(ctx, t, engines.MariaDB(t), watched)
}

// beginOn is begin on a MariaDB of the caller's. The cores have no more rights
// than they need: an account with all of them may write to a replica.
func beginOn(ctx context.Context, t *testing.T, mariadb *engines.MariaDBServer, watched bool) *ordeal {
	return beginWith(ctx, t, mariadb, watched, func(*cluster.SiteOptions) {})
}

// beginWith is beginOn at a site that is changed.
func beginWith(ctx context.Context, t *testing.T, mariadb *engines.MariaDBServer, watched bool, change func(*cluster.SiteOptions)) *ordeal {
	o := &ordeal{ctx: ctx, mariadb: mariadb, ledger: newLedger(t)}
	options := cluster.SiteOptions{Edges: 2, Cores: 2, Weather: true, CoreEnv: o.ledger.env(t)}
	change(&options)
	if watched {
		o.sentinel = engines.Sentinel(t)
		options.Redis, options.RedisMaster = o.sentinel.Addrs(), o.sentinel.Name
	} else {
		o.redis = engines.Redis(t)
		o.cache = between(t, o.redis.Addr())
		options.Redis = []string{o.cache.Addr()}
	}
	_, err := o.mariadb.CreateDatabase(ctx, "freeim")
	if err != nil {
		t.Fatal(err)
	}
	dsn, err := o.mariadb.CreateAccount(ctx, "core", "freeim")
	if err != nil {
		t.Fatal(err)
	}
	o.database = between(t, o.mariadb.Addr())
	options.MySQL = strings.Replace(dsn, o.mariadb.Addr(), o.database.Addr(), 1)
	o.site = startSite(t, options)
	o.people = gatherNamed(t, "p", times(3, 16), 2, o.ways()...) // a full run has to get to a million messages
	t.Cleanup(o.people.leave)
	return o
}

func between(t *testing.T, target string) *cluster.Proxy {
	p, err := cluster.NewProxy(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// suffer lets one fault happen while everybody talks, then audits everything
// since the ordeal began: also what webhooks told.
func (o *ordeal) suffer(t *testing.T, fault func(*ordeal)) {
	o.t, o.people.t = t, t
	o.people.keepBooks(t)
	before, start := o.people.acked.Load(), time.Now()
	o.people.talkWhile(o.ctx, func() { fault(o) })
	end := time.Now()
	report := o.people.audit(o.ctx)
	o.ledger.audit(o.ctx, t, o.people)
	o.allRun()
	o.routable()
	t.Logf("%d messages acknowledged in this fault in %v, never later than %v after another; in all: %v",
		o.people.acked.Load()-before, end.Sub(start).Round(time.Second), o.people.gap(start, end).Round(time.Millisecond), report)
}

// do fails the test on an error of what a fault is made with.
func (o *ordeal) do(errs ...error) {
	o.t.Helper()
	if err := errors.Join(errs...); err != nil {
		o.t.Fatal(err)
	}
}

// progress waits until n more messages are acknowledged, and gives how long the
// first took. In bad weather many take their time, but none takes a minute.
func (o *ordeal) progress(n int64) (first time.Duration) {
	o.t.Helper()
	start, had := time.Now(), o.people.acked.Load()
	for got := int64(0); got < n; got = o.people.acked.Load() - had {
		ctx, cancel := context.WithTimeout(o.ctx, time.Minute)
		err := until(ctx, func() (bool, error) { return o.people.acked.Load() > had+got, nil })
		cancel()
		if err != nil {
			o.t.Fatalf("no message is acknowledged for a minute, after %d, want %d", got, n)
		}
		if got == 0 {
			first = time.Since(start)
		}
	}
	return first
}

// back waits for messages to be acknowledged again, and holds the time to limit
// in a full run: a machine that is shared with other tests has its own.
func (o *ordeal) back(after string, limit time.Duration) {
	o.t.Helper()
	took := o.progress(50)
	o.t.Logf("acknowledged again %v after %s", took.Round(time.Millisecond), after)
	if full() && took > limit {
		o.t.Errorf("acknowledged again %v after %s, want %v at most", took, after, limit)
	}
}

// health waits until each of these processes says that it is ready, or is not, and its parts
// say that. Meanwhile all say that they are alive: a restart would mend nothing.
func (o *ordeal) health(of []*cluster.Process, ready bool, parts string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.ctx, time.Minute)
	defer cancel()
	for _, p := range of {
		var last cluster.Health
		err := until(ctx, func() (_ bool, err error) {
			if last, err = p.Health(ctx); err == nil && !last.Alive && full() { // a busy machine may answer late
				err = errors.New("not alive")
			}
			return last.Alive && last.Ready == ready && strings.Contains(fmt.Sprint(last.Parts), parts), err
		})
		if err != nil {
			o.t.Errorf("%s says %+v, want ready=%v with %q: %v", p.Name, last, ready, parts, err)
		}
	}
}

// routable waits for a census of each edge that ends from now on, by which no session
// is connected and has no route: within ten seconds, in a full run.
func (o *ordeal) routable() {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.ctx, time.Minute)
	defer cancel()
	start := time.Now()
	each, answered := o.censuses(ctx)
	var last float64
	err := until(ctx, func() (bool, error) {
		now, all := o.censuses(ctx)
		for i := range now {
			if now[i] <= each[i] {
				return false, nil
			}
		}
		last = o.sum(ctx, o.Cores, "freeim_unroutable_sessions")
		return all >= answered+float64(len(each)) && last == 0, nil
	})
	took := time.Since(start)
	if err != nil {
		o.t.Errorf("%v sessions are connected but unroutable: %v", last, err)
	}
	if full() && took > 10*time.Second {
		o.t.Errorf("routes were right again after %v, want 10 s at most", took)
	}
}

// censuses gives how many each edge has ended, and how many of all the cores' registry
// answered in whole.
func (o *ordeal) censuses(ctx context.Context) (each []float64, answered float64) {
	o.t.Helper()
	for _, edge := range o.Edges {
		each = append(each, o.sum(ctx, []*cluster.Process{edge}, "freeim_link_censuses_total"))
	}
	return each, o.sum(ctx, o.Cores, "freeim_unroutable_censuses_total")
}

func (o *ordeal) sum(ctx context.Context, of []*cluster.Process, figure string) (all float64) {
	o.t.Helper()
	for _, p := range of {
		n, err := p.Figure(ctx, figure)
		o.do(err)
		all += n
	}
	return all
}

// probe is one connection that sends by hand, where a session would try again.
type probe struct {
	*client.Client
	to      int64
	n       int
	refused atomic.Int64 // of the sends of sendUntil
}

// probe signs up somebody who writes to himself.
func (o *ordeal) probe(name string) *probe {
	o.t.Helper()
	return dialProbe(o.ctx, o.t, o.ways()[0](), name)
}

func dialProbe(ctx context.Context, t *testing.T, way client.Options, name string) *probe {
	t.Helper()
	owner, err := signUp(ctx, way, name)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signIn(ctx, way, name, "probe", idl.DeviceTablet)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := client.Dial(ctx, way)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Auth(ctx, token); err != nil {
		t.Fatal(err)
	}
	return &probe{Client: conn, to: owner.id}
}

// send sends one message and gives what became of it.
func (p *probe) send(ctx context.Context) error {
	p.n++
	_, err := p.Send(ctx, &chatpb.SendRequest{ClientId: fmt.Sprintf("probe-%d", p.n), ToUserId: p.to, Text: "are you there"})
	return err
}

// answer is what became of one send.
type answer struct {
	err  error
	took time.Duration
}

// sendUntil sends one message after the other until what happens meanwhile is over.
func (p *probe) sendUntil(ctx context.Context, meanwhile func()) []answer {
	var over atomic.Bool
	p.refused.Store(0)
	all := make(chan []answer, 1)
	go func() {
		var answers []answer
		for !over.Load() {
			start := time.Now()
			err := p.send(ctx)
			answers = append(answers, answer{err, time.Since(start)})
			if client.CodeOf(err) == idl.CodeUnavailable {
				p.refused.Add(1)
			}
		}
		all <- answers
	}()
	defer over.Store(true) // a meanwhile that fails the test ends here
	meanwhile()
	over.Store(true)
	return <-all
}

// await waits until sends have been refused.
func (p *probe) await(ctx context.Context, refusals int64) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // a full disk has room in its files for a while
	defer cancel()
	return until(ctx, func() (bool, error) { return p.refused.Load() >= refusals, nil })
}

// told counts the answers by code (idl.CodeUnknown: acknowledged), and fails the
// test if one is a refusal that does not say when to try again.
func (o *ordeal) told(by string, answers []answer) map[idl.Code]int {
	o.t.Helper()
	codes := map[idl.Code]int{}
	for _, a := range answers {
		code := client.CodeOf(a.err)
		codes[code]++
		if told := code == idl.CodeUnavailable || code == idl.CodeDeadlineExceeded; a.err != nil && (!told || retryAfter(a.err) <= 0) {
			o.t.Errorf("a send to %s got %v, retry after %v; want UNAVAILABLE with advice", by, a.err, retryAfter(a.err))
		}
	}
	o.t.Logf("sends to %s were answered with %v (%v: acknowledged)", by, codes, idl.CodeUnknown)
	return codes
}

// attendant is one connection on which a device waits for what is pushed to it.
type attendant struct {
	*client.Client
	token string
	texts chan string
}

// attend signs a device in at one edge and authenticates; it asks for nothing.
func (o *ordeal) attend(edge int, name, device string, kind idl.DeviceType) *attendant {
	o.t.Helper()
	a := &attendant{texts: make(chan string, 100)}
	options := o.at(edge)
	var err error
	a.token, err = signIn(o.ctx, options, name, device, kind)
	o.do(err)
	options.OnPush = func(p client.Push) {
		var e chatpb.InboxEntry
		if p.Action == idl.ActionMessage && p.Decode(&e) == nil && e.Message != nil {
			a.texts <- e.Message.Text
		}
	}
	a.Client, err = client.Dial(o.ctx, options)
	o.do(err)
	o.t.Cleanup(func() { a.Close() })
	_, err = a.Auth(o.ctx, a.token)
	o.do(err)
	return a
}

// pushed waits for a message to be pushed.
func (a *attendant) pushed(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case got := <-a.texts:
		if got != text {
			return fmt.Errorf("got %q, want %q", got, text)
		}
		return nil
	case <-a.Done():
		return a.Err()
	case <-ctx.Done():
		return fmt.Errorf("%q is not pushed", text)
	}
}

// ended waits for the server to end the connection for that reason.
func (a *attendant) ended(ctx context.Context, reason idl.CloseReason) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-a.Done():
		if q, ok := errors.AsType[*client.Quit](a.Err()); !ok || q.Reason != reason {
			return fmt.Errorf("ended with %v, want %v", a.Err(), reason)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the connection goes on, want %v", reason)
	}
}

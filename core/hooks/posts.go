package hooks

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"freeim/scripts/engine"

	"github.com/sony/gobreaker/v2"
)

const (
	postQueue   = 1024        // posts that wait for one endpoint; then the newest are dropped and counted
	postOctets  = 4 << 20     // of the bodies that wait for it, the same
	postsAtOnce = 4           // to one endpoint, in no certain order
	postTries   = 4           // of one post
	maxAdvice   = time.Minute // that an endpoint's Retry-After is listened to
	maxAnswer   = 64 << 10    // octets of an answer that are read, and looked at by nobody
	breakAt     = 5           // tries in a row that fail
	warnEvery   = time.Minute // between two lines in the log about posts of one endpoint that were given up
)

// Endpoint is where rules may post to.
type Endpoint struct {
	URL     string
	Header  http.Header   // beside those of every post
	Timeout time.Duration // of one try, with its answer; 0: 5 s
	// Idempotent says that what comes twice under one Idempotency-Key counts once there:
	// then a try is repeated also if it may have arrived.
	Idempotent bool
}

// PostOptions configures Posts.
type PostOptions struct {
	Endpoints map[string]Endpoint
	Log       *slog.Logger
	Pause     time.Duration // before the second try; it doubles with each. 0: 500 ms
	Broken    time.Duration // how long an endpoint that fails is left alone. 0: 10 s
}

// Posts brings what rules say by im.http.post to endpoints that the operator named,
// aside from everything else. Nobody waits for it, and nothing is kept over a restart:
// it is for telling, not for what must arrive.
type Posts struct {
	// Static after NewPosts.
	options   PostOptions
	client    *http.Client
	endpoints map[string]*endpoint
	workers   sync.WaitGroup
	ctx       context.Context // ends when there is no more time for what waits
	stop      context.CancelFunc
	ending    chan struct{} // closed when Drain has begun

	mu    sync.RWMutex // guards ended; held while a queue is written to, so that it can be closed
	ended bool
}

// endpoint is an Endpoint with what waits for it.
type endpoint struct {
	// Static.
	Endpoint
	name    string
	breaker *gobreaker.CircuitBreaker[int]
	queue   chan post // closed by Drain

	octets, sent, refused, failed, dropped, repeated, warned atomic.Int64
}

// post is one body on its way. Its key stays the same over all tries.
type post struct {
	engine.Effect
	key string
}

// NewPosts starts the workers; Drain ends them.
func NewPosts(o PostOptions) *Posts {
	o.Pause, o.Broken = cmp.Or(o.Pause, 500*time.Millisecond), cmp.Or(o.Broken, 10*time.Second)
	p := &Posts{options: o, endpoints: map[string]*endpoint{}, ending: make(chan struct{}), client: &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableCompression: true,
			MaxConnsPerHost: 2 * postsAtOnce, MaxIdleConnsPerHost: postsAtOnce, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: maxAnswer},
		// What a rule says, and the secrets beside it, go to the URL that was named alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	for name, to := range o.Endpoints {
		to.Timeout = cmp.Or(to.Timeout, 5*time.Second)
		e := &endpoint{Endpoint: to, name: name, queue: make(chan post, postQueue)}
		e.breaker = gobreaker.NewCircuitBreaker[int](gobreaker.Settings{
			Name: name, Timeout: o.Broken,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAt },
			IsExcluded:  func(error) bool { return p.ctx.Err() != nil },
			OnStateChange: func(_ string, _, now gobreaker.State) {
				o.Log.Warn("posts of rules: an endpoint's breaker", "endpoint", name, "state", now.String())
			}})
		p.endpoints[name] = e
		for range postsAtOnce {
			p.workers.Go(func() { p.work(e) })
		}
	}
	return p
}

// Post queues what a rule said. It never blocks.
func (p *Posts) Post(said engine.Effect) {
	e := p.endpoints[said.Endpoint]
	if e == nil { // the engine knows which there are
		return
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	size := int64(len(said.Data))
	if p.ended || e.octets.Add(size) > postOctets {
		if !p.ended {
			e.octets.Add(-size)
		}
		e.dropped.Add(1)
		return
	}
	var key [16]byte
	_, _ = rand.Read(key[:]) // it never fails
	select {
	case e.queue <- post{said, hex.EncodeToString(key[:])}:
	default:
		e.octets.Add(-size)
		e.dropped.Add(1)
	}
}

// Drain takes no more, and ends when what waits was posted. What waits for an endpoint
// that is broken, or still when ctx ends, is dropped.
func (p *Posts) Drain(ctx context.Context) {
	p.mu.Lock()
	if !p.ended {
		p.ended = true
		close(p.ending)
		for _, e := range p.endpoints {
			close(e.queue)
		}
	}
	p.mu.Unlock()
	release := context.AfterFunc(ctx, p.stop)
	p.workers.Wait()
	release()
	p.stop()
	p.client.CloseIdleConnections()
}

func (p *Posts) work(e *endpoint) {
	for one := range e.queue {
		why, result := p.bring(e, one)
		result.Add(1)
		e.octets.Add(-int64(len(one.Data)))
		if why != nil {
			e.warn(p.options.Log, one, why)
		}
	}
}

// warn says now and then that posts are given up, and never where they should have
// gone: a URL may be a secret.
func (e *endpoint) warn(log *slog.Logger, one post, why error) {
	now, before := time.Now().UnixNano(), e.warned.Load()
	if now-before >= int64(warnEvery) && e.warned.CompareAndSwap(before, now) {
		log.Warn("a rule's post was given up", "endpoint", e.name, "rule", one.Rule, "bundle", one.Bundle, "err", why,
			"refused", e.refused.Load(), "failed", e.failed.Load(), "dropped", e.dropped.Load())
	}
}

// fault is a try that failed.
type fault struct {
	error
	safe   bool          // it cannot have been taken: it may be tried again, whatever the endpoint does with keys
	advice time.Duration // what the endpoint said to wait
}

// bring tries until the post was taken or is given up, and gives what to count.
func (p *Posts) bring(e *endpoint, one post) (why error, result *atomic.Int64) {
	pause := p.options.Pause
	for try := 1; ; try++ {
		status, err := p.try(e, one)
		switch {
		case err == nil && status/100 == 2:
			return nil, &e.sent
		case err == nil:
			return errors.New("it answers " + strconv.Itoa(status)), &e.refused
		case p.ctx.Err() != nil || errors.Is(err, errBroken):
			return err, &e.dropped
		}
		failed, _ := errors.AsType[fault](err)
		if try == postTries || !failed.safe && !e.Idempotent {
			return err, &e.failed
		}
		e.repeated.Add(1)
		if !p.wait(max(failed.advice, pause/2+mathrand.N(pause/2+1))) {
			return err, &e.dropped
		}
		pause *= 2
	}
}

var errBroken = errors.New("the endpoint is broken, and the server ends")

// try is one try, as soon as the breaker allows it. An answer below 500 that is no
// advice to come again is the endpoint's word, and no error.
func (p *Posts) try(e *endpoint, one post) (status int, err error) {
	for ending := p.ending; ; {
		status, err = e.breaker.Execute(func() (int, error) { return p.send(e, one) })
		open := errors.Is(err, gobreaker.ErrOpenState)
		switch {
		case !open && !errors.Is(err, gobreaker.ErrTooManyRequests): // which is said while one tries
			return status, err
		case open && ending == nil:
			return 0, errBroken
		}
		select {
		case <-ending:
			ending = nil // it may be whole by now: once more
		case <-p.ctx.Done():
			return 0, p.ctx.Err()
		case <-time.After(p.options.Broken / 10):
		}
	}
}

// wait reports whether there was time for it.
func (p *Posts) wait(pause time.Duration) bool {
	select {
	case <-time.After(pause):
		return true
	case <-p.ctx.Done():
		return false
	}
}

func (p *Posts) send(e *endpoint, one post) (status int, err error) {
	ctx, cancel := context.WithTimeout(p.ctx, e.Timeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, bytes.NewReader([]byte(one.Data)))
	if err != nil {
		return 0, fault{error: without(err)}
	}
	if !e.Idempotent {
		request.GetBody = nil // the transport would repeat it by itself
	}
	request.Header = http.Header{"Content-Type": {"application/json"}, "User-Agent": {"freeim"}, "Idempotency-Key": {one.key},
		"Freeim-Rule": {one.Rule}, "Freeim-Bundle": {one.Bundle}, "Freeim-Time": {one.At.UTC().Format(time.RFC3339Nano)}}
	for name, values := range e.Header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	response, err := p.client.Do(request)
	if err != nil {
		return 0, fault{error: without(err), safe: !connected.Load()}
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer)
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return 0, fault{errors.New("it answers " + response.Status), true, advice(response)}
	}
	if response.StatusCode >= 500 {
		return 0, fault{error: errors.New("it answers " + response.Status)}
	}
	return response.StatusCode, nil
}

// without is err without the URL.
func without(err error) error {
	if of, ok := errors.AsType[*url.Error](err); ok {
		return of.Err
	}
	return err
}

// advice is what an answer says in seconds, within reason.
func advice(r *http.Response) time.Duration {
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 3600))*time.Second, maxAdvice)
}

// PostFigures are those of one endpoint.
type PostFigures struct {
	Results  map[string]int64 // how many posts ended as "sent", "refused", "failed" or "dropped"
	Repeated int64            // tries behind the first
	Waiting  int              // posts
	Broken   bool             // it is left alone
}

// Figures are those of all endpoints, by name.
func (p *Posts) Figures() map[string]PostFigures {
	all := map[string]PostFigures{}
	for name, e := range p.endpoints {
		all[name] = PostFigures{Repeated: e.repeated.Load(), Waiting: len(e.queue), Broken: e.breaker.State() != gobreaker.StateClosed,
			Results: map[string]int64{"sent": e.sent.Load(), "refused": e.refused.Load(), "failed": e.failed.Load(), "dropped": e.dropped.Load()}}
	}
	return all
}

package redis

import (
	"context"
	"sync"

	"freeim/core/im"

	goredis "github.com/redis/go-redis/v9"
)

const (
	// hinters is how many pipelines of look-ups run at once: while one is under way
	// the next gathers.
	hinters = 2
	// maxHints is how many look-ups a pipeline has, and how many wait; who finds no
	// room has missed.
	maxHints = 512
)

// hints looks up where the messages of client IDs are. Nearly every message asks
// once, and is new: by itself each would cost a core a quarter of its processor time.
// So what many callers ask while pipelines are under way goes in one, without a timer.
type hints struct {
	client  *Client
	queue   chan *hintAsked // never closed
	closing chan struct{}   // closed by close
	running sync.WaitGroup
}

// hintAsked is what one caller asks.
type hintAsked struct {
	key  string
	cmd  *goredis.StringCmd // the answer, when done is closed
	done chan struct{}
}

func newHints(c *Client) *hints {
	h := &hints{client: c, queue: make(chan *hintAsked, maxHints), closing: make(chan struct{})}
	for range hinters {
		h.running.Go(h.run)
	}
	return h
}

// get is what Redis has at key. Faults are misses.
func (h *hints) get(ctx context.Context, key string) (value string, ok bool) {
	a := &hintAsked{key: key, done: make(chan struct{})}
	select {
	case h.queue <- a:
	default:
		return "", false
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		return "", false
	case <-h.closing:
		return "", false
	}
	value, err := a.cmd.Result()
	if err != nil {
		h.client.failed("timelines", err)
	}
	return value, err == nil
}

// run answers until close.
func (h *hints) run() {
	batch := make([]*hintAsked, 0, maxHints)
	for {
		select {
		case first := <-h.queue:
			batch = h.gather(append(batch[:0], first))
			h.ask(batch)
			clear(batch) // let go of the callers
		case <-h.closing:
			return
		}
	}
}

func (h *hints) gather(batch []*hintAsked) []*hintAsked {
	for len(batch) < maxHints {
		select {
		case a := <-h.queue:
			batch = append(batch, a)
		default:
			return batch
		}
	}
	return batch
}

// ask asks Redis, and tells the callers.
func (h *hints) ask(batch []*hintAsked) {
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	pipe := h.client.db.Pipeline()
	for _, a := range batch {
		a.cmd = pipe.Get(ctx, a.key)
	}
	_, _ = pipe.Exec(ctx) // each command says itself what became of it
	for _, a := range batch {
		close(a.done)
	}
}

// close ends the look-ups; whoever waits for one has missed.
func (h *hints) close() {
	close(h.closing)
	h.running.Wait()
}

// hint asks Redis where the message of a client ID is.
func (t *Timelines) hint(ctx context.Context, sender im.UserID, clientID string) (hint, bool) {
	if clientID == "" {
		return hint{}, false
	}
	value, ok := t.hints.get(ctx, t.keys.window(t.Epoch(), sender, clientID))
	if !ok {
		return hint{}, false
	}
	var s seal
	s.atWindow(sender, clientID)
	h, ok := s.readHint(value)
	if !ok {
		t.client.figures.corrupt.Inc()
	}
	return h, ok
}

package redis

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
)

// writer brings to Redis what was committed, and what readers missed. Whatever
// waits while one pipeline is under way is the next one; there is no timer. The
// queue is bounded by entries and octets: what does not fit, and what Redis does
// not take, is dropped and counted, since readers put it back.
type writer struct {
	// Static.
	t       *Timelines
	most    int           // entries that may wait
	wake    chan struct{} // holds 1: something waits
	closing chan struct{} // closed by close
	stopped chan struct{} // closed by run

	// Owned by run.
	seal seal

	mu      sync.Mutex // guards the fields below
	waiting []work
	entries int // of waiting, and octets
	octets  int
	closed  bool
}

const (
	// maxOctets bounds the bodies that wait.
	maxOctets = 32 << 20
	// maxPipeline is how many entries one pipeline holds, or one work alone.
	maxPipeline = 4096
	// writeTime bounds a pipeline.
	writeTime = time.Second
)

// work is some entries to write: those of one commit, or of one fill. It shares
// nothing with its maker.
type work struct {
	epoch    string       // of the record when it gave them
	messages []im.Message // for their logs
	head     int64        // fill: the timeline's newest seq by the record; 0: not known

	user    im.UserID           // fill: whose inbox entries are
	entries []timeline.EntryRef // fill

	inboxes   []im.UserID // commit
	inboxSeqs []int64     // as inboxes
	digest    [32]byte    // commit

	fill bool
}

// size is how many entries, and octets of bodies, a work is.
func (w *work) size() (entries, octets int) {
	for i := range w.messages {
		octets += len(w.messages[i].Body)
	}
	return len(w.messages) + len(w.entries) + len(w.inboxes), octets
}

func newWriter(t *Timelines, most int) *writer {
	w := &writer{
		t: t, most: most, wake: make(chan struct{}, 1),
		closing: make(chan struct{}), stopped: make(chan struct{}),
	}
	go w.run()
	return w
}

// committed takes over a message that the record has. It is called in the record's
// OnCommit and does not block; the inboxes are the writer's from then on.
func (w *writer) committed(done *timeline.Committed, inboxes []im.UserID, digest [32]byte) {
	w.put(work{
		messages: cloned([]im.Message{done.Message}), inboxes: inboxes, inboxSeqs: slices.Clone(done.InboxSeqs), digest: digest,
	})
}

// fillLog takes over messages of one log that a reader missed.
func (w *writer) fillLog(c im.ConversationID, head int64, ms []im.Message) {
	hot := slices.IndexFunc(ms, func(m im.Message) bool { return m.Seq > head-w.t.keep })
	if hot >= 0 {
		w.put(work{messages: cloned(ms[hot:]), head: head, fill: true})
	}
}

// fillLogs takes over messages of any logs.
func (w *writer) fillLogs(ms []im.Message) { w.put(work{messages: cloned(ms), fill: true}) }

// fillInbox takes over entries of one inbox.
func (w *writer) fillInbox(user im.UserID, head int64, es []timeline.EntryRef) {
	hot := slices.IndexFunc(es, func(e timeline.EntryRef) bool { return e.InboxSeq > head-w.t.keep })
	if hot >= 0 {
		w.put(work{user: user, entries: slices.Clone(es[hot:]), head: head, fill: true})
	}
}

func cloned(ms []im.Message) []im.Message {
	ms = slices.Clone(ms)
	for i := range ms {
		ms[i].Body = slices.Clone(ms[i].Body)
	}
	return ms
}

// put queues one work, or drops it. Fills take no more than half of the queue.
func (w *writer) put(one work) {
	one.epoch = w.t.Epoch()
	entries, octets := one.size()
	most, mostOctets := w.most, maxOctets
	if one.fill {
		most, mostOctets = most/2, mostOctets/2
	}
	w.mu.Lock()
	fits := !w.closed && w.entries+entries <= most && w.octets+octets <= mostOctets
	if fits {
		w.waiting = append(w.waiting, one)
		w.entries += entries
		w.octets += octets
	}
	w.mu.Unlock()
	if !fits {
		w.t.client.figures.dropped.Add(float64(entries))
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take gives the works for one pipeline, nil when nothing waits.
func (w *writer) take() (some []work) {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken, n := 0, 0
	for ; n < len(w.waiting); n++ {
		entries, octets := w.waiting[n].size()
		if n > 0 && taken+entries > maxPipeline {
			break
		}
		taken += entries
		w.entries -= entries
		w.octets -= octets
	}
	if n == len(w.waiting) {
		some, w.waiting = w.waiting, nil
		return some
	}
	some = slices.Clone(w.waiting[:n])
	clear(w.waiting[:n])
	w.waiting = w.waiting[n:]
	return some
}

// run is the writer's goroutine. It ends after close, when nothing waits.
func (w *writer) run() {
	defer close(w.stopped)
	for closing := false; !closing; {
		select {
		case <-w.wake:
		case <-w.closing:
			closing = true
		}
		for some := w.take(); some != nil; some = w.take() {
			w.write(some)
		}
	}
}

// close has what waits written, and returns when it is or was dropped.
func (w *writer) close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.closing)
	}
	w.mu.Unlock()
	<-w.stopped
}

// addition is what one pipeline brings to one timeline.
type addition struct {
	key   string
	head  int64
	first member
	more  []member
	fill  bool
}

// args are those of addScript after how many to keep and the age.
func (a *addition) args(dst []any) []any {
	if len(a.more) == 0 {
		seq := any(a.first.seq)
		if a.head == a.first.seq {
			return append(dst, seq, seq, a.first.value)
		}
		return append(dst, a.head, seq, a.first.value)
	}
	all := append([]member{a.first}, a.more...)
	slices.SortFunc(all, func(a, b member) int { return cmp.Compare(a.seq, b.seq) })
	dst = append(dst, a.head)
	for _, e := range all {
		dst = append(dst, e.seq, e.value)
	}
	return dst
}

func (a *addition) len() int { return 1 + len(a.more) }

type member struct {
	seq   int64
	value []byte
}

// write sends some works as one pipeline: a script for each timeline, and a hint
// for each client ID.
func (w *writer) write(some []work) {
	t := w.t
	ctx, cancel := context.WithTimeout(context.Background(), writeTime)
	defer cancel()
	b := t.client.batch()
	additions := w.additions(some)
	t.start(ctx, b, additions)
	for i := range some {
		if one := &some[i]; !one.fill && one.messages[0].ClientID != "" && len(one.inboxes) <= maxInbox {
			m := &one.messages[0]
			b.Set(ctx, t.keys.window(some[i].epoch, m.Sender, m.ClientID), w.seal.hint(m.Sender, m.ClientID, &hint{
				digest: one.digest, id: m.ID, ref: timeline.Ref{Conversation: m.Conversation, Seq: m.Seq}, inboxSeqs: one.inboxSeqs,
			}), t.window)
		}
	}
	t.client.figures.pipeline.Observe(float64(b.Len()))
	if err := b.exec(ctx); err != nil {
		t.client.failed("timelines", err)
	}
	for i := range additions {
		a := &additions[i]
		switch added, err := b.runs[i].Int(); {
		case err != nil:
			t.client.figures.dropped.Add(float64(a.len()))
		case added < 0:
			t.conflicted(a)
		case a.fill:
			t.client.figures.fills.Add(float64(added))
		}
	}
}

// conflicted tells of a set that addScript threw away.
func (t *Timelines) conflicted(a *addition) {
	t.client.figures.conflicts.Inc()
	t.client.log.Warn("a timeline in redis held another entry at a seq, and was thrown away", "key", a.key)
}

// start adds a run for each of the additions.
func (t *Timelines) start(ctx context.Context, b *batch, additions []addition) {
	keep, age := any(t.keep), any(t.client.config.Age.Milliseconds())
	b.runs = make([]run, 0, len(additions))
	for i := range additions {
		a := &additions[i]
		args := append(scriptArgs(t.client.scripts.add, a.key, 3+2*a.len()), keep, age)
		b.start(ctx, t.client.scripts.add, a.args(args))
	}
}

// additions sorts works by timeline, and the entries of each by seq.
func (w *writer) additions(some []work) (all []addition) {
	t, byKey := w.t, make(map[string]int)
	add := func(key string, one *work, seq int64, value []byte) {
		at, known := byKey[key]
		if !known {
			at = len(all)
			byKey[key] = at
			all = append(all, addition{key: key, fill: true})
		}
		a := &all[at]
		head := one.head
		if !one.fill {
			head, a.fill = seq, false
		}
		a.head = max(a.head, head)
		if a.first.value == nil {
			a.first = member{seq, value}
		} else {
			a.more = append(a.more, member{seq, value})
		}
	}
	for i := range some {
		one := &some[i]
		for j := range one.messages {
			m := &one.messages[j]
			add(t.keys.log(one.epoch, m.Conversation), one, m.Seq, w.seal.message(m))
		}
		for j := range one.entries {
			e := &one.entries[j]
			add(t.keys.inbox(one.epoch, one.user), one, e.InboxSeq, w.seal.entry(one.user, e))
		}
		for j, user := range one.inboxes {
			m := &one.messages[0]
			e := timeline.EntryRef{
				InboxSeq: one.inboxSeqs[j], ID: m.ID, Ref: timeline.Ref{Conversation: m.Conversation, Seq: m.Seq},
			}
			add(t.keys.inbox(one.epoch, user), one, e.InboxSeq, w.seal.entry(user, &e))
		}
	}
	return all
}

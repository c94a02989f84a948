package sql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/core/timeline"
)

// finders is how many queries of joined look-ups run at once: while one is on
// its way the next gathers.
const finders = 2

// maxLookup is about how many names one query of look-ups has.
const maxLookup = 1000

// lookup is what one caller wants to know: heads of logs and of people, and what
// was committed under client IDs.
type lookup struct {
	logs   []im.ConversationID
	people []im.UserID
	drafts []draftKey

	seqs  []int64       // as logs
	heads []personHead  // as people
	found []storedDraft // as drafts; without an ID: none
	done  chan error    // of length 1
}

func (l *lookup) size() int { return len(l.logs) + len(l.people) + len(l.drafts) }

// ask looks up what l names, together with what other callers ask for.
func (r *Record) ask(ctx context.Context, l *lookup) error {
	if err := r.refusal(ctx); err != nil {
		return err
	}
	l.done = make(chan error, 1)
	select {
	case r.lookups <- l:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.closing:
		return timeline.ErrClosed
	}
	return r.await(ctx, l.done)
}

// finder joins the look-ups of many callers in one query, without a timer: what
// comes while all finders wait for MySQL is joined.
//
// Everything is owned by the goroutine of run.
type finder struct {
	*Record
	script script
	batch  []*lookup
	logs   map[im.ConversationID]int64
	people map[im.UserID]personHead
	drafts map[draftKey]storedDraft
}

func newFinder(r *Record) *finder {
	return &finder{Record: r, script: script{limit: r.packet / 4}, logs: map[im.ConversationID]int64{},
		people: map[im.UserID]personHead{}, drafts: map[draftKey]storedDraft{}}
}

// run answers until the record closes.
func (f *finder) run(ctx context.Context) {
	for {
		select {
		case first := <-f.lookups:
			f.gather(first)
			err := f.find(ctx)
			for _, l := range f.batch {
				if err == nil {
					f.answerTo(l)
				}
				l.done <- err
			}
			clear(f.batch) // let go of the callers
		case <-f.closing:
			return
		}
	}
}

func (f *finder) gather(first *lookup) {
	f.batch = append(f.batch[:0], first)
	for size := first.size(); size < maxLookup; {
		select {
		case l := <-f.lookups:
			f.batch = append(f.batch, l)
			size += l.size()
		default:
			return
		}
	}
}

// find asks MySQL for everything that the batch names, each once.
func (f *finder) find(ctx context.Context) error {
	clear(f.logs)
	clear(f.people)
	clear(f.drafts)
	for _, l := range f.batch {
		for _, id := range l.logs {
			f.logs[id] = 0
		}
		for _, id := range l.people {
			f.people[id] = personHead{}
		}
		for _, key := range l.drafts {
			f.drafts[key] = storedDraft{}
		}
	}
	f.write()
	ctx, cancel := context.WithTimeout(ctx, f.patience)
	defer cancel()
	return inTime(f.query(ctx, &f.script))
}

func (f *finder) write() {
	s := &f.script
	s.reset()
	s.begin("SELECT conversation, seq FROM record_conversations WHERE conversation IN (", ")", func(row []driver.Value) error {
		c := columns{row: row}
		f.logs[im.ConversationID(c.name())] = c.int()
		return c.end()
	})
	for id := range f.logs {
		s.row()
		s.name(string(id))
	}
	s.end()
	s.begin("SELECT person, inbox_seq, receipt_seq FROM record_people WHERE person IN (", ")", func(row []driver.Value) error {
		c := columns{row: row}
		p := personHead{id: im.UserID(c.int()), inbox: c.int(), receipt: c.int()}
		f.people[p.id] = p
		return c.end()
	})
	for id := range f.people {
		s.row()
		s.int(int64(id))
	}
	s.end()
	s.begin(selectDrafts, ")", func(row []driver.Value) error {
		d, err := readDraft(row)
		f.drafts[draftKey{d.Sender, d.ClientID}] = d
		return err
	})
	for key := range f.drafts {
		s.row()
		s.draft(key)
	}
	s.end()
}

// answerTo fills l in with what was found.
func (f *finder) answerTo(l *lookup) {
	for _, id := range l.logs {
		l.seqs = append(l.seqs, f.logs[id])
	}
	for _, id := range l.people {
		l.heads = append(l.heads, f.people[id])
	}
	for _, key := range l.drafts {
		d := f.drafts[key]
		d.Body, d.InboxSeqs = slices.Clone(d.Body), slices.Clone(d.InboxSeqs) // others may get it too
		l.found = append(l.found, d)
	}
}

// Find implements timeline.Store.
func (r *Record) Find(ctx context.Context, sender im.UserID, clientID string) (
	c timeline.Committed, digest [32]byte, ok bool, err error) {
	if clientID == "" || len(clientID) > maxName {
		return c, digest, false, r.refusal(ctx)
	}
	l := &lookup{drafts: []draftKey{{sender, clientID}}}
	if err := r.ask(ctx, l); err != nil {
		return c, digest, false, fmt.Errorf("find message %q of %d: %w", clientID, sender, err)
	}
	d := l.found[0]
	return d.Committed, d.digest, d.ID != im.MessageID{}, nil
}

// Heads implements timeline.Store. Look-ups of many callers are joined in one query.
func (r *Record) Heads(ctx context.Context, logs []im.ConversationID, inboxes []im.UserID) (
	logSeqs, inboxSeqs []int64, err error) {
	if len(logs)+len(inboxes) == 0 {
		return nil, nil, r.refusal(ctx)
	}
	l := &lookup{logs: logs, people: inboxes}
	if err := r.ask(ctx, l); err != nil {
		return nil, nil, fmt.Errorf("heads of timelines: %w", err)
	}
	for _, p := range l.heads {
		inboxSeqs = append(inboxSeqs, p.inbox)
	}
	return l.seqs, inboxSeqs, nil
}

// logHead is the newest seq of a conversation.
func (r *Record) logHead(ctx context.Context, id im.ConversationID) (int64, error) {
	l := &lookup{logs: []im.ConversationID{id}}
	if err := r.ask(ctx, l); err != nil {
		return 0, err
	}
	return l.seqs[0], nil
}

// inboxHead is the newest seq of an inbox.
func (r *Record) inboxHead(ctx context.Context, user im.UserID) (int64, error) {
	l := &lookup{people: []im.UserID{user}}
	if err := r.ask(ctx, l); err != nil {
		return 0, err
	}
	return l.heads[0].inbox, nil
}

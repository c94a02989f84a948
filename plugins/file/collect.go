package file

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// This file is how files go to which nothing refers: any core deletes them, each file one core.

const (
	collectEvery = time.Minute
	collectStep  = 100 // files that are looked for at a time
	// collectTime is how long one file may take to be deleted; whoever has claimed it has as
	// long, and as long again, before another may try.
	collectTime   = time.Minute
	collectAgain  = 10 * time.Minute
	collectFaults = 10 // files that cannot be deleted end a round: the store is away
	// strayEvery is how often what is stored is compared with what is known, after a start first
	// in strayFirst, and strayAge how old something is that nobody knows before it is deleted.
	strayEvery = 24 * time.Hour
	strayFirst = time.Hour
	strayAge   = 7 * 24 * time.Hour
)

// counts are of what was done since the start.
type counts struct{ tickets, committed, octets, collected, strays, failed atomic.Int64 }

// Counts implements plugin.Counter.
func (p *File) Counts() map[string]int64 {
	c := &p.counts
	return map[string]int64{"tickets": c.tickets.Load(), "committed": c.committed.Load(), "committed_octets": c.octets.Load(),
		"collected": c.collected.Load(), "strays": c.strays.Load(), "failed": c.failed.Load()}
}

// awake has this core collect now.
func (p *File) awake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// runCollector collects until ctx ends.
func (p *File) runCollector(ctx context.Context) {
	every, strays := time.NewTicker(collectEvery), time.NewTimer(strayFirst)
	defer every.Stop()
	defer strays.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-strays.C:
			err = p.sweep(ctx)
			strays.Reset(strayEvery)
		case <-every.C:
			err = p.collect(ctx)
		case <-p.wake:
			err = p.collect(ctx)
		}
		if err != nil && ctx.Err() == nil {
			p.host.Log().Error("unused files wait on", "err", err)
		}
	}
}

// collect deletes what is due. A file whose store fails is left to be tried again.
func (p *File) collect(ctx context.Context) error {
	for faults := 0; ; {
		due, err := p.store.files(ctx, p.store.db, dueFiles, p.host.Now().UnixMilli(), collectStep)
		if err != nil {
			return err
		}
		for _, f := range due {
			claimed, err := p.store.claim(ctx, f, p.host.Now().Add(collectAgain).UnixMilli())
			if err != nil {
				return err
			}
			if !claimed {
				continue
			}
			if err := p.destroy(ctx, f); err != nil {
				if faults++; faults == collectFaults || ctx.Err() != nil {
					return err
				}
				p.host.Log().Warn("a file cannot be deleted, it is tried again", "file", f.id, "err", err)
			}
		}
		if len(due) < collectStep {
			return nil
		}
	}
}

// destroy deletes the octets of a file that was claimed, then its row.
func (p *File) destroy(ctx context.Context, f *file) error {
	within, cancel := context.WithTimeout(ctx, collectTime)
	defer cancel()
	if err := p.objects.remove(within, f.id); err != nil {
		p.counts.failed.Add(1)
		return err
	}
	if err := p.store.drop(within, f, p.host.Now().UnixMilli()); err != nil {
		return err
	}
	p.counts.collected.Add(1)
	return nil
}

// mostStrays is how many files in a row may be unknown: with more, the directory or bucket is that of
// another database, or this one is empty.
const mostStrays = 100

var errStrange = errors.New("none of 100 stored files is known to this database: nothing of them is deleted, it may be the wrong one")

// sweep deletes what is stored and nobody knows: a row is there before its octets and goes
// after them, so it was left by a crash, or came by a ticket whose file had gone.
func (p *File) sweep(ctx context.Context) error {
	n, err := p.objects.walk(ctx, p.host.Now().Add(-strayAge), func(ctx context.Context, ids []string) (strays []string, err error) {
		known, err := p.store.byIDs(ctx, p.store.db, ids)
		if err != nil {
			return nil, err
		}
		if len(known) == 0 && len(ids) >= mostStrays {
			return nil, errStrange
		}
		for _, id := range ids {
			if known[id] == nil {
				strays = append(strays, id)
			}
		}
		return strays, nil
	})
	p.counts.strays.Add(int64(n))
	return err
}

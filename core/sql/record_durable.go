package sql

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// Unsafe is why what was answered is lost, or may be: Lost, or the settings as they
// were when they were looked at last.
func (r *Record) Unsafe() error { return cmp.Or(r.Lost(), r.careless()) }

// careless is why a commit that was answered may be lost, as MySQL's settings were when
// they were looked at last: a *NotDurable, or nil.
func (r *Record) careless() error {
	if p := r.risk.Load(); p != nil {
		return p
	}
	return nil
}

// watch looks at MySQL now and then, and when a connection was lost: SET GLOBAL changes
// it under a running core, and behind a failover is another one.
func (r *Record) watch(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.reconnected:
		case <-r.closing:
			return
		}
		limited, cancel := context.WithTimeout(ctx, r.patience)
		// A server that is away changes nothing: what was seen last holds.
		_, _ = r.lookAtSettings(limited), r.lookForLoss(limited)
		cancel()
	}
}

// lookAtSettings asks over the connections that commit, and says it when something has
// changed. The error is that MySQL did not answer.
func (r *Record) lookAtSettings(ctx context.Context) error {
	err := durability(ctx, r.writers)
	risk, risky := errors.AsType[*NotDurable](err)
	if err != nil && !risky {
		return err
	}
	before := r.risk.Swap(risk)
	switch {
	case risky && (before == nil || before.Error() != risk.Error()):
		r.log.Error("ACKS ARE NOT DURABLE", "problems", risk.Problems)
	case !risky && before != nil:
		r.log.Info("acks are durable again")
	}
	return nil
}

// lostConnection has MySQL looked at, since the next connection may be to
// another server.
func (r *Record) lostConnection() {
	select {
	case r.reconnected <- struct{}{}:
	default: // it is about to be done
	}
}

package account

import (
	"context"
	"database/sql"
	"sync/atomic"
)

// Cheap is New with password hashes that cost next to nothing, which Validate
// refuses outside of this package's tests.
func Cheap(changes ...func(*Config)) *Account {
	p := New()
	p.least = cost{64, 1}
	p.config.PasswordMemoryKiB, p.config.PasswordPasses = 64, 1
	p.config.SignUpsPerMinute = 0
	for _, change := range changes {
		change(&p.config)
	}
	return p
}

// LoseAnswers has transactions from now on end as those whose COMMIT was sent, and
// carried out if committed, and whose answer was lost.
func (p *Account) LoseAnswers(committed bool, lost error) {
	tx := p.store.tx
	p.store.tx = func(ctx context.Context, fn func(*sql.Tx) error) error {
		err := tx(ctx, func(tx *sql.Tx) error {
			if err := fn(tx); err != nil || committed {
				return err
			}
			return lost
		})
		if err == nil {
			err = lost
		}
		return err
	}
}

// Shared has p take the directory for one that other cores have open too.
func (p *Account) Shared() { p.alone = false }

// ChangeMeanwhile has the next n sign-ins that are filed find another password than the
// one that was checked.
func (p *Account) ChangeMeanwhile(n int) {
	tx := p.store.tx
	p.store.tx = func(ctx context.Context, fn func(*sql.Tx) error) error {
		if n > 0 {
			n--
			return errChanged
		}
		return tx(ctx, fn)
	}
}

// CountLooks counts the queries for tokens and the tokens that they ask for.
func (p *Account) CountLooks(queries, tokens *atomic.Int64) {
	find := p.looks.find
	p.looks.find = func(ctx context.Context, hashes []string) (map[string]holder, error) {
		queries.Add(1)
		tokens.Add(int64(len(hashes)))
		return find(ctx, hashes)
	}
}

// HoldLooks has queries for tokens wait until ready is closed, or their time is up.
func (p *Account) HoldLooks(ready <-chan struct{}) {
	find := p.looks.find
	p.looks.find = func(ctx context.Context, hashes []string) (map[string]holder, error) {
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return find(ctx, hashes)
	}
}

// AfterCommit calls fn when a transaction has been committed, before whoever began it
// knows.
func (p *Account) AfterCommit(fn func()) {
	tx := p.store.tx
	p.store.tx = func(ctx context.Context, do func(*sql.Tx) error) error {
		err := tx(ctx, do)
		fn()
		return err
	}
}

// FailLooks has queries for tokens fail until restore is called: by what fault gives, or
// does.
func (p *Account) FailLooks(fault func() error) (restore func()) {
	find := p.looks.find
	p.looks.find = func(context.Context, []string) (map[string]holder, error) { return nil, fault() }
	return func() { p.looks.find = find }
}

// LooksWaiting is how many ask and are in no query yet.
func (p *Account) LooksWaiting() int {
	p.looks.mu.Lock()
	defer p.looks.mu.Unlock()
	return len(p.looks.waiting)
}

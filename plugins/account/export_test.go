package account

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/plugin"
	"freeim/idl/kitex_gen/accountpb"
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
	find := p.findHolders
	p.findHolders = func(ctx context.Context, hashes []string) (map[string]holder, error) {
		queries.Add(1)
		tokens.Add(int64(len(hashes)))
		return find(ctx, hashes)
	}
}

// HoldLooks has queries for tokens wait until ready is closed, or their time is up.
func (p *Account) HoldLooks(ready <-chan struct{}) {
	find := p.findHolders
	p.findHolders = func(ctx context.Context, hashes []string) (map[string]holder, error) {
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
	find := p.findHolders
	p.findHolders = func(context.Context, []string) (map[string]holder, error) { return nil, fault() }
	return func() { p.findHolders = find }
}

// LooksWaiting is how many ask and are in no query yet.
func (p *Account) LooksWaiting() int { return p.looks.Waiting() }

// ReadCursor reads a cursor as a search does: what it takes it would give again, and the
// place is one of the query's results.
func ReadCursor(t *testing.T, cursor, text string) {
	q, err := queryOf(&accountpb.SearchRequest{Query: text, Cursor: cursor})
	if err != nil || cursor == "" {
		return
	}
	again, err := cursorOf(q.after.cursor())
	if err != nil || again != q.after || !strings.HasPrefix(q.after.Key, q.name) && !strings.HasPrefix(q.after.Key, q.key) {
		t.Errorf("%q is read as %+v for %q", cursor, q.after, text)
	}
}

// KeyOf gives a function that looks for a key in a set that read reads.
func KeyOf(read func(ctx context.Context) ([]byte, error)) func(ctx context.Context, kid, alg string) (any, error) {
	return newKeys(read, time.Now).key
}

// EraseDue is one look of the eraser's.
func (p *Account) EraseDue(ctx context.Context) error { return p.eraseDue(ctx) }

// Listing is a query that lists, with arguments.
type Listing struct {
	Text string
	Args []any
}

// Listings are all of the plugin's.
func Listings() map[string]Listing {
	end := "n00" + greatest
	return map[string]Listing{
		"exact handle":  {exactHandle, []any{"h0001", foundByHandle}},
		"exact account": {exactAccount, []any{"n0001", foundByAccount}},
		"by handle":     {byHandle, []any{"h00", "h00" + greatest, foundByHandle, "n00", 21}},
		"by account":    {byAccount, []any{"n00", end, foundByAccount, "n00", end, 21}},
		"who is due":    {dueUsers, []any{1, eraseBatch}},
		"identities":    {identitiesOf, []any{200001}},
		"last contents": {lastContents, []any{200001, 0}},
		"push tokens":   {fmt.Sprintf(selectTold, plugin.Marks(1)), []any{200001}},
		"by nickname":   {byNickname, []any{"n000", "n000" + greatest, "n0001", 200001, nicknameStep}},
	}
}

package file

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
)

// With is New with another configuration, and a directory.
func With(dir string, changes ...func(*Config)) *File {
	p := New()
	p.config.Dir = dir
	for _, change := range changes {
		change(&p.config)
	}
	return p
}

// Collect collects now, as the collector does each minute.
func (p *File) Collect(ctx context.Context) error { return p.collect(ctx) }

// Sweep looks for strays now.
func (p *File) Sweep(ctx context.Context) error { return p.sweep(ctx) }

// Tx is a transaction of another plugin's.
func (p *File) Tx(ctx context.Context, fn func(*sql.Tx) error) error { return p.store.tx(ctx, fn) }

// AfterRemoval has fn run when octets were deleted.
func (p *File) AfterRemoval(fn func()) { p.objects = ending{p.objects, fn} }

type ending struct {
	objects
	fn func()
}

func (e ending) remove(ctx context.Context, id string) error {
	defer e.fn()
	return e.objects.remove(ctx, id)
}

// DialS3 has the store be reached at an address, whatever it is called.
func (p *File) DialS3(address string) {
	p.objects.(*bucket).transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// ErrPlanted is the fault of FailRemovals.
var ErrPlanted = errors.New("planted fault")

// FailRemovals has the store delete nothing while on is set; removed counts what it deleted.
func (p *File) FailRemovals(on *atomic.Bool, removed *atomic.Int64) {
	p.objects = failing{p.objects, on, removed}
}

type failing struct {
	objects
	on      *atomic.Bool
	removed *atomic.Int64
}

func (f failing) remove(ctx context.Context, id string) error {
	if f.on.Load() {
		return ErrPlanted
	}
	f.removed.Add(1)
	return f.objects.remove(ctx, id)
}

// Listing is a query that lists, with arguments.
type Listing struct {
	Text string
	Args []any
}

// Listings are all of the plugin's.
func Listings(u im.UserID, id, holder string) map[string]Listing {
	now := time.Now().UnixMilli()
	return map[string]Listing{
		"own":               {ownFiles, []any{int64(u), now, now, id, 50}},
		"all of one":        {allOwn, []any{int64(u), 1, 200}},
		"due":               {dueFiles, []any{now, 100}},
		"of a holder":       {usedBy, []any{holder, 100}},
		"by IDs":            {selectFiles + "id IN " + plugin.Marks(2), []any{id, id}},
		"references of one": {"SELECT holder FROM file_references WHERE file_id = ?", []any{id}},
	}
}

package room

import (
	"context"
	"database/sql"
)

// BeforeChanges has fn run before each transaction begins.
func (p *Room) BeforeChanges(fn func()) {
	tx := p.store.tx
	p.store.tx = func(ctx context.Context, do func(*sql.Tx) error) error {
		fn()
		return tx(ctx, do)
	}
}

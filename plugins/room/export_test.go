package room

import (
	"context"
	"database/sql"

	"freeim/core/im"
)

// BeforeChanges has fn run before each transaction begins.
func (p *Room) BeforeChanges(fn func()) {
	tx := p.store.tx
	p.store.tx = func(ctx context.Context, do func(*sql.Tx) error) error {
		fn()
		return tx(ctx, do)
	}
}

// Listings are the queries of what is kept of somebody.
func Listings(u im.UserID, room string) map[string][]any {
	return map[string][]any{ownedRooms: {int64(u), "", holdingStep}, roomsOf: {int64(u), "", holdingStep}, heirOf: {room, int64(u)}}
}

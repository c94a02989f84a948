package moment

import (
	"context"
	"database/sql"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/momentpb"
)

// remove deletes one of the caller's moments, with its likes and comments.
func (p *Moment) remove(ctx context.Context, call *plugin.Call, req *momentpb.DeleteMomentRequest) (*momentpb.DeleteMomentReply, error) {
	err := p.own(ctx, call.User, req.MomentId, func(tx *sql.Tx, m *moment) error {
		return p.drop(ctx, tx, m)
	})
	if err != nil {
		return nil, err
	}
	p.awake()
	return &momentpb.DeleteMomentReply{}, nil
}

// drop deletes a moment that the transaction has locked, and lets its files go.
func (p *Moment) drop(ctx context.Context, tx *sql.Tx, m *moment) error {
	if err := p.store.drop(ctx, tx, m, p.host.Now().UnixMilli()); err != nil {
		return err
	}
	return p.files.Release(ctx, tx, m.holder())
}

// own runs fn in a transaction that has locked one of the user's moments.
func (p *Moment) own(ctx context.Context, user im.UserID, id string, fn func(tx *sql.Tx, m *moment) error) error {
	if _, err := im.ParseMessageID(id); err != nil {
		return im.Invalid("moment_id", "must be the ID of a moment")
	}
	was, err := p.store.moment(ctx, p.store.db, id)
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	if was == nil || was.author != user { // another's is not locked
		return notFound("moment_id", "moment of yours")
	}
	return refusal(ctx, p.store.tx(ctx, func(tx *sql.Tx) error {
		m, err := p.store.lock(ctx, tx, id)
		if err != nil {
			return err
		}
		if m == nil {
			return notFound("moment_id", "moment of yours")
		}
		return fn(tx, m)
	}))
}

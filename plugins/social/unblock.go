package social

import (
	"context"
	"database/sql"
	"fmt"

	"freeim/core/plugin"
	"freeim/idl/kitex_gen/socialpb"
)

// unblock ends a block of the caller's. Applications that it hid stay hidden: who made one
// can take it back and apply anew. Again, it changes nothing.
func (p *Social) unblock(ctx context.Context, call *plugin.Call, req *socialpb.UnblockRequest) (*socialpb.UnblockReply, error) {
	whom, err := somebody(call, req.UserId)
	if err != nil {
		return nil, err
	}
	err = p.between(ctx, func(tx *sql.Tx, people []*person) ([]plugin.Event, error) {
		result, err := tx.ExecContext(ctx, "DELETE FROM social_blocks WHERE user_id = ? AND blocked_id = ?", int64(call.User), int64(whom))
		if err != nil {
			return nil, fmt.Errorf("delete a block: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return nil, err
		}
		people[0].blocks--
		return []plugin.Event{event(call.User, "unblocked", userData{whom}, call.User)}, nil
	}, call.User, whom, nil)
	return &socialpb.UnblockReply{}, err
}

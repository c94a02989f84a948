package social

import (
	"context"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/socialpb"
)

const (
	usualBlocks = 100
	mostBlocks  = 500
)

const blocksQuery = "SELECT blocked_id, since_ms FROM social_blocks WHERE user_id = ? AND blocked_id > ? ORDER BY blocked_id LIMIT ?"

// block is a row of social_blocks, of a person who is known.
type block struct {
	whom    im.UserID
	sinceMs int64
}

func (s *store) blocksOf(ctx context.Context, u im.UserID, after int64, limit int) (all []block, err error) {
	rows, err := s.db.QueryContext(ctx, blocksQuery, int64(u), after, limit)
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var b block
		if err := rows.Scan(&b.whom, &b.sinceMs); err != nil {
			return nil, fmt.Errorf("read a block: %w", err)
		}
		all = append(all, b)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	return all, nil
}

// listBlocks gives a page of those whom the caller blocks.
func (p *Social) listBlocks(ctx context.Context, call *plugin.Call, req *socialpb.BlocksRequest) (*socialpb.BlocksReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualBlocks, mostBlocks)
	if err != nil {
		return nil, err
	}
	after, err := parseCursor("cursor", req.Cursor, blocksList, call.User)
	if err != nil {
		return nil, err
	}
	if after == nil {
		after = &cursor{}
	}
	me, err := p.store.person(ctx, p.store.db, call.User)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	all, err := p.store.blocksOf(ctx, call.User, after.a, limit+1)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep := &socialpb.BlocksReply{HasMore: len(all) > limit, Total: int32(me.blocks)}
	if rep.HasMore {
		all = all[:limit]
		rep.Next = cursor{list: blocksList, user: call.User, a: int64(all[limit-1].whom)}.String()
	}
	var others []im.UserID
	for _, b := range all {
		others = append(others, b.whom)
	}
	people, err := p.shown(ctx, others)
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		rep.Blocked = append(rep.Blocked, &socialpb.Blocked{Person: people[b.whom], SinceMs: b.sinceMs})
	}
	return rep, nil
}

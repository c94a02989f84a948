package social

import (
	"context"
	"database/sql"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
)

// block keeps somebody from writing to the caller. A friend stays one; what either has
// applied for ends. Only the caller's devices are told. Again, it changes nothing.
func (p *Social) block(ctx context.Context, call *plugin.Call, req *socialpb.BlockRequest) (*socialpb.BlockReply, error) {
	whom, err := somebody(call, req.UserId)
	if err != nil {
		return nil, err
	}
	if _, err := p.must(ctx, whom); err != nil {
		return nil, err
	}
	nowMs := p.host.Now().UnixMilli()
	err = p.change(ctx, func(tx *sql.Tx, people []*person) ([]plugin.Event, error) {
		me, him := people[0], people[1]
		s, err := p.standing(ctx, tx, me.user, him.user)
		switch {
		case err != nil || s.iBlock:
			return nil, err
		case me.blocks >= p.config.MaxBlocks:
			return nil, im.Errorf(idl.CodeLimitExceeded, "%d is the most people that one can block", p.config.MaxBlocks)
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO social_blocks (user_id, blocked_id, since_ms) VALUES (?, ?, ?)", int64(me.user), int64(him.user), nowMs); err != nil {
			return nil, fmt.Errorf("insert a block: %w", err)
		}
		me.blocks++
		events := []plugin.Event{event(me.user, "blocked", userData{him.user}, me.user)}
		if s.incoming.state == pending && s.incoming.open() { // he is not to learn of it
			hidden := s.incoming
			hidden.state = unseen
			if err := p.store.putApplication(ctx, tx, him, me, s.incoming, hidden); err != nil {
				return nil, err
			}
		}
		if !s.outgoing.open() {
			return events, nil
		}
		taken, err := p.takeBack(ctx, tx, me, him, s.outgoing, nowMs)
		return append(events, taken...), err
	}, call.User, whom)
	return &socialpb.BlockReply{}, err
}

// userData is that of an event about one person.
type userData struct {
	User im.UserID `json:"user_id"`
}

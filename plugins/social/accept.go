package social

import (
	"context"
	"database/sql"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/socialpb"
)

// accept makes friends with somebody who has applied. Who is a friend by now is one: a resend
// gets what the first got.
func (p *Social) accept(ctx context.Context, call *plugin.Call, req *socialpb.AcceptRequest) (*socialpb.AcceptReply, error) {
	from, err := somebody(call, req.UserId)
	if err != nil {
		return nil, err
	}
	if _, err := p.must(ctx, from); err != nil {
		return nil, err
	}
	nowMs := p.host.Now().UnixMilli()
	var made friend
	err = p.change(ctx, func(tx *sql.Tx, people []*person) ([]plugin.Event, error) {
		s, err := p.standing(ctx, tx, call.User, from)
		if err != nil {
			return nil, err
		}
		if made = s.mine; made.state == mutual {
			return nil, nil
		}
		if s.incoming.state != pending || !s.incoming.holds(nowMs) {
			return nil, noApplication("of this person's to accept")
		}
		if made, err = p.befriend(ctx, tx, people[0], people[1], nowMs); err != nil {
			return nil, err
		}
		return []plugin.Event{event(call.User, "accepted", two{from, call.User}, call.User, from)}, nil
	}, call.User, from)
	if err != nil {
		return nil, err
	}
	shown, err := p.shownFriend(ctx, made)
	return &socialpb.AcceptReply{Friend: shown}, err
}

// shownFriend is an entry of a list as its owner sees it.
func (p *Social) shownFriend(ctx context.Context, f friend) (*socialpb.Friend, error) {
	person, err := p.shown(ctx, []im.UserID{f.other})
	if err != nil {
		return nil, err
	}
	return wireFriend(f, person), nil
}

func wireFriend(f friend, people map[im.UserID]*socialpb.Person) *socialpb.Friend {
	if f.state == gone {
		return &socialpb.Friend{Person: &socialpb.Person{UserId: int64(f.other)}, Removed: true}
	}
	return &socialpb.Friend{Person: people[f.other], Alias: f.alias, GroupId: f.group, SinceMs: f.sinceMs}
}

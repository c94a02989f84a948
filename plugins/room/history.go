package room

import (
	"context"
	"errors"

	"freeim/core/plugin"
	"freeim/idl/kitex_gen/roompb"
)

const (
	usualHistory = 50
	mostEntries  = 100 // in a page of history, or with a join
)

// history reads the room's log: backward from before_seq (0: the end) or forward from
// after_seq. The session must be in the room: who was put out reads no more.
func (p *Room) history(ctx context.Context, call *plugin.Call, req *roompb.RoomHistoryRequest) (*roompb.RoomHistoryReply, error) {
	name, err := canonical(req.Room)
	if err != nil {
		return nil, err
	}
	if err := p.inside(ctx, call, name); err != nil {
		return nil, err
	}
	limit, err := plugin.PageLimit(req.Limit, usualHistory, mostEntries)
	if err != nil {
		return nil, err
	}
	page, err := plugin.History(ctx, p.timelines, conversation(name), plugin.Span{BeforeSeq: req.BeforeSeq, AfterSeq: req.AfterSeq}, limit)
	if err != nil {
		return nil, err
	}
	all, err := shownAll(page.Items)
	if err != nil {
		return nil, err
	}
	n := p.fits(all, call.Codec)
	return &roompb.RoomHistoryReply{Messages: all[:n], HasMore: page.HasMore || n < len(all), Floor: page.Floor}, nil
}

// inside refuses a session that is not in the room, and one whose edge has not heard
// yet that it was put out for good.
func (p *Room) inside(ctx context.Context, call *plugin.Call, name string) error {
	if !call.In(conversation(name)) {
		return outside()
	}
	s, err := p.states.get(ctx, key{name, call.User})
	switch {
	case errors.Is(err, errUnknown): // its row is lost: nobody is banned
		return nil
	case err != nil:
		return plugin.Stored(ctx, err)
	}
	return p.admits(s, call.User)
}

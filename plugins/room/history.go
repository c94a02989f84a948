package room

import (
	"context"
	"errors"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
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
	page, err := p.log(ctx, conversation(name), req)
	if err != nil {
		return nil, err
	}
	all, err := shownAll(page.Items)
	if err != nil {
		return nil, err
	}
	n := fits(all, p.config.PageBytes, call.Codec)
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
	case errors.Is(err, errUnknown): // made by another core just now: nobody is banned
		return nil
	case err != nil:
		return stored(ctx, err)
	}
	return p.admits(s, call.User)
}

func (p *Room) log(ctx context.Context, c im.ConversationID, req *roompb.RoomHistoryRequest) (page timeline.Page[im.Message], err error) {
	limit, err := pageLimit(req.Limit, usualHistory, mostEntries)
	switch {
	case err != nil:
		return page, err
	case req.BeforeSeq < 0:
		return page, im.Invalid("before_seq", "must not be negative")
	case req.AfterSeq < 0:
		return page, im.Invalid("after_seq", "must not be negative")
	case req.BeforeSeq > 0 && req.AfterSeq > 0:
		return page, im.Invalid("after_seq", "give before_seq or after_seq, not both")
	case req.AfterSeq > 0:
		page, err = p.timelines.Log(ctx, c, req.AfterSeq, limit)
	default:
		page, err = p.timelines.LogBefore(ctx, c, req.BeforeSeq, limit)
	}
	if err != nil {
		return page, stored(ctx, err)
	}
	return page, nil
}

// pageLimit applies the rule for a request's limit.
func pageLimit(asked int32, usual, most int) (int, error) {
	switch {
	case asked == 0:
		return usual, nil
	case asked < 0 || int(asked) > most:
		return 0, im.Invalid("limit", "must be 1-%d", most)
	}
	return int(asked), nil
}

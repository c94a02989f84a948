package chat

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// readers tells who has read a message of a group: found when somebody asks, by what each has read up to. Nothing
// is written, or pushed, for that.
func (p *Chat) readers(ctx context.Context, call *plugin.Call, req *chatpb.ReadersRequest) (*chatpb.ReadersReply, error) {
	c, peer, err := p.conversation(req.ConversationId, 0, "conversation_id", call.User)
	if err != nil {
		return nil, err
	}
	if req.Seq < 1 || req.Seq > idl.MaxSafeInteger {
		return nil, im.Invalid("seq", "must be a message's")
	}
	watched, ok := p.owners[c.Type()].(plugin.Watched)
	if peer != 0 || !ok {
		return nil, &im.Error{Code: idl.CodePermissionDenied, Field: "conversation_id", Reason: "nobody is told there who has read"}
	}
	if err := p.mayLook(ctx, call.User); err != nil {
		return nil, err
	}
	people, err := watched.Readers(ctx, c, call.User, req.Seq, p.config.ReadersMembers)
	if err != nil {
		return nil, refusal(ctx, err)
	}
	page, _, err := p.log(ctx, c, 0, call.User, plugin.Span{BeforeSeq: req.Seq + 1}, 1)
	if err != nil {
		return nil, err
	}
	there := len(page.Items) > 0 && page.Items[0].Seq == req.Seq
	if !there || page.Items[0].Sender != call.User { // one's own that others see goes before one of that seq that nobody sees
		own, err := p.shadows(ctx, c, call.User, call.Codec)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(own, func(m *chatpb.Message) bool { return m.Seq == req.Seq }) { // as one that nobody has read yet
			return &chatpb.ReadersReply{Of: int32(len(slices.DeleteFunc(people, func(u im.UserID) bool { return u == call.User })))}, nil
		}
	}
	if !there {
		return nil, &im.Error{Code: idl.CodeNotFound, Field: "seq", Reason: "no message that you may read"}
	}
	people = slices.DeleteFunc(people, func(u im.UserID) bool { return u == page.Items[0].Sender })
	rep := &chatpb.ReadersReply{Of: int32(len(people))}
	read, err := p.timelines.Positions(ctx, c+readMark, people)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	silent, err := p.silent(ctx, people)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	for i, u := range people {
		if read[i] >= req.Seq && !silent[u] {
			rep.UserIds = append(rep.UserIds, int64(u))
		}
	}
	return rep, nil
}

// silent are those of people who tell nobody what they have read.
func (p *Chat) silent(ctx context.Context, people []im.UserID) (map[im.UserID]bool, error) {
	found := map[im.UserID]bool{}
	for some := range slices.Chunk(people, followsAtOnce) {
		args := make([]any, len(some))
		for i, u := range some {
			args[i] = int64(u)
		}
		rows, err := p.host.DB().QueryContext(ctx, silentOf+"(?"+strings.Repeat(", ?", len(some)-1)+")", args...)
		if err != nil {
			return nil, fmt.Errorf("look up settings: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var u im.UserID
			if err := rows.Scan(&u); err != nil {
				return nil, fmt.Errorf("read a setting: %w", err)
			}
			found[u] = true
		}
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("look up settings: %w", err)
		}
	}
	return found, nil
}

const silentOf = "SELECT user_id FROM chat_settings WHERE read_receipts = 0 AND user_id IN "

package moment

import (
	"context"
	"maps"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/momentpb"
)

// This file is what the lists of moments have in common.

// What a page of moments may hold.
const (
	momentsPage  = 20
	momentsPages = 50
)

// place reads the cursor and the limit of a request for moments.
func placeOf(cursor string, asked int32) (before string, limit int, err error) {
	if before, err = behind(cursor); before == "" {
		before = newest
	}
	if err == nil {
		limit, err = plugin.PageLimit(asked, momentsPage, momentsPages)
	}
	return before, limit, err
}

// behind checks a cursor, which is the ID behind which a page begins, and says nothing else.
func behind(cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	if _, err := im.ParseMessageID(cursor); err != nil {
		return "", im.Invalid("cursor", "must be one that a page before gave")
	}
	return cursor, nil
}

// span is the IDs of a page, with the place behind it.
type span struct {
	ids  []string
	at   string
	more bool
}

// spanOf is that of up to limit of the IDs, of which one more than that shows that there are more.
func spanOf(ids []string, limit int) span {
	s := span{ids: ids, more: len(ids) > limit}
	if s.more {
		s.ids = ids[:limit]
	}
	if len(s.ids) > 0 {
		s.at = s.ids[len(s.ids)-1]
	}
	return s
}

// page is the reply with those of the span that v sees.
func (p *Moment) page(ctx context.Context, call *plugin.Call, v *view, s span) (*momentpb.MomentsReply, error) {
	all, err := p.store.byIDs(ctx, s.ids)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	some, err := p.seen(ctx, v, all)
	if err != nil {
		return nil, err
	}
	if n := plugin.Fits(some, p.config.PageBytes, func(m *moment) int { return m.size(call) }); n < len(some) {
		some = some[:n]
		s.at, s.more = some[n-1].id, true
	}
	rep := &momentpb.MomentsReply{HasMore: s.more}
	if s.more {
		rep.Cursor = s.at
	}
	rep.Moments, err = p.shown(ctx, v, some)
	return rep, err
}

// perMoment are the IDs, times and names around a text, in JSON; perListed one of user_ids.
const (
	perMoment = 320
	perListed = 20
)

// size is about what the moment takes in a reply.
func (m *moment) size(call *plugin.Call) int {
	size := perMoment + plugin.SizeOf(m.text, call.Codec)
	for _, image := range m.media.Images {
		size += plugin.SizeOf(image, call.Codec) + 8
	}
	if v := m.media.Video; v != nil {
		size += plugin.SizeOf(v.URL+v.Cover, call.Codec) + 64
	}
	if at := m.media.Place; at != nil {
		size += plugin.SizeOf(at.Name, call.Codec) + 100
	}
	if m.named() && m.author == call.User {
		size += perListed * mostListed
	}
	return size
}

// shown are moments as v sees them.
func (p *Moment) shown(ctx context.Context, v *view, all []*moment) ([]*momentpb.Moment, error) {
	if len(all) == 0 {
		return nil, nil
	}
	var ids, named []string
	for _, m := range all {
		ids = append(ids, m.id)
		if m.named() && m.author == v.user {
			named = append(named, m.id)
		}
	}
	liked, err := p.store.likedBy(ctx, v.user, ids)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	hidden, err := p.hidden(ctx, v, ids)
	if err != nil {
		return nil, err
	}
	lists, err := p.store.lists(ctx, p.store.db, named)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	out := make([]*momentpb.Moment, len(all))
	for i, m := range all {
		one := &momentpb.Moment{
			Id: m.id, AuthorId: int64(m.author), TimeMs: m.madeMs, Text: m.text, Images: m.media.Images, Liked: liked[m.id],
			Likes: max(0, m.likes-hidden[m.id].likes), Comments: max(0, m.comments-hidden[m.id].comments),
		}
		if film := m.media.Video; film != nil {
			one.Video = &momentpb.MomentVideo{Url: film.URL, Cover: film.Cover, DurationMs: film.DurationMs}
		}
		if at := m.media.Place; at != nil {
			one.Place = &momentpb.MomentPlace{Name: at.Name, Latitude: at.Latitude, Longitude: at.Longitude}
		}
		if m.author == v.user {
			one.Visibility, one.UserIds, one.Review, one.ReviewReason, one.ClientId = m.visibility, lists[m.id], m.state, m.reason, m.clientID
		}
		out[i] = one
	}
	return out, nil
}

// counts are a moment's likes and comments.
type counts struct{ likes, comments int64 }

// mostHidden bounds the blocked people whose likes and comments are looked for.
const mostHidden = 500

// hidden counts the likes and comments of people that v does not see because of a block.
func (p *Moment) hidden(ctx context.Context, v *view, ids []string) (map[string]counts, error) {
	blocked := slices.Sorted(maps.Keys(v.blocked)) // always the same of them
	found, err := p.store.countsBy(ctx, blocked[:min(len(blocked), mostHidden)], ids)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return found, nil
}

package moment

import (
	"context"
	"database/sql"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/momentpb"
)

// like notes that the caller likes a moment. Again it changes nothing; after it was taken back
// it counts again, but the author is told the first time only.
func (p *Moment) like(ctx context.Context, call *plugin.Call, req *momentpb.LikeRequest) (*momentpb.LikeReply, error) {
	_, v, err := p.look(ctx, call.User, req.MomentId)
	if err != nil {
		return nil, err
	}
	if wait := p.liked.Take(ctx, call.User.String()); wait > 0 {
		return nil, limited(wait, "likes")
	}
	var is *moment
	err = p.store.tx(ctx, func(tx *sql.Tx) (err error) {
		if is, err = p.lockSeen(ctx, tx, v, req.MomentId); err != nil {
			return err
		}
		was, err := p.store.like(ctx, tx, is.id, call.User)
		if err != nil || was != nil && !was.gone {
			return err
		}
		l := like{moment: is.id, user: call.User, id: p.newID(call.User), madeMs: p.host.Now().UnixMilli()}
		if err := p.store.putLike(ctx, tx, was, l); err != nil {
			return err
		}
		is.likes++
		if err := p.store.count(ctx, tx, is.id, 1, 0); err != nil {
			return err
		}
		if was != nil || is.author == call.User {
			return nil
		}
		return p.tell(ctx, tx, call.User, "liked", told{Moment: is.id}, is.author)
	})
	if err != nil {
		return nil, refusal(ctx, err)
	}
	p.messages.Deliver()
	n, err := p.likesNow(ctx, v, is)
	return &momentpb.LikeReply{Likes: n}, err
}

// lockSeen locks a moment that v saw a moment ago, if he still does.
func (p *Moment) lockSeen(ctx context.Context, tx *sql.Tx, v *view, id string) (*moment, error) {
	m, err := p.store.lock(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	if m != nil {
		listed, err := p.store.listed(ctx, tx, v.user, []string{id})
		if err != nil {
			return nil, err
		}
		if v.may(m, listed[id]) {
			return m, nil
		}
	}
	return nil, notFound("moment_id", "moment")
}

// likesNow is how many likes of a moment v sees.
func (p *Moment) likesNow(ctx context.Context, v *view, m *moment) (int64, error) {
	hidden, err := p.hidden(ctx, v, []string{m.id})
	return max(0, m.likes-hidden[m.id].likes), err
}

// unlike takes the caller's like back, also of a moment that he does not see any more.
func (p *Moment) unlike(ctx context.Context, call *plugin.Call, req *momentpb.UnlikeRequest) (*momentpb.UnlikeReply, error) {
	m, v, err := p.find(ctx, call.User, req.MomentId)
	if err != nil {
		return nil, err
	}
	if wait := p.liked.Take(ctx, call.User.String()); wait > 0 {
		return nil, limited(wait, "likes")
	}
	sees, err := p.seen(ctx, v, []*moment{m})
	if err != nil {
		return nil, err
	}
	err = p.store.tx(ctx, func(tx *sql.Tx) error {
		if m, err = p.store.lock(ctx, tx, req.MomentId); err != nil {
			return err
		}
		if m == nil {
			return notFound("moment_id", "moment")
		}
		was, err := p.store.like(ctx, tx, m.id, call.User)
		switch {
		case err != nil:
			return err
		case was == nil && len(sees) == 0:
			return notFound("moment_id", "moment")
		case was == nil || was.gone:
			return nil
		}
		l := *was
		l.gone = true
		if err := p.store.putLike(ctx, tx, was, l); err != nil {
			return err
		}
		m.likes--
		return p.store.count(ctx, tx, m.id, -1, 0)
	})
	if err != nil {
		return nil, refusal(ctx, err)
	}
	if len(sees) == 0 { // it is not for him how many there are
		return &momentpb.UnlikeReply{}, nil
	}
	n, err := p.likesNow(ctx, v, m)
	return &momentpb.UnlikeReply{Likes: n}, err
}

// likes lists who likes a moment, as far as the caller knows of them.
func (p *Moment) likes(ctx context.Context, call *plugin.Call, req *momentpb.LikesRequest) (*momentpb.LikesReply, error) {
	likes := listing[like]{
		read: func(ctx context.Context, moment, after string, n int) ([]like, error) {
			return p.store.likes(ctx, p.store.db, momentLikes, moment, after, n)
		},
		id:     func(l like) string { return l.id },
		author: func(l like) im.UserID { return l.user },
	}
	page, err := likes.page(ctx, p, call.User, req.MomentId, req.Cursor, req.Limit)
	if err != nil {
		return nil, err
	}
	rep := &momentpb.LikesReply{HasMore: page.at != "", Cursor: page.at}
	for _, l := range page.items {
		rep.Likes = append(rep.Likes, &momentpb.MomentLike{UserId: int64(l.user), TimeMs: l.madeMs})
	}
	return rep, nil
}

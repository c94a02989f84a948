package moment

import (
	"context"
	"database/sql"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/momentpb"
)

func (p *Moment) validateComment(_ *plugin.Call, req *momentpb.CommentRequest) error {
	if err := plugin.ValidateClientID(req.ClientId); err != nil {
		return err
	}
	if _, err := im.ParseMessageID(req.MomentId); err != nil {
		return im.Invalid("moment_id", "must be the ID of a moment")
	}
	if _, err := im.ParseMessageID(req.ReplyTo); err != nil && req.ReplyTo != "" {
		return im.Invalid("reply_to", "must be the ID of a comment")
	}
	return im.CheckText("text", req.Text, 1, p.config.MaxComment)
}

// answeredComment gives the reply of a comment that was made before.
func (p *Moment) answeredComment(ctx context.Context, call *plugin.Call, req *momentpb.CommentRequest) (*momentpb.CommentReply, error) {
	if err := sign(call, req); err != nil {
		return nil, err
	}
	was, err := p.store.filedComment(ctx, p.store.db, call.User, req.ClientId)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return commentedBefore(call, was)
}

func commentedBefore(call *plugin.Call, was *filed) (*momentpb.CommentReply, error) {
	switch {
	case was == nil:
		return nil, nil
	case was.digest != digestOf(call):
		return nil, conflict()
	}
	return &momentpb.CommentReply{CommentId: was.id, TimeMs: was.madeMs, Text: was.text, Duplicate: true}, nil
}

// permitComment refuses a comment on what the caller does not see, before a rule is asked.
func (p *Moment) permitComment(ctx context.Context, call *plugin.Call, req *momentpb.CommentRequest) error {
	_, _, err := p.look(ctx, call.User, req.MomentId)
	return err
}

// comment files a comment on a moment, or on a comment on it.
func (p *Moment) comment(ctx context.Context, call *plugin.Call, req *momentpb.CommentRequest) (rep *momentpb.CommentReply, err error) {
	m, v, err := p.look(ctx, call.User, req.MomentId)
	if err != nil {
		return nil, err
	}
	first, err := p.replied(ctx, v, m, req.ReplyTo)
	if err != nil {
		return nil, err
	}
	if wait := p.commented.Take(ctx, call.User.String()); wait > 0 {
		return nil, limited(wait, "comments")
	}
	c := comment{moment: m.id, author: call.User, clientID: req.ClientId, digest: digestOf(call), madeMs: p.host.Now().UnixMilli(), text: req.Text}
	if first != nil {
		c.replyTo, c.replyToUser = req.ReplyTo, first.user
	}
	err = p.store.tx(ctx, func(tx *sql.Tx) error {
		m, err := p.lockSeen(ctx, tx, v, req.MomentId)
		if err != nil {
			return err
		}
		was, err := p.store.filedComment(ctx, tx, call.User, req.ClientId)
		if err != nil {
			return err
		}
		if rep, err = commentedBefore(call, was); rep != nil || err != nil {
			return err
		}
		if there, err := p.thereStill(ctx, tx, c.replyTo); !there || err != nil {
			return orElse(err, notFound("reply_to", "comment"))
		}
		c.id = p.newID(call.User)
		if err := p.store.putComment(ctx, tx, c); err != nil {
			return err
		}
		if err := p.store.count(ctx, tx, m.id, 0, 1); err != nil {
			return err
		}
		return p.tellOfComment(ctx, tx, m, c, first)
	})
	if err != nil || rep != nil {
		p.commented.GiveBack(ctx, call.User.String())
		return rep, p.orConflict(ctx, call, req, err)
	}
	p.messages.Deliver()
	return &momentpb.CommentReply{CommentId: c.id, TimeMs: c.madeMs, Text: c.text}, nil
}

// orConflict is err as the client sees it: two comments of one client ID at once, on two moments,
// break a unique index, which engines report in words of their own.
func (p *Moment) orConflict(ctx context.Context, call *plugin.Call, req *momentpb.CommentRequest, err error) error {
	if err == nil {
		return nil
	}
	if was, lookErr := p.store.filedComment(ctx, p.store.db, call.User, req.ClientId); lookErr == nil && was != nil && was.digest != digestOf(call) {
		return conflict()
	}
	return refusal(ctx, err)
}

// replied finds the comment that is replied to, and how its author stands to the moment's, who is
// to be told if he still sees the moment. Nil: there is none to find.
func (p *Moment) replied(ctx context.Context, v *view, m *moment, id string) (*view, error) {
	if id == "" {
		return nil, nil
	}
	to, err := p.store.comment(ctx, p.store.db, id)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if to == nil || to.moment != m.id {
		return nil, notFound("reply_to", "comment")
	}
	if err := p.meet(ctx, v, to.author); err != nil {
		return nil, err
	}
	if !v.knows(to.author) {
		return nil, notFound("reply_to", "comment")
	}
	return p.near(ctx, to.author, m.author)
}

func (p *Moment) thereStill(ctx context.Context, tx *sql.Tx, id string) (bool, error) {
	if id == "" {
		return true, nil
	}
	c, err := p.store.comment(ctx, tx, id)
	return c != nil, err
}

// orElse is err, or what is said if there is none.
func orElse(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// deleteComment deletes a comment of the caller's, or one on a moment of his.
func (p *Moment) deleteComment(ctx context.Context, call *plugin.Call, req *momentpb.DeleteCommentRequest) (*momentpb.DeleteCommentReply, error) {
	if _, err := im.ParseMessageID(req.CommentId); err != nil {
		return nil, im.Invalid("comment_id", "must be the ID of a comment")
	}
	was, err := p.store.comment(ctx, p.store.db, req.CommentId)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	none := notFound("comment_id", "comment that you may delete")
	if was == nil {
		return nil, none
	}
	err = p.store.tx(ctx, func(tx *sql.Tx) error {
		m, err := p.store.lock(ctx, tx, was.moment)
		if err != nil {
			return err
		}
		c, err := p.store.comment(ctx, tx, req.CommentId)
		if err != nil {
			return err
		}
		if m == nil || c == nil || c.author != call.User && m.author != call.User {
			return none
		}
		return p.uncomment(ctx, tx, c)
	})
	if err != nil {
		return nil, refusal(ctx, err)
	}
	return &momentpb.DeleteCommentReply{}, nil
}

// uncomment deletes a comment whose moment the transaction has locked.
func (p *Moment) uncomment(ctx context.Context, tx *sql.Tx, c *comment) error {
	if err := p.store.dropComment(ctx, tx, c.id); err != nil {
		return err
	}
	if err := p.store.count(ctx, tx, c.moment, 0, -1); err != nil {
		return err
	}
	return p.store.putGone(ctx, tx, gone{goneComment, c.author, c.clientID, c.digest, c.id, c.madeMs, p.host.Now().UnixMilli(), true})
}

// comments lists the comments on a moment, as far as the caller knows of their authors.
func (p *Moment) comments(ctx context.Context, call *plugin.Call, req *momentpb.CommentsRequest) (*momentpb.CommentsReply, error) {
	comments := listing[comment]{
		read: func(ctx context.Context, moment, after string, n int) ([]comment, error) {
			return p.store.comments(ctx, p.store.db, momentComments, moment, after, n)
		},
		id:     func(c comment) string { return c.id },
		author: func(c comment) im.UserID { return c.author },
		others: func(c comment) im.UserID { return c.replyToUser },
	}
	page, err := comments.page(ctx, p, call.User, req.MomentId, req.Cursor, req.Limit)
	if err != nil {
		return nil, err
	}
	if n := plugin.Fits(page.items, p.config.PageBytes, func(c comment) int { return perMoment + plugin.SizeOf(c.text, call.Codec) }); n < len(page.items) {
		page.items = page.items[:n]
		page.at = page.items[n-1].id
	}
	rep := &momentpb.CommentsReply{HasMore: page.at != "", Cursor: page.at}
	for _, c := range page.items {
		one := &momentpb.MomentComment{Id: c.id, MomentId: c.moment, AuthorId: int64(c.author), TimeMs: c.madeMs, Text: c.text}
		if page.view.knows(c.replyToUser) {
			one.ReplyTo, one.ReplyToUserId = c.replyTo, int64(c.replyToUser)
		}
		rep.Comments = append(rep.Comments, one)
	}
	return rep, nil
}

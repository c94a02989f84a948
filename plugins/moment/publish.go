package moment

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/momentpb"
)

func (p *Moment) validatePublish(call *plugin.Call, req *momentpb.PublishMomentRequest) error {
	if err := plugin.ValidateClientID(req.ClientId); err != nil {
		return err
	}
	if _, err := p.contentOf(req); err != nil {
		return err
	}
	_, err := listedOf(req.Visibility, req.UserIds, call.User)
	return err
}

// answeredPublish gives the reply of a moment that was published before.
func (p *Moment) answeredPublish(ctx context.Context, call *plugin.Call, req *momentpb.PublishMomentRequest) (*momentpb.PublishMomentReply, error) {
	if err := sign(call, req); err != nil {
		return nil, err
	}
	was, err := p.store.filedMoment(ctx, p.store.db, call.User, req.ClientId)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return publishedBefore(call, was)
}

// sign sets the digest of a request as it came.
func sign(call *plugin.Call, req idl.Message) error {
	b, err := req.Marshal(nil)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	call.Digest = sha256.Sum256(b)
	return nil
}

func digestOf(call *plugin.Call) string { return hex.EncodeToString(call.Digest[:]) }

// conflict is the refusal of a client ID that was used for something else.
func conflict() error {
	return &im.Error{Code: idl.CodeConflict, Field: "client_id", Reason: "used before for something else"}
}

func publishedBefore(call *plugin.Call, was *filed) (*momentpb.PublishMomentReply, error) {
	switch {
	case was == nil:
		return nil, nil
	case was.digest != digestOf(call):
		return nil, conflict()
	}
	return &momentpb.PublishMomentReply{MomentId: was.id, TimeMs: was.madeMs, Review: was.state, Duplicate: true}, nil
}

// publish files a moment.
func (p *Moment) publish(ctx context.Context, call *plugin.Call, req *momentpb.PublishMomentRequest) (rep *momentpb.PublishMomentReply, err error) {
	content, err := p.contentOf(req)
	if err != nil {
		return nil, err
	}
	listed, err := listedOf(req.Visibility, req.UserIds, call.User)
	if err != nil {
		return nil, err
	}
	if wait := p.published.Take(ctx, call.User.String()); wait > 0 {
		return nil, limited(wait, "moments")
	}
	m := &moment{author: call.User, clientID: req.ClientId, digest: digestOf(call), madeMs: p.host.Now().UnixMilli(), text: req.Text, media: content,
		visibility: req.Visibility}
	if p.config.Review == reviewBefore {
		m.state = waiting
	}
	err = p.store.byAuthor(ctx, call.User, func(tx *sql.Tx) error {
		was, err := p.store.filedMoment(ctx, tx, call.User, req.ClientId)
		if err != nil {
			return err
		}
		if rep, err = publishedBefore(call, was); rep != nil || err != nil {
			return err
		}
		m.id = p.newID(call.User)
		if err := p.store.put(ctx, tx, m, listed); err != nil {
			return err
		}
		return p.useFiles(ctx, tx, m)
	})
	if err != nil || rep != nil {
		p.published.GiveBack(ctx, call.User.String())
		return rep, refusal(ctx, err)
	}
	return &momentpb.PublishMomentReply{MomentId: m.id, TimeMs: m.madeMs, Review: m.state}, nil
}

// useFiles has the files that a moment shows be kept, if they are the author's.
func (p *Moment) useFiles(ctx context.Context, tx *sql.Tx, m *moment) error {
	uses := []plugin.FileUse{{Field: "images", Type: "image/", IDs: plugin.FilesOf(m.media.Images...)}}
	if v := m.media.Video; v != nil {
		uses = append(uses, plugin.FileUse{Field: "video.url", Type: "video/", IDs: plugin.FilesOf(v.URL)},
			plugin.FileUse{Field: "video.cover", Type: "image/", IDs: plugin.FilesOf(v.Cover)})
	}
	for _, u := range uses {
		if len(u.IDs) == 0 {
			continue
		}
		u.Holder, u.User = m.holder(), m.author
		if _, err := p.files.Use(ctx, tx, u); err != nil {
			return err
		}
	}
	return nil
}

// holder is what a moment is called where files are kept for it.
func (m *moment) holder() string { return "moment:" + m.id }

// newID makes the ID of something of a person's.
func (p *Moment) newID(of im.UserID) string {
	return p.host.MessageIDs().Next(im.NoticesOf(of)).String()
}

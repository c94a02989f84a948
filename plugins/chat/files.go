package chat

import (
	"context"
	"errors"
	"slices"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is how messages keep the uploaded files that they name, where a plugin has such: from before the
// commit until they are recalled.

// holder is a message to who keeps files: it is known before it has an ID.
func holder(sender im.UserID, clientID string) string {
	return "chat:" + sender.String() + ":" + clientID
}

// family is how the media types of a kind begin; empty: any will do.
func family(k chatpb.MessageKind) string {
	switch k {
	case kindImage:
		return "image/"
	case kindVideo:
		return "video/"
	case kindVoice:
		return "audio/"
	}
	return ""
}

// uses are the files that a message names. They must be user's; 0: whoever passes it on may read them.
func uses(holder string, user im.UserID, content *chatpb.Content) []plugin.FileUse {
	media := content.Media
	if media == nil {
		return nil
	}
	return []plugin.FileUse{
		{Holder: holder, User: user, Field: "media.file", Type: family(content.Kind), IDs: plugin.FilesOf(media.File)},
		{Holder: holder, User: user, Field: "media.cover", Type: family(kindImage), IDs: plugin.FilesOf(media.Cover)},
	}
}

// named are the IDs of the files that a message names.
func named(content *chatpb.Content) (ids []string) {
	for _, use := range uses("", 0, content) {
		ids = append(ids, use.IDs...)
	}
	return ids
}

// filing is what one try to send a message did about its files.
type filing struct {
	begun  []string // what the message refers to since this try
	before bool     // it referred to some before: by another try, which may be refused yet, and let them go
}

// useFiles has a message keep its files. They must be its sender's, unless it is a copy: who forwards
// it may read them.
func (p *Chat) useFiles(ctx context.Context, m *message) (f filing, err error) {
	if p.files == nil {
		return f, nil
	}
	owner := m.sender
	if m.content.Origin != nil {
		owner = 0
	}
	for _, use := range uses(holder(m.sender, m.clientID), owner, &m.content) {
		used, err := p.files.Use(ctx, nil, use)
		if err != nil {
			if refused(err) {
				p.dropFiles(ctx, m, f.begun)
			}
			return f, refusal(ctx, err)
		}
		for _, one := range used {
			if one.New {
				f.begun = append(f.begun, one.ID)
			} else {
				f.before = true
			}
		}
	}
	return f, nil
}

// settleFiles sees to a message's files at the end of a try to send it. What another try has begun to refer to may
// have been let go since by that one, so it is referred to once more.
func (p *Chat) settleFiles(ctx context.Context, m *message, f filing, done timeline.Committed, err error) {
	if len(f.begun) == 0 && !f.before {
		return
	}
	if err != nil {
		if refused(err) {
			p.dropFiles(ctx, m, f.begun)
		}
		return
	}
	if !f.before && !done.Duplicate {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTime)
	defer cancel()
	err = p.keepFiles(ctx, m, &m.content)
	// A recall releases files in its own transaction: one that is seen here may have done so before they were referred
	// to again, one that is not yet will.
	at := stored{done.Conversation, done.Seq}
	found, lookErr := p.changes.of(ctx, 0, []stored{at})
	if lookErr == nil && found[at].recalled() || committedExpired(done, p.host.Now()) {
		err = p.files.Release(ctx, nil, holder(m.sender, m.clientID))
	}
	err = errors.Join(err, lookErr)
	if err != nil {
		p.host.Log().Warn("files of a message may be kept for nothing, or not kept", "user", m.sender, "err", err)
	}
}

// keepFiles has the message that is committed under the client ID of m's refer to its files.
func (p *Chat) keepFiles(ctx context.Context, m *message, content *chatpb.Content) error {
	for _, use := range uses(holder(m.sender, m.clientID), 0, content) {
		if _, err := p.files.Use(ctx, nil, use); err != nil {
			return err
		}
	}
	return nil
}

// dropTime bounds what is done about files when nobody waits for it.
const dropTime = 5 * time.Second

// dropFiles has a message that was refused let go of files. Another message may be committed by the same client ID,
// before or meanwhile: what that one names is kept. What cannot be released is kept for nothing.
func (p *Chat) dropFiles(ctx context.Context, m *message, ids []string) {
	if len(ids) == 0 || p.files == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTime)
	defer cancel()
	content, err := p.committedAs(ctx, m)
	if err == nil && content != nil {
		kept := named(content)
		ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(kept, id) })
	}
	if err == nil && len(ids) > 0 {
		err = p.files.Release(ctx, nil, holder(m.sender, m.clientID), ids...)
	}
	if err == nil && content == nil {
		if content, err = p.committedAs(ctx, m); err == nil && content != nil {
			err = p.keepFiles(ctx, m, content)
		}
	}
	if err != nil {
		p.host.Log().Warn("files of a message that is not there are kept", "user", m.sender, "err", err)
	}
}

// committedAs is what is committed under the client ID of a message; nil: nothing.
func (p *Chat) committedAs(ctx context.Context, m *message) (*chatpb.Content, error) {
	done, _, found, err := p.timelines.Find(ctx, m.sender, m.clientID)
	if err != nil || !found {
		return nil, err
	}
	content := new(chatpb.Content)
	return content, content.Unmarshal(done.Body)
}

// refused reports whether an error says for certain that nothing was committed.
func refused(err error) bool {
	_, ok := errors.AsType[*im.Error](err)
	return ok && final(err)
}

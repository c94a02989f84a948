package chat

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is how something becomes of a message: a row beside the log, changed in one transaction
// with an event, which then comes into the same log. README.md tells why.

// The events. Rules, lists and clients know them by these names.
const (
	eventRecalled = "chat.recalled"
	eventEdited   = "chat.edited"
	eventReacted  = "chat.reacted"
)

// mostWindow is the longest time that messages may be changed.
const mostWindow = 10 * 365 * 24 * time.Hour

func (c *Config) validateChanges() error {
	if c.RecallWindow < 0 || c.RecallWindow > mostWindow {
		return im.Invalid("chat.recall_window", "must be 0s-%s, is %s", mostWindow, c.RecallWindow)
	}
	if c.EditWindow < 0 || c.EditWindow > mostWindow {
		return im.Invalid("chat.edit_window", "must be 0s-%s, is %s", mostWindow, c.EditWindow)
	}
	if c.KeepRecalled < 0 || c.KeepRecalled > mostWindow {
		return im.Invalid("chat.keep_recalled", "must be 0s-%s, is %s", mostWindow, c.KeepRecalled)
	}
	if c.Versions != versionsAll && c.Versions != versionsSender && c.Versions != versionsNobody {
		return im.Invalid("chat.versions", "must be all, sender or nobody, is %q", c.Versions)
	}
	if c.ChangesPerMinute < 1 || c.ChangesPerMinute > 6000 {
		return im.Invalid("chat.changes_per_minute", "must be 1-6000, is %d", c.ChangesPerMinute)
	}
	return nil
}

var (
	// errSame ends a change that changes nothing: all is well.
	errSame = errors.New("nothing to change")
	// errUnheard takes a change back that nobody would hear of: who made it does not learn that.
	errUnheard = errors.New("nobody hears of the change")
)

// changing is one change of a message, alone while it lasts.
type changing struct {
	tx  *sql.Tx
	now *became // as it is, and as fn leaves it
	ms  int64
	p   *Chat
}

// noted is what an event says of the message that it is about, until it is told.
type noted struct {
	Seq    int64  `json:"seq"`
	Stored int64  `json:"stored"` // its seq in the log
	ID     string `json:"id"`
	Data   string `json:"data,omitempty"` // of the event
	// Expires is when the message disappears, in ms; 0: it stays.
	Expires int64 `json:"expires,omitempty"`
}

// change runs fn on what became of a message, and has everybody told by an event of that name, whose data
// fn gives. When it returns nil all is committed, and who did it was permitted to as it was; but not if heard is false: then all is only
// answered so.
func (p *Chat) change(ctx context.Context, t *target, actor im.UserID, event string, permit may, heard bool, fn func(ctx context.Context, c *changing) (data string, err error)) (now *became, err error) {
	for tries := 1; ; tries++ {
		holds, err := p.permitted(ctx, t.conversation, permit)
		if err != nil {
			return nil, err
		}
		now, err = p.changeIf(ctx, holds, t, actor, event, heard, fn)
		if !errors.Is(err, errChanged) {
			return now, err
		}
		if tries == mostTries {
			return nil, plugin.Stored(ctx, err)
		}
		if err := again(ctx, tries); err != nil {
			return nil, plugin.Stored(ctx, err)
		}
	}
}

// changeIf is change, if what was permitted holds.
func (p *Chat) changeIf(ctx context.Context, holds func(context.Context, *sql.Tx) error, t *target, actor im.UserID, event string, heard bool, fn func(ctx context.Context, c *changing) (data string, err error)) (now *became, err error) {
	at := stored{t.Message.Conversation, t.Message.Seq}
	for range 3 {
		err = p.host.Tx(ctx, func(tx *sql.Tx) error {
			if err := holds(ctx, tx); err != nil {
				return err
			}
			b, err := p.changes.lock(ctx, tx, at, t.ID.String())
			if err != nil {
				return err
			}
			if expired(t.Message, &t.content, p.host.Now()) {
				return errOver
			}
			now = b
			data, err := fn(ctx, &changing{tx, b, p.host.Now().UnixMilli(), p})
			if err != nil {
				return err
			}
			if !heard {
				return errUnheard
			}
			if err := p.changes.keep(ctx, tx, b); err != nil {
				return err
			}
			note, err := json.Marshal(noted{t.shownSeq, at.seq, b.id, data, expiryMs(t.Message, &t.content)})
			if err != nil {
				return err
			}
			return p.events.addTo(ctx, tx, at.log, actor, event, string(note))
		})
		if _, refused := errors.AsType[*im.Error](err); err == nil || refused || errors.Is(err, errSame) || errors.Is(err, errUnheard) || errors.Is(err, errChanged) || ctx.Err() != nil {
			break
		}
		// Two that begin the same row break its key: the second time the other one is seen.
	}
	switch {
	case errors.Is(err, errSame):
		now.revision-- // what lock counted is undone
		return now, nil
	case errors.Is(err, errUnheard):
		return now, nil
	case errors.Is(err, errChanged):
		return nil, err
	case err != nil:
		return nil, refusal(ctx, err)
	}
	p.Deliver()
	return now, nil
}

// errGone is the refusal of who wants something of a message that was taken back.
var errGone = &im.Error{Code: idl.CodeNotFound, Field: "message_id", Reason: "it was recalled"}

// errOver is the refusal of who wants something of a message that has disappeared.
var errOver = &im.Error{Code: idl.CodeNotFound, Field: "message_id", Reason: "it has disappeared"}

// changeable finds a message of which something may become, for somebody who reads it, and who keeps its
// conversation: nil for a chat.
func (p *Chat) changeable(ctx context.Context, user im.UserID, conversation string, seq int64, id string) (*target, plugin.Keeper, error) {
	c, peer, err := p.conversation(conversation, 0, "conversation_id", user)
	if err != nil {
		return nil, nil, err
	}
	t, err := p.find(ctx, c, peer, user, "message_id", seq, id)
	if err != nil {
		return nil, nil, err
	}
	if t.content.Kind == kindEvent {
		return nil, nil, im.Invalid("message_id", "what happened stays")
	}
	if expired(t.Message, &t.content, p.host.Now()) {
		return nil, nil, errOver
	}
	if peer != 0 {
		return t, nil, nil
	}
	keeper, ok := p.owners[c.Type()].(plugin.Keeper)
	if !ok {
		return nil, nil, &im.Error{Code: idl.CodePermissionDenied, Field: "conversation_id", Reason: "messages stay as they are there"}
	}
	return t, keeper, nil
}

// alterable is changeable for who is to change the message. Announcements the operator alone changes (announce.go), and not
// he whose name they have.
func (p *Chat) alterable(ctx context.Context, user im.UserID, conversation string, seq int64, id string) (*target, plugin.Keeper, error) {
	t, keeper, err := p.changeable(ctx, user, conversation, seq, id)
	if err == nil && t.conversation == im.ToAll {
		err = errOperators
	}
	return t, keeper, err
}

// mayWrite asks the owner of a conversation, if it has one, whether user may say something there of a message that is there: its
// mentions are not asked about again, some of them may have left.
func (p *Chat) mayWrite(t *target, user im.UserID, kind string) may {
	if t.peer != 0 {
		return nil
	}
	return func(ctx context.Context) error {
		if _, err := p.owners[t.conversation.Type()].Send(ctx, t.conversation, user, plugin.Outgoing{Kind: kind}); err != nil {
			return refusal(ctx, err)
		}
		return nil
	}
}

// mayLook bounds how often one person asks what costs the directory more than a page of messages.
func (p *Chat) mayLook(ctx context.Context, user im.UserID) error {
	if wait := p.looks.Take(ctx, user.String()); wait > 0 {
		return &im.Error{Code: idl.CodeRateLimited, Reason: "asked too often", RetryAfter: wait}
	}
	return nil
}

// mayChange bounds how often one person changes messages.
func (p *Chat) mayChange(ctx context.Context, user im.UserID) error {
	if wait := p.changed.Take(ctx, user.String()); wait > 0 {
		return &im.Error{Code: idl.CodeRateLimited, Reason: "too many changes of messages", RetryAfter: wait}
	}
	return nil
}

// heard reports whether the other person of a chat would hear what user does to a message now. Who is not heard
// does not learn it; what a guard refuses openly is refused.
func (p *Chat) heard(ctx context.Context, t *target, user im.UserID) (bool, error) {
	if t.peer == 0 || t.peer == user {
		return true, nil
	}
	m := message{conversation: t.conversation, sender: user, peer: t.peer}
	if err := p.guarded(ctx, &m); err != nil {
		return false, err
	}
	_, shadow := t.Message.Conversation.Shadowed()
	return !m.shadowed || shadow, nil
}

// tellChange commits the event of a change to the log of the message, and pushes it with what became
// of that by now. Done again it commits nothing.
func (p *Chat) tellChange(ctx context.Context, e filed) error {
	var note noted
	if err := json.Unmarshal([]byte(e.Data), &note); err != nil {
		return fmt.Errorf("%w: event %s: %w", timeline.ErrCorrupt, e.id, err)
	}
	return p.toAudience(ctx, e.log, e.Actor, func(to plugin.Audience) error { return p.tellChangeTo(ctx, e, note, to) })
}

func (p *Chat) tellChangeTo(ctx context.Context, e filed, note noted, to plugin.Audience) error {
	now, err := p.changes.one(ctx, p.host.DB(), stored{e.log, note.Stored}, note.ID)
	if err != nil {
		return err
	}
	now = over(stored{e.log, note.Stored}, note.ID, note.Expires, p.host.Now(), now)
	content := chatpb.Content{Kind: kindEvent, Event: e.Name, Data: note.Data, About: &chatpb.Subject{Seq: note.Seq, MessageId: note.ID}, AboutSeq: note.Stored}
	said, err := content.Marshal(nil)
	if err != nil {
		return err
	}
	push := func(done timeline.Committed) { p.pushNow(done, &content, to.Inboxes, presence.SessionRef{}, now) }
	content.AboutExpiresMs = note.Expires // not in the digest: a core of before tells the same event
	if of, shadow := e.log.Shadowed(); shadow {
		if content.ShadowSeq, err = p.nextSeq(ctx, of); err != nil {
			return err
		}
		all, _, err := p.audience(ctx, of, e.Actor)
		if err != nil {
			return err
		}
		if content.Logged = all.Log; all.Log { // it comes to him as what becomes of messages of others there
			if err := p.gatherAll(ctx, e.Actor); err != nil {
				return err
			}
			push = func(timeline.Committed) { p.Remind(e.Actor) }
		}
	}
	_, err = p.file(ctx, timeline.Draft{
		Conversation: e.log, Sender: e.Actor, ClientID: "~" + e.id, Digest: sha256.Sum256(append([]byte(e.log), said...)), Inboxes: to.Inboxes,
		Version: to.Version, OnCommit: push,
	}, &content, to.Log)
	return err
}

// audience is to whom what becomes of a message goes, by the log that holds it; ok is false when
// nobody is there any more.
func (p *Chat) audience(ctx context.Context, log im.ConversationID, actor im.UserID) (to plugin.Audience, ok bool, err error) {
	if _, shadow := log.Shadowed(); shadow {
		return plugin.Audience{Inboxes: []im.UserID{actor}}, true, nil
	}
	if a, b, chat := log.Pair(); chat {
		return plugin.Audience{Inboxes: both(a, b)}, true, nil
	}
	keeper, ok := p.owners[log.Type()].(plugin.Keeper)
	if !ok {
		return to, false, nil
	}
	to, err = keeper.Members(ctx, log)
	if final(err) {
		return to, false, nil
	}
	return to, err == nil, err
}

package chat

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is messages that disappear: a conversation has a lifetime, each message is committed with the one that holds
// then, and whoever reads it later finds it recalled by nobody. lifetime_sweep.go deletes what is kept beside it.

// eventLifetime tells of a conversation that its messages disappear from now on, or do not any more.
const eventLifetime = "chat.lifetime"

// leastLifetime and mostLifetime bound what people may settle, settledPerHour how often in one conversation: each time begins
// a part of its log, and tells everybody.
const (
	leastLifetime  = 10 * time.Second
	mostLifetime   = 366 * 24 * time.Hour
	settledPerHour = 20
)

// lifetime gives, and changes, after how long messages of a conversation disappear.
func (p *Chat) lifetime(ctx context.Context, call *plugin.Call, req *chatpb.LifetimeRequest) (*chatpb.LifetimeReply, error) {
	c, peer, err := p.conversation(req.ConversationId, req.ToUserId, "to_user_id", call.User)
	if err != nil {
		return nil, err
	}
	if c.Type() == im.Notices {
		return nil, errNotYours
	}
	if _, err := p.reach(ctx, c, peer, call.User); err != nil {
		return nil, err
	}
	if req.LifetimeMs == nil {
		now, err := p.lifetimes.one(ctx, p.host.DB(), c)
		if err != nil {
			return nil, plugin.Stored(ctx, err)
		}
		return now.shown(), nil
	}
	if ms := *req.LifetimeMs; ms != 0 && (ms < leastLifetime.Milliseconds() || ms > mostLifetime.Milliseconds()) {
		return nil, im.Invalid("lifetime_ms", "must be 0, or from %d to %d", leastLifetime.Milliseconds(), mostLifetime.Milliseconds())
	}
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	heard, err := p.maySettle(ctx, c, peer, call.User)
	if err != nil {
		return nil, err
	}
	want := lifetime{conversation: c, ms: *req.LifetimeMs, setBy: call.User, setMs: p.host.Now().UnixMilli()}
	if !heard {
		return want.shown(), nil
	}
	now, err := p.settleLifetime(ctx, want)
	if err != nil {
		return nil, refusal(ctx, err)
	}
	return now.shown(), nil
}

// maySettle refuses who may not say after how long messages of c disappear; heard is false when all is only to
// look as if he had.
func (p *Chat) maySettle(ctx context.Context, c im.ConversationID, peer, user im.UserID) (heard bool, err error) {
	if peer == 0 {
		settler, ok := p.owners[c.Type()].(plugin.Settler)
		if !ok {
			return false, &im.Error{Code: idl.CodePermissionDenied, Field: "conversation_id", Reason: "messages stay there"}
		}
		if err := settler.Settle(ctx, c, user); err != nil {
			return false, refusal(ctx, err)
		}
		return true, nil
	}
	if err := p.mustExist(ctx, peer, nil); err != nil {
		return false, err
	}
	return p.heard(ctx, &target{conversation: c, peer: peer}, user)
}

// settleLifetime keeps a lifetime, begins the part of the log for which it holds, and has everybody told. Again it changes
// nothing.
func (p *Chat) settleLifetime(ctx context.Context, want lifetime) (now lifetime, err error) {
	if now, err = p.lifetimes.one(ctx, p.host.DB(), want.conversation); err != nil || now.ms == want.ms {
		return now, err
	}
	if wait := p.settled.Take(ctx, string(want.conversation)); wait > 0 {
		return now, &im.Error{Code: idl.CodeRateLimited, Reason: "settled too often", RetryAfter: wait}
	}
	// What is committed behind this look may have the lifetime of before: a sweep of the new part passes it all the same.
	heads, _, err := p.timelines.Heads(ctx, []im.ConversationID{want.conversation}, nil)
	if err != nil {
		return now, err
	}
	defer p.lifetimes.forget(want.conversation) // also when it is not known whether it was committed
	for range 3 {
		err = p.host.Tx(ctx, func(tx *sql.Tx) (err error) {
			if now, err = p.lifetimes.one(ctx, tx, want.conversation); err != nil || now.ms == want.ms {
				return err
			}
			if err := p.lifetimes.keep(ctx, tx, now, want); err != nil {
				return err
			}
			if err := p.lifetimes.turn(ctx, tx, want, heads[0], p.timelines.Epoch()); err != nil {
				return err
			}
			now = want
			return p.events.addTo(ctx, tx, want.conversation, want.setBy, eventLifetime, fmt.Sprintf(`{"lifetime_ms":%d}`, want.ms))
		})
		if err == nil || ctx.Err() != nil {
			break
		}
		// Two who settle the first one at once break its key: the second time the other one is seen.
	}
	if err != nil {
		return now, err
	}
	p.Deliver()
	return now, nil
}

// tellLifetime commits the event of a change to the conversation's log. Done again it commits nothing.
func (p *Chat) tellLifetime(ctx context.Context, e filed) error {
	return p.toAudience(ctx, e.log, e.Actor, func(to plugin.Audience) error {
		_, err := p.tell(ctx, plugin.Post{Conversation: e.log, Actor: e.Actor, ClientID: "~" + e.id, Name: e.Name, Data: e.Data}, to)
		return err
	})
}

// limit gives a message that is about to be committed its lifetime.
func (p *Chat) limit(ctx context.Context, m *message) (err error) {
	m.content.LifetimeMs = 0
	if m.content.Kind != kindCommand {
		m.content.LifetimeMs, err = p.lifetimes.of(ctx, m.conversation)
	}
	return err
}

// expiry is when a message disappears; zero: it stays.
func expiry(m im.Message, content *chatpb.Content) time.Time {
	if content.LifetimeMs == 0 {
		return time.Time{}
	}
	return m.Time.Add(time.Duration(content.LifetimeMs) * time.Millisecond)
}

// expiryMs is expiry as clients see it; 0: it stays.
func expiryMs(m im.Message, content *chatpb.Content) int64 {
	if at := expiry(m, content); !at.IsZero() {
		return at.UnixMilli()
	}
	return 0
}

// expired reports whether a message has disappeared by now.
func expired(m im.Message, content *chatpb.Content, now time.Time) bool {
	at := expiry(m, content)
	return !at.IsZero() && !now.Before(at)
}

// committedExpired is expired for a message that Append has given.
func committedExpired(done timeline.Committed, now time.Time) bool {
	var content chatpb.Content
	return content.Unmarshal(done.Body) == nil && expired(done.Message, &content, now)
}

// over is what has become by now of a message that disappears at ms, 0: never, and of which that became before.
func over(at stored, id string, ms int64, now time.Time, before *became) *became {
	if ms == 0 || now.UnixMilli() < ms {
		return before
	}
	b := &became{stored: at, id: id, revision: 1, version: 1, expired: true, recalledMs: ms}
	if before != nil {
		b.revision, b.version = before.revision+1, before.version
	}
	return b
}

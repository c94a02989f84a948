package chat

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/timeline"
)

// This file is what holds when something is committed, and not only when its owner was asked: plugin.Versioned. A message, and the
// event of a change, that was decided by an older version than the log asks for is not committed, and a change of a message not if
// the version has changed since. Then the owner is asked again.

// mostTries is how often something is tried while what its owner decided by changes.
const mostTries = 8

// again gives what is busy changing some time, more with each try.
func again(ctx context.Context, tries int) error {
	select {
	case <-time.After(time.Millisecond << tries):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errNobody ends the telling of what nobody is there for any more.
var errNobody = errors.New("nobody is there")

// whileStale goes on when something in c could not be committed for err: while that is since its version is too old, ask has the
// owner asked again and gives the version of his answer, and commit tries again.
func (p *Chat) whileStale(ctx context.Context, c im.ConversationID, err error, ask func() (version int64, err error), commit func() error) error {
	for tries := 1; tries < mostTries; tries++ {
		stale, is := errors.AsType[*timeline.StaleError](err)
		if !is {
			return err
		}
		if err := again(ctx, tries); err != nil {
			return err
		}
		if err := p.askAgain(ctx, c, stale.Least, ask); err != nil {
			return err
		}
		err = commit()
	}
	return err
}

// askAgain asks the owner of c, who may not know of what the log tells: then what he says holds from now on.
func (p *Chat) askAgain(ctx context.Context, c im.ConversationID, least int64, ask func() (version int64, err error)) error {
	version, err := ask()
	if err != nil || version >= least {
		return err
	}
	if err := p.raiseVersion(ctx, c, least); err != nil {
		return err
	}
	_, err = ask()
	return err
}

// raiseVersion has what the owner of c says now hold, though c's log tells of later changes: his tables were restored, and the timelines
// were not.
func (p *Chat) raiseVersion(ctx context.Context, c im.ConversationID, least int64) error {
	if owner, ok := p.owners[c.Type()].(plugin.Versioned); ok {
		return owner.Raise(ctx, c, least)
	}
	return nil
}

// commitAdmitted is commit for a message that admit has let pass.
func (p *Chat) commitAdmitted(ctx context.Context, m *message, session presence.SessionRef, queued func(), admit func(context.Context, *message) error) (done timeline.Committed, err error) {
	var refused, last error
	ask := func() (int64, error) {
		refused = admit(ctx, m)
		return m.version, refused
	}
	commit := func() (err error) {
		done, last = p.commit(ctx, m, session, queued)
		queued = nil
		return last
	}
	err = p.whileStale(ctx, m.conversation, commit(), ask, commit)
	if refused != nil {
		done, err = p.committedBefore(ctx, m, refused)
	}
	if err != nil && (errors.Is(last, timeline.ErrStale) || errors.Is(last, timeline.ErrConflict)) { // else nobody knows whether it is committed
		p.giveBack(ctx, m)
	}
	return done, err
}

// committedBefore gives the message that another try has committed, if one has, or else the refusal of this one.
func (p *Chat) committedBefore(ctx context.Context, m *message, refusal error) (timeline.Committed, error) {
	if m.clientID == "" {
		return timeline.Committed{}, refusal
	}
	done, digest, found, err := p.timelines.Find(ctx, m.sender, m.clientID)
	switch {
	case err != nil:
		return done, err
	case !found:
		return done, refusal
	case digest != m.digest:
		return timeline.Committed{}, timeline.ErrConflict
	}
	done.Duplicate = true
	return done, nil
}

// giveBack returns what the owner took for a message that is not committed: its sender may send it again.
func (p *Chat) giveBack(ctx context.Context, m *message) {
	if owner, ok := p.owners[m.conversation.Type()].(plugin.Returning); ok && m.taken {
		owner.Return(context.WithoutCancel(ctx), m.conversation, m.sender)
		m.taken = false
	}
}

// toAudience has commit commit to log what actor did about one of its messages, for those who are there as it is committed.
func (p *Chat) toAudience(ctx context.Context, log im.ConversationID, actor im.UserID, commit func(to plugin.Audience) error) error {
	to, there, err := p.audience(ctx, log, actor)
	if !there || err != nil {
		return err
	}
	ask := func() (_ int64, err error) {
		if to, there, err = p.audience(ctx, log, actor); err == nil && !there {
			err = errNobody
		}
		return to.Version, err
	}
	err = p.whileStale(ctx, log, commit(to), ask, func() error { return commit(to) })
	if errors.Is(err, errNobody) {
		return nil
	}
	return err
}

// may is the permission to change a message of a conversation: nil, for a change that nobody is asked about.
type may func(ctx context.Context) error

// errChanged takes a change of a message back, since its conversation has changed after somebody was let change it.
var errChanged = errors.New("the conversation has changed meanwhile")

// permitted asks for a permission, and gives what looks within the transaction of the change whether it holds still.
func (p *Chat) permitted(ctx context.Context, c im.ConversationID, ask may) (holds func(ctx context.Context, tx *sql.Tx) error, err error) {
	holds = func(context.Context, *sql.Tx) error { return nil }
	if ask == nil {
		return holds, nil
	}
	if owner, ok := p.owners[c.Type()].(plugin.Versioned); ok {
		// Read before the answer, so the answer is as new at least; of who is none any more the answer speaks.
		to, err := p.owners[c.Type()].(plugin.Keeper).Members(ctx, c)
		if err != nil && !final(err) {
			return nil, refusal(ctx, err)
		}
		holds = func(ctx context.Context, tx *sql.Tx) error {
			switch version, err := owner.Version(ctx, tx, c); {
			case err != nil:
				return err
			case version != to.Version:
				return errChanged
			}
			return nil
		}
	}
	return holds, ask(ctx)
}

package chat

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file sends what was scheduled when its time has come: on whichever core sees it first, as its sender would send it
// now, rules and all, under its client ID. So whatever ends in between, it is committed once.

// Rules are the operator's, asked about messages that no session sends: the service "chat.rules" of the core.
type Rules interface {
	plugin.Rules
	// Answered hears what came of it, as dispatch tells of actions.
	Answered(call *plugin.Call, code string)
	// Opened is closed when they can be asked.
	Opened() <-chan struct{}
}

const (
	// scheduleLook is how often a core looks for what is due.
	scheduleLook = time.Second
	// dueBatch is how many are read at once, dueSenders for how many people at the same time.
	dueBatch, dueSenders = 256, 8
	// sendTime bounds one, and a core that sends one is believed to be over after sendBelieved.
	sendTime, sendBelieved = 10 * time.Second, time.Minute
	// mostSendPause is the longest until one is tried again.
	mostSendPause = time.Minute
	// sendGiveUp is how late one is sent at most, and unsentKept how long one that was not is kept for its sender.
	sendGiveUp, unsentKept = 24 * time.Hour, 7 * 24 * time.Hour
)

// runScheduled sends what is due until ctx ends.
func (p *Chat) runScheduled(ctx context.Context) {
	if p.rules != nil {
		select {
		case <-ctx.Done():
			return
		case <-p.rules.Opened():
		}
	}
	every := time.NewTicker(scheduleLook)
	defer every.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		more, err := true, error(nil)
		for more && err == nil && ctx.Err() == nil {
			more, err = p.sendDue(ctx)
		}
		if err != nil && !failing && ctx.Err() == nil {
			p.host.Log().Error("scheduled messages wait on", "err", err)
		}
		failing = err != nil
	}
}

// sendDue sends what is due, as much as is read at once; each person's one after the other.
func (p *Chat) sendDue(ctx context.Context) (more bool, err error) {
	all, err := p.scheduled.list(ctx, p.host.DB(), selectToSend, p.host.Now().UnixMilli(), dueBatch)
	if err != nil {
		return false, err
	}
	var people []im.UserID
	of := map[im.UserID][]*scheduledMessage{}
	for _, s := range all {
		if of[s.sender] == nil {
			people = append(people, s.sender)
		}
		of[s.sender] = append(of[s.sender], s)
	}
	faults := make([]error, len(people))
	var seen atomic.Bool // to one at least: the others wait for another core
	var working sync.WaitGroup
	for first := range min(dueSenders, len(people)) {
		working.Go(func() {
			for i := first; i < len(people); i += dueSenders {
				for _, s := range of[people[i]] {
					faults[i] = cmp.Or(faults[i], p.barred(func() error {
						mine, err := p.sendOne(ctx, s.id)
						if mine {
							seen.Store(true)
						}
						return err
					}))
				}
			}
		})
	}
	working.Wait()
	return len(all) == dueBatch && seen.Load(), errors.Join(faults...)
}

// barred is do behind a barrier: a panic is an error too, and whoever does it goes on.
func (p *Chat) barred(do func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			p.host.Log().Error("sending a message panicked", "cause", cause, "stack", string(debug.Stack()))
			err = im.Errorf(idl.CodeInternal, "sending it broke")
		}
	}()
	return do()
}

// sendOne sees to one that is due, unless it is not for this core now.
func (p *Chat) sendOne(ctx context.Context, id string) (mine bool, err error) {
	s, err := p.claim(ctx, id)
	if s == nil || err != nil {
		return false, err
	}
	return true, p.sendClaimed(ctx, s)
}

func (p *Chat) sendClaimed(ctx context.Context, s *scheduledMessage) error {
	exists, err := p.people.Exists(ctx, s.sender)
	if err == nil && !exists {
		return p.host.Tx(ctx, func(tx *sql.Tx) error { return p.scheduled.remove(ctx, tx, s.id) })
	}
	absent, reached := false, false
	if err == nil {
		absent, err = p.people.Absent(ctx, s.sender)
	}
	switch {
	case err != nil:
	case absent:
		err = &im.Error{Code: idl.CodePermissionDenied, Reason: "the account was disabled, or left"}
	default:
		reached, err = p.sendAs(ctx, s)
	}
	if ctx.Err() != nil { // this core ends: another goes on
		return nil
	}
	return p.settle(ctx, s, reached, err)
}

// claim has this core send one; nil: there is nothing to send.
func (p *Chat) claim(ctx context.Context, id string) (mine *scheduledMessage, err error) {
	var over *scheduledMessage
	err = p.host.Tx(ctx, func(tx *sql.Tx) error {
		mine, over = nil, nil
		now := p.host.Now()
		s, err := p.scheduled.lock(ctx, tx, id)
		switch {
		case err != nil || s == nil || s.nextMs > now.UnixMilli():
			return err
		case s.state == unsent: // it was kept for long enough
			over = s
			return p.scheduled.remove(ctx, tx, id)
		}
		behind, err := p.behindAnother(ctx, tx, s)
		if err != nil {
			return err
		}
		if behind {
			return nil
		}
		s.doubt = s.state == unsure || s.state == sending
		s.state, s.tries, s.nextMs = sending, s.tries+1, now.Add(sendBelieved).UnixMilli()
		mine = s
		return p.scheduled.keep(ctx, tx, s)
	})
	if err != nil {
		return nil, err
	}
	if over != nil {
		p.dropScheduled(ctx, over)
	}
	return mine, nil
}

// behindAnother reports whether an earlier one of the same person is being sent, by whatever core, or about to be. One that
// is to be tried again later holds up no other.
func (p *Chat) behindAnother(ctx context.Context, tx *sql.Tx, s *scheduledMessage) (bool, error) {
	all, err := p.scheduled.list(ctx, tx, selectScheduled, int64(s.sender), "", p.config.ScheduledOfOne+1)
	return slices.ContainsFunc(all, func(other *scheduledMessage) bool {
		begun := other.state == sending || other.state != unsent && other.nextMs <= p.host.Now().UnixMilli()
		return begun && cmp.Or(cmp.Compare(other.atMs, s.atMs), cmp.Compare(other.id, s.id)) < 0
	}), err
}

// attempt is how far a call that sends what was scheduled came: sending says so.
type attempt struct{ reached bool } // the stores were told to take it: a failure behind that tells nothing

type attemptKey struct{}

// reaching notes that the stores are told to take a message of no session.
func reaching(ctx context.Context, call *plugin.Call) {
	if a := attempted(ctx); a != nil && call.Alone {
		a.reached = true
	}
}

// attempted is the attempt that ctx is of; nil: it is of none, but of a call of a client's.
func attempted(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}

// sendAs sends one as its sender would by action 3. reached says that, if it failed, it may have arrived all the same.
func (p *Chat) sendAs(ctx context.Context, s *scheduledMessage) (reached bool, err error) {
	body, err := s.request.Marshal(nil)
	if err != nil {
		return false, err
	}
	var a attempt
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, attemptKey{}, &a), sendTime)
	defer cancel()
	call := &plugin.Call{Action: p.sends.Action, Name: p.sends.Name, Codec: idl.CodecProtobuf, User: s.sender, Alone: true}
	var rules plugin.Rules
	if p.rules != nil {
		rules = p.rules
	}
	defer func() { // a message that breaks something holds up no other
		if broken := recover(); broken != nil {
			err = im.Errorf(idl.CodeInternal, "sending it broke: %v", broken)
		}
		reached = a.reached && !final(err) && im.CodeOf(err) != idl.CodeRateLimited // whoever says that took nothing
		call.Finish()
		if p.rules != nil {
			code := "ok"
			if err != nil {
				code = strings.ToLower(strings.TrimPrefix(im.CodeOf(err).String(), "CODE_"))
			}
			p.rules.Answered(call, code)
		}
	}()
	_, err = p.sends.Invoke(ctx, call, body, rules, nil)
	return false, err
}

// arrived reports whether a message is committed, or is held, as a try that seemed to fail had it.
func (p *Chat) arrived(ctx context.Context, s *scheduledMessage) (bool, error) {
	digest := p.digest(s.sender, s.request)
	h, err := p.held.sentAs(ctx, p.held.db, s.sender, s.request.ClientId) // first: what is released is committed before it is held no more
	if err != nil || h != nil && h.state != denied && h.digest == digest {
		return err == nil, err
	}
	_, was, found, err := p.timelines.Find(ctx, s.sender, s.request.ClientId)
	return found && was == digest, err
}

// settle keeps what came of a message: it is over, will be tried again, or could not be sent, which its sender is told.
// reached is sendAs's: then nobody can say yet what came of it.
func (p *Chat) settle(ctx context.Context, s *scheduledMessage, reached bool, came error) error {
	now := p.host.Now()
	over := final(came) || now.Sub(time.UnixMilli(s.atMs)) > sendGiveUp
	if came != nil && over && (reached || s.tries > 1) { // an earlier try may have done it
		switch there, err := p.arrived(ctx, s); {
		case err != nil:
			over, reached = false, true
		case there:
			came = nil
		}
	}
	err := p.host.Tx(ctx, func(tx *sql.Tx) error {
		is, err := p.scheduled.lock(ctx, tx, s.id)
		switch {
		case err != nil || is == nil || is.state != sending || is.tries != s.tries:
			return err
		case came == nil:
			return p.scheduled.remove(ctx, tx, s.id)
		}
		s.state, s.reason = toSend, ""
		if reached || s.doubt {
			s.state = unsure
		}
		s.nextMs = now.Add(max(min(time.Second<<min(s.tries, 10), mostSendPause), retryAfter(came))).UnixMilli()
		if over {
			s.state, s.reason, s.nextMs = unsent, whyUnsent(came), now.Add(unsentKept).UnixMilli()
			if err := p.tellScheduled(ctx, tx, s, "unsent", s.reason); err != nil {
				return err
			}
		}
		return p.scheduled.keep(ctx, tx, s)
	})
	if err != nil {
		return err
	}
	if came != nil {
		p.host.Log().Info("a scheduled message was not sent", "id", s.id, "user", s.sender, "tries", s.tries, "err", came)
	}
	if s.state == unsent {
		p.dropScheduled(ctx, s)
		p.Deliver()
	}
	return nil
}

// dropScheduled has a message that is not sent keep no files.
func (p *Chat) dropScheduled(ctx context.Context, s *scheduledMessage) {
	m := message{sender: s.sender, clientID: s.request.ClientId, content: chatpb.Content{Kind: s.request.Kind, Media: s.request.Media}}
	p.dropFiles(ctx, &m, named(&m.content))
}

// retryAfter is the advice of a refusal, an hour at most.
func retryAfter(err error) time.Duration {
	if refused, ok := errors.AsType[*im.Error](err); ok {
		return min(refused.RetryAfter, time.Hour)
	}
	return 0
}

// mostReason is how many octets of a reason are kept.
const mostReason = 200

// whyUnsent is what the sender is told.
func whyUnsent(err error) string {
	reason := "not possible in time"
	if refused, ok := errors.AsType[*im.Error](err); ok && final(err) {
		reason = fmt.Sprintf("%s: %s", strings.TrimPrefix(refused.Code.String(), "CODE_"), refused.Reason)
	}
	return strings.ToValidUTF8(reason[:min(len(reason), mostReason)], "")
}

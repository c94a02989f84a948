package chat

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is how held messages go on: every core looks for them, and whatever two cores
// do at once, or one does half and another anew, happens once: the directory says who
// decided, and the timeline store who committed, by the client ID.

const (
	// afterFault is how long a core leaves held messages alone when a store failed.
	afterFault = time.Second
	// idleTime is how long it rests when nothing waits, and only it can change that.
	idleTime = 10 * time.Second
	// stepTime bounds what one message takes, and turnTime about what all do in a turn:
	// behind it others are looked for again.
	stepTime = 5 * time.Second
	turnTime = 200 * time.Millisecond
)

// runHeld sees to held messages until ctx ends.
func (p *Chat) runHeld(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		case <-p.wake:
		}
		looked, err := p.goOn(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			p.host.Log().Error("held messages wait on", "err", err)
		}
		failing = err != nil
		wait := max(lookEvery, 9*looked)
		switch {
		case failing:
			wait = max(wait, afterFault)
		case !p.lines.shared && !p.lines.any():
			wait = idleTime // whoever begins the first line wakes it
		}
		pause.Reset(min(wait, idleTime))
	}
}

// goOn does once what is due, and tells what it took to look.
func (p *Chat) goOn(ctx context.Context) (looked time.Duration, err error) {
	began := time.Now()
	moving, states, err := p.look(ctx)
	looked = time.Since(began)
	if err != nil || !p.lines.any() {
		return looked, err
	}
	now := p.host.Now().UnixMilli()
	due, err := p.held.due(ctx, waiting, now)
	if err != nil {
		return looked, err
	}
	var faults []error // one that fails keeps no other back
	for _, h := range due {
		within, cancel := context.WithTimeout(ctx, stepTime)
		_, _, err := p.decide(within, h.id, h.allow, "nobody decided in time", "deadline")
		cancel()
		faults = append(faults, err)
	}
	spent, err := p.held.spent(ctx, now, states[denied]-p.config.HeldOfAll)
	if err != nil {
		return looked, err
	}
	for _, h := range spent {
		within, cancel := context.WithTimeout(ctx, stepTime)
		_, err := p.held.remove(within, h)
		cancel()
		faults = append(faults, err)
	}
	until := time.Now().Add(turnTime)
	for _, l := range moving { // in no order: none is kept back for good
		if time.Now().After(until) {
			p.awake()
			break
		}
		faults = append(faults, p.drain(ctx, l, until))
	}
	return looked, errors.Join(faults...)
}

// look sees what there is: the lines that move, and how many messages.
func (p *Chat) look(ctx context.Context) (moving []line, states counts, err error) {
	if moving, err = p.lines.look(ctx); err != nil {
		return nil, states, err
	}
	if p.lines.any() {
		if states, err = p.held.counts(ctx); err != nil {
			return nil, states, err
		}
	}
	p.counted.Store(&states)
	rand.Shuffle(len(moving), func(i, j int) { moving[i], moving[j] = moving[j], moving[i] })
	return moving, states, nil
}

// Held implements plugin.Holder.
func (p *Chat) Held() (waits, stands int64) {
	if c := p.counted.Load(); c != nil {
		waits, stands = int64(c[waiting]), int64(c[behind]+c[approved])
	}
	return waits, stands
}

// decide ends the waiting of a message. done is false when somebody did before; h is nil
// when there is no such message.
func (p *Chat) decide(ctx context.Context, id string, allow bool, reason, by string) (h *held, done bool, err error) {
	if !allow { // a send of it that was under way when it was held may have committed it
		if allow, err = p.committed(ctx, id); err != nil {
			return nil, false, err
		}
	}
	if allow {
		h, done, err = p.held.decide(ctx, id, approved, 0, "", by)
	} else {
		h, done, err = p.held.decide(ctx, id, denied, p.forgetAt(), reason, by)
	}
	if err != nil || !done {
		return h, done, err
	}
	p.host.Log().Info("decided about a held message", "id", id, "user", h.sender, "queue", h.queue, "rule", h.rule, "allowed", allow, "by", by)
	if !allow {
		p.dropFiles(ctx, &h.message, named(&h.content))
		p.host.Push(plugin.Push{Action: idl.ActionHeld, Body: shownHeld(h), Users: []im.UserID{h.sender}})
	}
	p.awake()
	return h, true, nil
}

// committed reports whether a held message is committed all the same.
func (p *Chat) committed(ctx context.Context, id string) (bool, error) {
	all, err := p.held.list(ctx, p.held.db, "WHERE id = ? LIMIT 1", id)
	if err != nil || len(all) == 0 {
		return false, err
	}
	_, was, found, err := p.timelines.Find(ctx, all[0].sender, all[0].clientID)
	return found && was == all[0].digest, err
}

// awake has this core see to held messages at once.
func (p *Chat) awake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// forgetAt is when a message that is denied now is forgotten.
func (p *Chat) forgetAt() int64 { return p.host.Now().Add(remember).UnixMilli() }

// drain commits the messages of a line, from its first to the one that waits; until is
// when it leaves the rest to the next turn.
func (p *Chat) drain(ctx context.Context, l line, until time.Time) error {
	for {
		done, err := p.step(ctx, l)
		if done || err != nil {
			return err
		}
		if time.Now().After(until) {
			p.awake()
			return nil
		}
	}
}

// step sees to the first message of a line; done is true when the line moves no more.
func (p *Chat) step(ctx context.Context, l line) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	h, err := p.held.head(ctx, p.held.db, l)
	switch {
	case err != nil:
		return false, err
	case h == nil || h.state == waiting:
		return p.held.rest(ctx, l)
	}
	return false, p.release(ctx, h)
}

// release commits a message, then takes it out of its line: who repeats it commits
// nothing.
func (p *Chat) release(ctx context.Context, h *held) error {
	admit := p.readmission(&h.message)
	if err := admit(ctx, &h.message); final(err) {
		before, found := p.committed(ctx, h.id)
		if found != nil {
			return found
		}
		if !before {
			refused, _ := errors.AsType[*im.Error](err)
			_, err := p.refuse(ctx, h, refused.Reason)
			return err
		}
		h.people = []im.UserID{h.sender} // the store knows whom it is for
	} else if err != nil {
		return err
	}
	if h.state == behind {
		if mine, err := p.held.claim(ctx, *h); !mine || err != nil {
			p.giveBack(ctx, &h.message)
			return err
		}
		h.state = approved
	}
	committed, err := p.commitAdmitted(ctx, &h.message, presence.SessionRef{}, nil, admit)
	if errors.Is(err, timeline.ErrConflict) {
		_, err := p.refuse(ctx, h, "the client_id was used for another message")
		return err
	}
	if refused, ok := errors.AsType[*im.Error](err); ok && final(err) { // it was let pass, and then was not
		_, err := p.refuse(ctx, h, refused.Reason)
		return err
	}
	if err != nil {
		return err
	}
	m, err := shown(committed.Message)
	if err != nil {
		return err
	}
	mine, err := p.held.remove(ctx, *h)
	if mine {
		body := shownHeld(h)
		body.State, body.MessageId, body.Seq = chatpb.HeldState_HELD_STATE_APPROVED, m.Id, m.Seq
		p.host.Push(plugin.Push{Action: idl.ActionHeld, Body: body, Users: []im.UserID{h.sender}})
	}
	return err
}

// readmission is what lets a held message pass by what is so when it is released, and says whom it is for. The note is taken off the
// message.
func (p *Chat) readmission(m *message) func(context.Context, *message) error {
	note, admit := m.content.Held, p.admission(m)
	m.content.Held = nil
	return func(ctx context.Context, m *message) error {
		if err := p.present(ctx, m); err != nil {
			return err
		}
		if err := p.forwardable(ctx, note); err != nil {
			return err
		}
		return admit(ctx, m)
	}
}

// admission is what lets a held message pass, by what its note says of who sent it.
func (p *Chat) admission(m *message) func(context.Context, *message) error {
	switch {
	case !m.content.Held.GetOperators():
		return p.admit
	case m.peer != 0:
		return unasked
	}
	return p.toMembers
}

// forwardable refuses what a held message forwards if that was recalled, or has disappeared, since.
func (p *Chat) forwardable(ctx context.Context, note *chatpb.HeldNote) error {
	from := note.GetForwards()
	if from == nil {
		return nil
	}
	was, err := p.changes.one(ctx, p.host.DB(), stored{im.ConversationID(from.ConversationId), from.Seq}, from.MessageId)
	if err != nil {
		return err
	}
	if was.recalled() {
		return &im.Error{Code: idl.CodeNotFound, Field: "forward", Reason: "what it forwards was recalled"}
	}
	if at := note.ExpiresMs; at != 0 && p.host.Now().UnixMilli() >= at {
		return &im.Error{Code: idl.CodeNotFound, Field: "forward", Reason: "what it forwards has disappeared"}
	}
	return nil
}

// final reports whether an error says that a message may not be committed: later neither.
func final(err error) bool {
	refused, ok := errors.AsType[*im.Error](err)
	return ok && refused.Code != idl.CodeUnavailable && refused.Code != idl.CodeRateLimited && refused.Code != idl.CodeInternal
}

// present leaves of a message's mentions those of people who are in the conversation still.
func (p *Chat) present(ctx context.Context, m *message) error {
	keeper, ok := p.owners[m.conversation.Type()].(plugin.Keeper)
	if !ok || len(m.content.Mentions) == 0 {
		return nil
	}
	there, err := keeper.Members(ctx, m.conversation)
	if err != nil && !final(err) {
		return err
	}
	if roll, ok := keeper.(plugin.Roll); ok && there.Log {
		if there.Inboxes, err = roll.Present(ctx, m.conversation, outgoing(&m.content).Mentions); err != nil && !final(err) {
			return err
		}
	}
	if len(there.Inboxes) > 0 || there.Log {
		m.content.Mentions = slices.DeleteFunc(m.content.Mentions, func(u int64) bool { return !slices.Contains(there.Inboxes, im.UserID(u)) })
	}
	return nil
}

// refuse denies a message that may not be committed any more; done is false when it is not in the state any more
// that h says.
func (p *Chat) refuse(ctx context.Context, h *held, reason string) (done bool, err error) {
	reason = cut(reason, 255)
	done, err = p.held.deny(ctx, *h, p.forgetAt(), reason)
	if done {
		h.state, h.reason = denied, reason
		p.dropFiles(ctx, &h.message, named(&h.content))
		p.host.Push(plugin.Push{Action: idl.ActionHeld, Body: shownHeld(h), Users: []im.UserID{h.sender}})
	}
	return done, err
}

package chat

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/timeline"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what plugins have the server say: posts in conversations of their own, and
// events, each to a few people. README.md tells the way of an event.

// Post implements plugin.Messages.
func (p *Chat) Post(ctx context.Context, post plugin.Post) (timeline.Committed, error) {
	if err := checkEvent(post.Name, post.Data); err != nil {
		return timeline.Committed{}, fmt.Errorf("post: %w", err)
	}
	if n := len(post.ClientID); n < 1 || n > 64 || !p.owned(post.Conversation) {
		return timeline.Committed{}, fmt.Errorf("post %s: a client ID of %d octets, conversation %q", post.Name, n, post.Conversation)
	}
	to := plugin.Audience{Inboxes: post.Audience, Log: post.Log}
	if to.Inboxes == nil && !to.Log {
		audience, err := p.owners[post.Conversation.Type()].Send(ctx, post.Conversation, post.Actor, plugin.Outgoing{Kind: "event"})
		if err != nil {
			return timeline.Committed{}, refusal(ctx, err)
		}
		to = audience
		to.Version = 0 // it is told, whatever has changed
	}
	done, err := p.tell(ctx, post, to)
	if err != nil {
		return done, plugin.Stored(ctx, err)
	}
	return done, nil
}

// tell commits a message of the kind EVENT and has it pushed to all devices of those whom it goes to, whatever post says of them.
func (p *Chat) tell(ctx context.Context, post plugin.Post, to plugin.Audience) (timeline.Committed, error) {
	c := post.Conversation
	content := chatpb.Content{Kind: chatpb.MessageKind_MESSAGE_KIND_EVENT, Event: post.Name, Data: post.Data}
	body, err := content.Marshal(nil)
	if err != nil {
		return timeline.Committed{}, err
	}
	return p.file(ctx, timeline.Draft{
		Conversation: c, Sender: post.Actor, ClientID: post.ClientID, Digest: sha256.Sum256(append([]byte(c), body...)), Inboxes: to.Inboxes,
		Version: to.Version, Least: post.Least,
		OnCommit: func(done timeline.Committed) { p.push(done, &content, to.Inboxes, presence.SessionRef{}) },
	}, &content, to.Log)
}

// File implements plugin.Messages.
func (p *Chat) File(ctx context.Context, tx *sql.Tx, events ...plugin.Event) error {
	for _, e := range events {
		if err := errors.Join(checkTold(e), checkEvent(e.Name, e.Data)); err != nil {
			return fmt.Errorf("file an event: %w", err)
		}
		if err := p.events.add(ctx, tx, e); err != nil {
			return err
		}
	}
	return nil
}

// Deliver implements plugin.Messages.
func (p *Chat) Deliver() {
	select {
	case p.filed <- struct{}{}:
	default:
	}
}

const (
	// others is how old an event is when other cores than the one that filed it tell it, and
	// how often each looks for such.
	others = time.Second
	// mostPause is the longest until an event is tried again.
	mostPause = time.Minute
	// eventBatch is how many are read at once, told how many at the same time.
	eventBatch, told = 256, 32
	// mostLate is how many events that wait to be tried again are looked at for whom they hold up; when
	// there are more, what was not tried yet waits as well.
	mostLate = 10_000
	// tellTime bounds what the telling of one takes, and a turn reads no more behind turnOfEvents.
	tellTime, turnOfEvents = 5 * time.Second, 10 * time.Second
)

// waits are the people, and the logs, with an event that could not be told: what came after it waits too.
type waits map[string]bool

// anybody may wait: for an earlier event than one that was not tried before.
const anybody = ""

func (w waits) any(whom []string) bool {
	for _, one := range whom {
		if w[one] {
			return true
		}
	}
	return false
}

func (w waits) add(whom []string) {
	for _, one := range whom {
		w[one] = true
	}
}

// runEvents tells what was filed until ctx ends: what this core filed when it is asked to, and
// what any core left, now and then.
func (p *Chat) runEvents(ctx context.Context) {
	every := time.NewTicker(others)
	defer every.Stop()
	late, failing := waits{}, false
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-p.filed:
			err = p.tellAll(ctx, p.events.own, late)
		case <-every.C:
			var now waits
			if now, err = p.events.late(ctx); err == nil { // else those of the last look wait on
				late = now
				err = p.tellAll(ctx, p.events.due, late)
			}
		}
		if err != nil && !failing && ctx.Err() == nil {
			p.host.Log().Error("events wait on", "err", err)
		}
		failing = err != nil
	}
}

// tellAll tells all that list gives, each person's in order.
func (p *Chat) tellAll(ctx context.Context, list func(ctx context.Context, after string, limit int) ([]filed, error), late waits) error {
	var faults []error
	until := time.Now().Add(turnOfEvents)
	for after := ""; ; {
		batch, err := list(ctx, after, eventBatch)
		if err != nil {
			return errors.Join(append(faults, err)...)
		}
		if n := len(batch); n > 0 {
			after = batch[n-1].id
		}
		n := len(batch)
		for len(batch) > 0 {
			var wave []filed
			wave, batch = next(batch, late)
			faults = append(faults, p.tellWave(ctx, wave, late))
		}
		if n < eventBatch || time.Now().After(until) || ctx.Err() != nil {
			return errors.Join(faults...)
		}
	}
}

// next takes from a batch the events that can be told at the same time: of nobody two. What is for
// who waits is left out of both.
func next(batch []filed, late waits) (wave, rest []filed) {
	busy := waits{}
	for _, e := range batch {
		switch {
		case late.any(e.whom), late[anybody] && e.tries == 0:
			late.add(e.whom)
			continue
		case len(wave) == told || busy.any(e.whom):
			rest = append(rest, e)
		default:
			wave = append(wave, e)
		}
		busy.add(e.whom)
	}
	return wave, rest
}

// tellWave tells events at the same time, and forgets those that are told.
func (p *Chat) tellWave(ctx context.Context, wave []filed, late waits) error {
	faults := make([]error, len(wave))
	var telling sync.WaitGroup
	for i, e := range wave {
		telling.Go(func() { faults[i] = p.tellOne(ctx, e) })
	}
	telling.Wait()
	var done []filed
	for i, e := range wave {
		switch err := faults[i]; {
		case err == nil:
			done = append(done, e)
		case ctx.Err() != nil:
		case e.err != nil || errors.Is(err, timeline.ErrConflict) || errors.Is(err, timeline.ErrCorrupt):
			p.host.Log().Error("an event cannot be told", "id", e.id, "event", e.Name, "err", err)
			faults[i] = p.events.aside(ctx, e)
		default:
			late.add(e.whom)
			faults[i] = errors.Join(err, p.events.later(ctx, e))
		}
	}
	return errors.Join(errors.Join(faults...), p.events.remove(ctx, done))
}

// tellOne commits an event for everybody it is for. Done again it commits nothing.
func (p *Chat) tellOne(ctx context.Context, e filed) error {
	if e.err != nil {
		return e.err
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	switch {
	case e.Name == eventLifetime && e.log != "":
		return p.tellLifetime(ctx, e)
	case e.log != "":
		return p.tellChange(ctx, e)
	case e.about != "":
		return errors.Join(outbox{p}.Tell(ctx, plugin.Notice{About: e.about, ID: "~" + e.id, Name: e.Name, Data: e.Data})...)
	}
	for _, u := range e.Users {
		notice := plugin.Post{Conversation: im.NoticesOf(u), Actor: e.Actor, ClientID: "~" + e.id + "." + u.String(), Name: e.Name, Data: e.Data}
		if _, err := p.tell(ctx, notice, plugin.Audience{Inboxes: []im.UserID{u}}); err != nil {
			return fmt.Errorf("tell %d of %s: %w", u, e.Name, err)
		}
	}
	return nil
}

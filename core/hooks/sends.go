package hooks

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"freeim/core/im"
	"freeim/idl"
	"freeim/scripts/engine"
)

const (
	sendLanes = 8   // messages of rules that are committed at once; those to one person one after the other
	sendQueue = 128 // that wait in a lane; then the newest are dropped and counted
	sendTries = 4   // of one message; its client ID makes that safe
	sendTime  = 5 * time.Second
	sendPause = 250 * time.Millisecond // before the second try; it doubles with each
)

// Message is one that a rule sends.
type Message struct {
	From, To im.UserID
	ClientID string // the same for whatever is the same message
	Text     string
}

// lane is where the messages to a person wait. A store may keep them waiting, and
// must not keep other effects.
func (e *Effects) lane(one engine.Effect) chan queued {
	to, _ := strconv.ParseInt(one.Target, 10, 64) // the engine has looked
	return e.lanes[uint64(to)%sendLanes]
}

// sendAll commits what comes in a lane until ctx ends.
func (e *Effects) sendAll(ctx context.Context, lane <-chan queued) {
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-lane:
			if one.reached != nil {
				close(one.reached)
				continue
			}
			e.send(ctx, one.Effect)
		}
	}
}

// send tries until the message is committed, was before, or cannot be.
func (e *Effects) send(ctx context.Context, one engine.Effect) {
	from, _ := strconv.ParseInt(one.Sender, 10, 64)
	to, _ := strconv.ParseInt(one.Target, 10, 64)
	m := Message{From: im.UserID(from), To: im.UserID(to), ClientID: one.ClientID, Text: one.Text}
	pause := sendPause
	for try := 1; ; try++ {
		err := e.try(ctx, m)
		if err == nil {
			e.sent.Add(1)
			return
		}
		if try == sendTries || !passing(err) || !waited(ctx, pause/2+rand.N(pause/2)) {
			e.unsent.Add(1)
			e.log.Warn("a rule's message was not sent", "from", one.Sender, "to", one.Target, "rule", one.Rule, "bundle", one.Bundle, "err", err)
			return
		}
		pause *= 2
	}
}

func (e *Effects) try(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	return e.means.Send(ctx, m)
}

// passing reports whether an error may well be gone a moment later.
func passing(err error) bool {
	refused, ok := errors.AsType[*im.Error](err)
	return !ok || refused.Code == idl.CodeUnavailable || refused.Code == idl.CodeDeadlineExceeded
}

// waited reports whether there was time for it.
func waited(ctx context.Context, pause time.Duration) bool {
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}

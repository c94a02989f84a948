package chat

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what people do with messages that are to be sent later: each waits in the directory, and is sent by
// schedule_run.go. README.md tells the way of one.

const (
	// mostAhead is how far ahead a message can be scheduled.
	mostAhead      = 366 * 24 * time.Hour
	usualScheduled = 20
	mostScheduled  = 50
)

// validateSchedule checks the message as if it were sent now. Whether it is time still depends on whether it was scheduled
// before: schedule sees to that.
func (p *Chat) validateSchedule(call *plugin.Call, req *chatpb.ScheduleRequest) error {
	if req.Message == nil {
		return im.Invalid("message", "is missing")
	}
	if err := p.validateSend(call, req.Message); err != nil {
		return inMessage(err, "message.")
	}
	if req.AtMs <= 0 {
		return p.checkTime(req.AtMs)
	}
	return nil
}

// checkTime refuses what is past, or too far ahead.
func (p *Chat) checkTime(atMs int64) error {
	now := p.host.Now()
	if atMs <= now.UnixMilli() || atMs > now.Add(mostAhead).UnixMilli() {
		return im.Invalid("at_ms", "must be in the future, within %d days", mostAhead/(24*time.Hour))
	}
	return nil
}

// inMessage has a refusal name a field of a message within the request.
func inMessage(err error, prefix string) error {
	refused, ok := errors.AsType[*im.Error](err)
	if !ok || refused.Field == "" {
		return err
	}
	of := *refused
	of.Field = prefix + of.Field
	return &of
}

// schedule has a message be sent later. Who may send, and what rules say, is asked then. Asked again with the same
// client ID it gives the same answer.
func (p *Chat) schedule(ctx context.Context, call *plugin.Call, req *chatpb.ScheduleRequest) (*chatpb.ScheduleReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	m := req.Message
	was, err := p.scheduled.sentAs(ctx, p.host.DB(), call.User, m.ClientId)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if was != nil {
		return p.scheduledBefore(call.User, was, req)
	}
	if rep, err := p.scheduledAndSent(ctx, call.User, req); rep != nil || err != nil {
		return rep, err
	}
	if err := p.checkTime(req.AtMs); err != nil {
		return nil, err
	}
	draft := message{sender: call.User, clientID: m.ClientId, content: chatpb.Content{Kind: m.Kind, Media: m.Media}}
	files, err := p.useFiles(ctx, &draft)
	if err != nil {
		return nil, err
	}
	s := &scheduledMessage{sender: call.User, request: m, atMs: req.AtMs, nextMs: req.AtMs, version: 1}
	err = p.host.Tx(ctx, func(tx *sql.Tx) error {
		n, err := p.scheduled.count(ctx, tx, call.User)
		if err != nil {
			return err
		}
		if n >= p.config.ScheduledOfOne {
			return &im.Error{Code: idl.CodeLimitExceeded, Reason: fmt.Sprintf("%d messages are scheduled", n)}
		}
		s.id = p.host.MessageIDs().Next("").String()
		if err := p.scheduled.add(ctx, tx, s); err != nil {
			return err
		}
		return p.tellScheduled(ctx, tx, s, "waiting", "")
	})
	if err != nil {
		// Engines report a broken unique index in words of their own: look instead.
		if was, lookErr := p.scheduled.sentAs(ctx, p.host.DB(), call.User, m.ClientId); lookErr == nil && was != nil {
			return p.scheduledBefore(call.User, was, req)
		}
		p.dropFiles(ctx, &draft, files.begun)
		return nil, refusal(ctx, err)
	}
	p.Deliver()
	return &chatpb.ScheduleReply{Scheduled: s.shown()}, nil
}

// What is refused of one that is sent, and of one of which nobody knows yet.
var (
	errNotScheduled = &im.Error{Code: idl.CodeNotFound, Field: "id", Reason: "no such message of yours waits to be sent"}
	errSending      = &im.Error{Code: idl.CodeConflict, Field: "id", Reason: "it is being sent", RetryAfter: time.Second}
)

var errUsed = &im.Error{Code: idl.CodeConflict, Field: "message.client_id", Reason: "used before for another message"}

// scheduledBefore answers who schedules the same again.
func (p *Chat) scheduledBefore(user im.UserID, was *scheduledMessage, req *chatpb.ScheduleRequest) (*chatpb.ScheduleReply, error) {
	if was.atMs != req.AtMs || p.digest(user, was.request) != p.digest(user, req.Message) {
		return nil, errUsed
	}
	return &chatpb.ScheduleReply{Scheduled: was.shown()}, nil
}

// scheduledAndSent answers who schedules again what was sent meanwhile, be it that the rules hold it, or that it was denied;
// nil: nothing was.
func (p *Chat) scheduledAndSent(ctx context.Context, user im.UserID, req *chatpb.ScheduleRequest) (*chatpb.ScheduleReply, error) {
	var was [32]byte
	held, err := p.held.sentAs(ctx, p.held.db, user, req.Message.ClientId)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if held != nil { // looked for first: when it is held no more it is committed
		was = held.digest
	} else {
		var sent bool
		if _, was, sent, err = p.timelines.Find(ctx, user, req.Message.ClientId); err != nil {
			return nil, plugin.Stored(ctx, err)
		} else if !sent {
			return nil, nil
		}
	}
	if was != p.digest(user, req.Message) {
		return nil, errUsed
	}
	return &chatpb.ScheduleReply{Scheduled: &chatpb.Scheduled{Message: req.Message, AtMs: req.AtMs, State: chatpb.ScheduledState_SCHEDULED_STATE_SENT}}, nil
}

// listScheduled gives the caller's own.
func (p *Chat) listScheduled(ctx context.Context, call *plugin.Call, req *chatpb.ScheduledRequest) (*chatpb.ScheduledReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualScheduled, mostScheduled)
	if err != nil {
		return nil, err
	}
	if req.AfterId != "" {
		if _, err := im.ParseMessageID(req.AfterId); err != nil {
			return nil, im.Invalid("after_id", "%v", err)
		}
	}
	all, err := p.scheduled.list(ctx, p.host.DB(), selectScheduled, int64(call.User), req.AfterId, limit+1)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	n := min(limit, plugin.Fits(all, p.config.PageBytes, func(s *scheduledMessage) int { return s.size(call.Codec) }))
	rep := &chatpb.ScheduledReply{HasMore: len(all) > n}
	for _, s := range all[:min(n, len(all))] {
		rep.Scheduled = append(rep.Scheduled, s.shown())
	}
	return rep, nil
}

// reschedule gives one of the caller's own another time, or text. One that failed waits again.
func (p *Chat) reschedule(ctx context.Context, call *plugin.Call, req *chatpb.RescheduleRequest) (*chatpb.RescheduleReply, error) {
	if req.AtMs != 0 {
		if err := p.checkTime(req.AtMs); err != nil {
			return nil, err
		}
	}
	var s *scheduledMessage
	err := p.changeScheduled(ctx, call.User, req.Id, func(tx *sql.Tx, found *scheduledMessage) error {
		s = found
		switch {
		case req.Version != 0 && req.Version != s.version:
			return &im.Error{Code: idl.CodeConflict, Field: "version", Reason: "it was changed since"}
		case req.AtMs == 0 && s.state == unsent:
			return im.Invalid("at_ms", "it could not be sent: say when to try again")
		}
		if req.Text != nil {
			s.request.Text = *req.Text
			if err := p.validateSend(call, s.request); err != nil {
				return err
			}
		}
		if req.AtMs != 0 {
			s.atMs = req.AtMs
		}
		s.version, s.state, s.tries, s.reason, s.nextMs = s.version+1, toSend, 0, "", s.atMs
		if err := p.scheduled.keep(ctx, tx, s); err != nil {
			return err
		}
		return p.tellScheduled(ctx, tx, s, "waiting", "")
	})
	if err != nil {
		return nil, err
	}
	return &chatpb.RescheduleReply{Scheduled: s.shown()}, nil
}

// unschedule has one of the caller's own not be sent.
func (p *Chat) unschedule(ctx context.Context, call *plugin.Call, req *chatpb.UnscheduleRequest) (*chatpb.UnscheduleReply, error) {
	var s *scheduledMessage
	err := p.changeScheduled(ctx, call.User, req.Id, func(tx *sql.Tx, found *scheduledMessage) error {
		s = found
		if err := p.scheduled.remove(ctx, tx, s.id); err != nil {
			return err
		}
		return p.tellScheduled(ctx, tx, s, "canceled", "")
	})
	if err != nil {
		return nil, err
	}
	p.dropScheduled(ctx, s)
	return &chatpb.UnscheduleReply{}, nil
}

// changeScheduled runs fn on a message that waits, or failed, alone. Of one that is being sent nothing changes any more, nor
// of one that may have arrived.
func (p *Chat) changeScheduled(ctx context.Context, user im.UserID, id string, fn func(tx *sql.Tx, s *scheduledMessage) error) error {
	if _, err := im.ParseMessageID(id); err != nil {
		return im.Invalid("id", "%v", err)
	}
	if err := p.mayChange(ctx, user); err != nil {
		return err
	}
	var doubtful *scheduledMessage
	err := p.host.Tx(ctx, func(tx *sql.Tx) error {
		doubtful = nil
		s, err := p.scheduled.lock(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case s == nil || s.sender != user:
			return errNotScheduled
		case s.state == unsure:
			doubtful = s
			return errSending
		case s.state == sending:
			return errSending
		}
		return fn(tx, s)
	})
	if doubtful != nil {
		if there, lookErr := p.arrived(ctx, doubtful); lookErr != nil {
			err = lookErr
		} else if there {
			err = errNotScheduled
		}
	}
	if err != nil {
		return refusal(ctx, err)
	}
	p.Deliver()
	return nil
}

// tellScheduled files what became of a scheduled message, for its sender's devices.
func (p *Chat) tellScheduled(ctx context.Context, tx *sql.Tx, s *scheduledMessage, state, reason string) error {
	data := facts{"id": s.id, "client_id": s.request.ClientId, "state": state, "at_ms": s.atMs, "version": s.version}
	if reason != "" {
		data["reason"] = reason
	}
	return p.File(ctx, tx, plugin.Event{Users: []im.UserID{s.sender}, Actor: s.sender, Name: eventScheduled, Data: data.json()})
}

const eventScheduled = "chat.scheduled"

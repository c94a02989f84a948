package social

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"

	"golang.org/x/text/unicode/norm"
)

// The longest texts in characters. Source: idl/social.proto.
const (
	maxRemark = 200
	maxAnswer = 200
)

func validateApply(call *plugin.Call, req *socialpb.ApplyRequest) error {
	if _, err := somebody(call, req.UserId); err != nil {
		return err
	}
	if err := text("remark", &req.Remark, 0, maxRemark); err != nil {
		return err
	}
	return text("answer", &req.Answer, 0, maxAnswer)
}

// text checks a text of people's, and brings it into Unicode NFC.
func text(field string, t *string, least, most int) error {
	if len(*t) > 16*most { // NFC of more is never short enough
		return im.Invalid(field, "must have %d-%d characters", least, most)
	}
	*t = norm.NFC.String(*t)
	return im.CheckText(field, *t, least, most)
}

// apply files an application, or makes friends at once: of two who apply to each other,
// and with one who never took the caller out of his list.
func (p *Social) apply(ctx context.Context, call *plugin.Call, req *socialpb.ApplyRequest) (*socialpb.ApplyReply, error) {
	to := im.UserID(req.UserId)
	if _, err := p.must(ctx, to); err != nil {
		return nil, err
	}
	if wait := p.applied.Take(ctx, call.User.String()); wait > 0 {
		return nil, &im.Error{Code: idl.CodeRateLimited, Reason: "too many applications", RetryAfter: wait}
	}
	now := p.host.Now()
	var rep *socialpb.ApplyReply
	err := p.change(ctx, func(tx *sql.Tx, people []*person) (events []plugin.Event, err error) {
		rep, events, err = p.applyIn(ctx, tx, people[0], people[1], req, now)
		return events, err
	}, call.User, to)
	return rep, err
}

// applyIn is apply within the transaction that has both locked.
func (p *Social) applyIn(ctx context.Context, tx *sql.Tx, me, him *person, req *socialpb.ApplyRequest, now time.Time) (*socialpb.ApplyReply, []plugin.Event, error) {
	nowMs := now.UnixMilli()
	s, err := p.standing(ctx, tx, me.user, him.user)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case s.mine.state == mutual:
		return nil, nil, &im.Error{Code: idl.CodeAlreadyExists, Field: "user_id", Reason: "is a friend of yours"}
	case s.iBlock:
		return nil, nil, &im.Error{Code: idl.CodePermissionDenied, Field: "user_id", Reason: "you block this person"}
	case s.heBlocks && p.config.Blocked == blockedRefused:
		return nil, nil, &im.Error{Code: idl.CodePermissionDenied, Field: "user_id", Reason: "this person takes no applications from you"}
	case !s.heBlocks && (s.his.state == kept || s.incoming.holds(nowMs)):
		if _, err := p.befriend(ctx, tx, me, him, nowMs); err != nil {
			return nil, nil, err
		}
		return &socialpb.ApplyReply{Friends: true}, []plugin.Event{event(me.user, "accepted", two{me.user, him.user}, me.user, him.user)}, nil
	}
	if s.outgoing.holds(nowMs) && (s.outgoing.state == pending || s.heBlocks) {
		if s.outgoing.remark != req.Remark || s.outgoing.answer != req.Answer {
			return nil, nil, &im.Error{Code: idl.CodeAlreadyExists, Field: "user_id", Reason: "has an application of yours: take it back first"}
		}
		return &socialpb.ApplyReply{ExpiresMs: s.outgoing.untilMs}, nil, nil // a resend
	}
	if err := p.mayApply(me, him, s.outgoing, req, now); err != nil {
		return nil, nil, err
	}
	a := application{from: me.user, to: him.user, stored: s.outgoing.stored, remark: req.Remark, answer: req.Answer, madeMs: nowMs,
		untilMs: now.Add(p.config.ApplicationTime).UnixMilli()}
	if him.apply == socialpb.WhoMayApply_WHO_MAY_APPLY_WITH_ANSWER {
		a.question = him.question
	}
	told := []im.UserID{me.user, him.user}
	if s.heBlocks {
		a.state, told = unseen, told[:1]
	}
	if err := p.store.putApplication(ctx, tx, me, him, s.outgoing, a); err != nil {
		return nil, nil, err
	}
	return &socialpb.ApplyReply{ExpiresMs: a.untilMs}, []plugin.Event{event(me.user, "applied", appliedData{me.user, him.user, a.remark, a.question, a.answer, a.untilMs}, told...)}, nil
}

// two is the data of an event between two people: who did or applied, and the other one.
type two struct {
	From im.UserID `json:"from"`
	To   im.UserID `json:"to"`
}

// appliedData is that of an application.
type appliedData struct {
	From      im.UserID `json:"from"`
	To        im.UserID `json:"to"`
	Remark    string    `json:"remark,omitempty"`
	Question  string    `json:"question,omitempty"`
	Answer    string    `json:"answer,omitempty"`
	ExpiresMs int64     `json:"expires_ms"`
}

// mayApply refuses an application that breaks his wishes or a bound. It looks the same to
// one whom he blocks.
func (p *Social) mayApply(me, him *person, last application, req *socialpb.ApplyRequest, now time.Time) error {
	if last.stored && last.state == refused {
		if wait := time.UnixMilli(last.endedMs).Add(p.config.ApplicationPause).Sub(now); wait > 0 {
			return &im.Error{Code: idl.CodeRateLimited, Field: "user_id", Reason: "has refused: apply later", RetryAfter: wait}
		}
	}
	switch {
	case him.apply == socialpb.WhoMayApply_WHO_MAY_APPLY_NOBODY:
		return &im.Error{Code: idl.CodePermissionDenied, Field: "user_id", Reason: "this person takes no applications"}
	case him.apply == socialpb.WhoMayApply_WHO_MAY_APPLY_WITH_ANSWER && req.Answer == "":
		return im.Invalid("answer", "must answer this person's question")
	case me.friends >= p.config.MaxFriends:
		return im.Errorf(idl.CodeLimitExceeded, "%d is the most friends that one can have", p.config.MaxFriends)
	case me.sent >= p.config.MaxSent:
		return im.Errorf(idl.CodeLimitExceeded, "%d is the most applications that can wait", p.config.MaxSent)
	case him.received >= p.config.MaxReceived:
		return &im.Error{Code: idl.CodeLimitExceeded, Field: "user_id", Reason: "has too many applications that wait"}
	}
	return nil
}

// standing is all that there is between two people.
type standing struct {
	mine, his          friend // each one's entry of the other
	iBlock, heBlocks   bool
	incoming, outgoing application
}

func (p *Social) standing(ctx context.Context, q querier, me, him im.UserID) (s standing, err error) {
	if s.mine, err = p.store.friend(ctx, q, me, him); err != nil {
		return s, err
	}
	if s.his, err = p.store.friend(ctx, q, him, me); err != nil {
		return s, err
	}
	if s.iBlock, err = p.store.blocks(ctx, q, me, him); err != nil {
		return s, err
	}
	if s.heBlocks, err = p.store.blocks(ctx, q, him, me); err != nil {
		return s, err
	}
	if s.incoming, err = p.store.application(ctx, q, him, me); err != nil {
		return s, err
	}
	s.outgoing, err = p.store.application(ctx, q, me, him)
	return s, err
}

// noApplication is the refusal of an answer to an application that is not there.
func noApplication(whose string) error {
	return &im.Error{Code: idl.CodeNotFound, Field: "user_id", Reason: fmt.Sprintf("there is no application %s", whose)}
}

package social

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/socialpb"
)

// relation says how the caller stands to somebody. That he blocks the caller, or has taken
// him out of his list, it does not say.
func (p *Social) relation(ctx context.Context, call *plugin.Call, req *socialpb.RelationRequest) (*socialpb.RelationReply, error) {
	who, err := somebody(call, req.UserId)
	if err != nil {
		return nil, err
	}
	if _, err := p.must(ctx, who); err != nil {
		return nil, err
	}
	people, err := p.shown(ctx, []im.UserID{who})
	if err != nil {
		return nil, err
	}
	s, err := p.standing(ctx, p.store.db, call.User, who)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	him, err := p.store.person(ctx, p.store.db, who)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep := &socialpb.RelationReply{Person: people[who], Blocked: s.iBlock, Apply: him.apply}
	if him.apply == socialpb.WhoMayApply_WHO_MAY_APPLY_WITH_ANSWER {
		rep.Question = him.question
	}
	if s.mine.state != gone {
		rep.Friend = wireFriend(s.mine, people)
	}
	nowMs := p.host.Now().UnixMilli()
	if s.incoming.state == pending && s.incoming.holds(nowMs) {
		rep.Incoming = wireApplication(s.incoming, call.User, people, nowMs)
	}
	if s.outgoing.holds(nowMs) {
		rep.Outgoing = wireApplication(s.outgoing, call.User, people, nowMs)
	}
	return rep, nil
}

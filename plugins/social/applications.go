package social

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/socialpb"
)

const (
	usualApplications = 50
	mostApplications  = 100
)

// The queries of both lists, the newest first. Of two of one time, who has the greater ID.
const (
	receivedQuery = "WHERE to_id = ? AND state < 5 AND made_ms <= ? AND NOT (made_ms = ? AND from_id >= ?) ORDER BY made_ms DESC, from_id DESC LIMIT ?"
	sentQuery     = "WHERE from_id = ? AND made_ms <= ? AND NOT (made_ms = ? AND to_id >= ?) ORDER BY made_ms DESC, to_id DESC LIMIT ?"
)

// listApplications gives a page of others' applications to the caller, or of his own. Those that have
// ended are among them for a month.
func (p *Social) listApplications(ctx context.Context, call *plugin.Call, req *socialpb.ApplicationsRequest) (*socialpb.ApplicationsReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualApplications, mostApplications)
	if err != nil {
		return nil, err
	}
	kind, query := byte(receivedList), receivedQuery
	if req.Outgoing {
		kind, query = sentList, sentQuery
	}
	from, err := parseCursor("cursor", req.Cursor, kind, call.User)
	if err != nil {
		return nil, err
	}
	if from == nil {
		from = &cursor{a: 1 << 53, b: 1 << 53}
	}
	all, err := p.store.applications(ctx, p.store.db, query, int64(call.User), from.a, from.a, from.b, limit+1)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep := &socialpb.ApplicationsReply{HasMore: len(all) > limit}
	if rep.HasMore {
		all = all[:limit]
		last := all[limit-1]
		rep.Next = cursor{kind, call.User, last.madeMs, int64(last.other(call.User))}.String()
	}
	var others []im.UserID
	for _, a := range all {
		others = append(others, a.other(call.User))
	}
	people, err := p.shown(ctx, others)
	if err != nil {
		return nil, err
	}
	nowMs := p.host.Now().UnixMilli()
	for _, a := range all {
		rep.Applications = append(rep.Applications, wireApplication(a, call.User, people, nowMs))
	}
	return rep, nil
}

// other is the one of the two who is not u.
func (a *application) other(u im.UserID) im.UserID {
	if a.from == u {
		return a.to
	}
	return a.from
}

// wireApplication is a as u, who is one of the two, sees it.
func wireApplication(a application, u im.UserID, people map[im.UserID]*socialpb.Person, nowMs int64) *socialpb.Application {
	shown := &socialpb.Application{Person: people[a.other(u)], Outgoing: a.from == u, State: socialpb.ApplicationState(a.state.shown()),
		Remark: a.remark, Question: a.question, Answer: a.answer, MadeMs: a.madeMs, EndedMs: a.endedMs}
	switch {
	case a.holds(nowMs):
		shown.State, shown.ExpiresMs = socialpb.ApplicationState_APPLICATION_STATE_PENDING, a.untilMs
	case a.open(): // and nobody has seen to it yet
		shown.State, shown.EndedMs = socialpb.ApplicationState_APPLICATION_STATE_EXPIRED, a.untilMs
	}
	return shown
}

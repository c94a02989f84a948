package moment

import (
	"context"
	"database/sql"
	"net/http"
	"strings"
	"time"

	"freeim/core/plugin"
	"freeim/idl/kitex_gen/momentpb"
)

// This file is the reviewers' side, on the administrative port.

// reviewed is a moment as reviewers see it.
type reviewed struct {
	ID         string    `json:"id"`
	Author     int64     `json:"author"`
	Time       time.Time `json:"time"`
	Text       string    `json:"text"`
	Media      media     `json:"media"`
	Visibility string    `json:"visibility"`
	State      string    `json:"state"`
	Reason     string    `json:"reason,omitempty"`
}

func (m *moment) reviewed() reviewed {
	return reviewed{ID: m.id, Author: int64(m.author), Time: time.UnixMilli(m.madeMs).UTC(), Text: m.text, Media: m.media,
		Visibility: strings.ToLower(strings.TrimPrefix(m.visibility.String(), "MOMENT_VISIBILITY_")), State: stateNames[m.state], Reason: m.reason}
}

var stateNames = [...]string{published: "published", waiting: "waiting", refused: "refused"}

// Pages implements plugin.Pager.
func (p *Moment) Pages() []plugin.Page {
	return []plugin.Page{
		{Pattern: "GET /moments", Handler: http.HandlerFunc(p.showWaiting), About: "moments that wait for a reviewer; ?state=refused those that were refused; ?after=ID, ?limit="},
		{Pattern: "POST /moments", Handler: http.HandlerFunc(p.decideMoment), About: "decides about one, also again: ?id=ID&verdict=approve, or &verdict=deny&reason=TEXT; &by=NAME"},
	}
}

// waitingMoments lists moments in a state, the oldest first.
const waitingMoments = asListed + "WHERE state = ? AND id > ? ORDER BY id LIMIT ?"

// showWaiting lists the moments that wait, or were refused.
func (p *Moment) showWaiting(w http.ResponseWriter, r *http.Request) {
	limit, err := plugin.ReviewLimit(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	state := waiting
	switch r.FormValue("state") {
	case "", "waiting":
	case "refused":
		state = refused
	default:
		http.Error(w, "state must be waiting or refused", http.StatusBadRequest)
		return
	}
	all, err := p.store.moments(r.Context(), p.store.db, waitingMoments, int32(state), r.FormValue("after"), limit+1)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	page := struct {
		Moments []reviewed `json:"moments"`
		Next    string     `json:"next,omitempty"` // as after, for more
	}{Moments: []reviewed{}}
	for i, m := range all {
		if i == limit {
			page.Next = all[i-1].id
			break
		}
		page.Moments = append(page.Moments, m.reviewed())
	}
	plugin.AnswerPage(w, http.StatusOK, page)
}

// decideMoment publishes one or refuses it.
func (p *Moment) decideMoment(w http.ResponseWriter, r *http.Request) {
	d, err := plugin.ReadDecision(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	state := published
	if !d.Approve {
		state = refused
	} else {
		d.Reason = ""
	}
	m, done, err := p.decide(r.Context(), d.ID, state, d.Reason, d.By)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case m == nil:
		http.Error(w, "no such moment: perhaps its author deleted it", http.StatusNotFound)
	case !done:
		plugin.AnswerPage(w, http.StatusConflict, m.reviewed())
	default:
		plugin.AnswerPage(w, http.StatusOK, m.reviewed())
	}
}

// decide gives a moment a state, and tells its author; done is false when it has it already.
func (p *Moment) decide(ctx context.Context, id string, state momentpb.MomentReview, reason, by string) (m *moment, done bool, err error) {
	err = p.store.tx(ctx, func(tx *sql.Tx) error {
		if m, err = p.store.lock(ctx, tx, id); m == nil || err != nil {
			return err
		}
		if done = m.state != state; !done {
			return nil
		}
		m.state, m.reason = state, reason
		if err := p.store.change(ctx, tx, m); err != nil {
			return err
		}
		return p.tell(ctx, tx, 0, "reviewed", told{Moment: m.id, Approved: new(state == published), Reason: reason}, m.author)
	})
	if err != nil || m == nil || !done {
		return m, false, err
	}
	p.host.Log().Info("decided about a moment", "id", m.id, "user", m.author, "state", stateNames[state], "by", by)
	p.messages.Deliver()
	return m, true, nil
}

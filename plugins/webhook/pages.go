package webhook

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
)

// This file is the operators' side, on the administrative port. What changes something takes a form
// in the body and leaves a line in the log.

const (
	mostForm  = 64 << 10 // octets
	mostBy    = 64       // characters of who did it
	mostRetry = 100      // dead letters in one call
)

// Pages implements plugin.Pager.
func (p *Webhook) Pages() []plugin.Page {
	page := func(pattern, about string, handler http.HandlerFunc) plugin.Page {
		return plugin.Page{Pattern: pattern, Handler: handler, About: about}
	}
	return []plugin.Page{
		page("GET /webhooks", "endpoints that are told what happens: who delivers, how far, and the last calls of this core", p.showAll),
		page("GET /webhooks/dead", "events that were given up: ?endpoint=NAME, ?after=POSITION, ?limit=", p.showDead),
		page("POST /webhooks/test", "sends a ping, and shows what came of it: endpoint=; what follows takes it too, and by=, as a form", p.changing("test", p.test)),
		page("POST /webhooks/retry", "delivers dead letters again, the oldest of each feed first: position= (none: up to 100)", p.changing("retry", p.retry)),
		page("POST /webhooks/drop", "forgets dead letters: position=, or all=1", p.changing("drop", p.drop)),
		page("POST /webhooks/replay", "delivers again what was: position= (that feed behind it), since= (RFC 3339), or all=1 (from the beginning)", p.changing("replay", p.replay)),
		page("POST /webhooks/pause", "stops deliveries; what happens waits", p.changing("pause", p.stopByHand)),
		page("POST /webhooks/resume", "goes on with them", p.changing("resume", p.resume)),
	}
}

// shown is an endpoint as operators see it.
type shown struct {
	Endpoint string   `json:"endpoint"`
	Events   []string `json:"events"`
	Stopped  string   `json:"stopped,omitempty"` // why
	Owner    string   `json:"owner,omitempty"`   // the core that delivers
	Here     bool     `json:"here"`              // that is this one
	Broken   bool     `json:"broken,omitempty"`  // it failed too often and is left alone for a while, as this core sees it
	Pending  int64    `json:"pending"`           // items of the feeds that were not looked at yet
	Tries    int      `json:"tries,omitempty"`   // the most that failed of what comes next in a feed
	Dead     int      `json:"dead"`              // letters, as far as most_dead
	Calls    []call   `json:"calls"`             // of this core, the newest last
}

func (p *Webhook) shown(ctx context.Context, e *endpoint) (all shown, err error) {
	st, err := p.store.state(ctx, e.Name)
	if err != nil {
		return all, err
	}
	all = shown{Endpoint: e.Name, Events: e.Events, Stopped: st.stopped, Calls: []call{}, Broken: e.broken()}
	if st.untilMs > p.host.Now().UnixMilli() {
		all.Owner, all.Here = st.owner, st.owner == e.plugin.core
	}
	if all.Dead, err = p.store.countDead(ctx, e.Name, p.config.MostDead); err != nil {
		return all, err
	}
	for _, s := range e.shards {
		at, err := p.store.cursor(ctx, e.Name, s.feed)
		if err != nil {
			return all, err
		}
		end, err := p.outbox.Fed(ctx, s.feed, 0, 0)
		if err != nil {
			return all, err
		}
		all.Pending += max(0, end.Head-at.place)
		all.Tries = max(all.Tries, at.tries)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	all.Calls = append(all.Calls, e.calls...)
	return all, nil
}

func (p *Webhook) showAll(w http.ResponseWriter, r *http.Request) {
	page := struct {
		Webhooks []shown `json:"webhooks"`
	}{Webhooks: []shown{}}
	for _, e := range p.endpoints {
		one, err := p.shown(r.Context(), e)
		if err != nil {
			refuse(w, err)
			return
		}
		page.Webhooks = append(page.Webhooks, one)
	}
	plugin.AnswerPage(w, http.StatusOK, page)
}

// letterShown is a dead letter as operators see it.
type letterShown struct {
	Position string    `json:"position"`
	ID       string    `json:"id"`
	Event    string    `json:"event"`
	Died     time.Time `json:"died"`
	Reason   string    `json:"reason"`
}

func (p *Webhook) showDead(w http.ResponseWriter, r *http.Request) {
	e, err := p.named(r.FormValue("endpoint"))
	if err != nil {
		refuse(w, err)
		return
	}
	limit, err := plugin.ReviewLimit(r)
	if err != nil {
		refuse(w, im.Invalid("limit", "%v", err))
		return
	}
	after := position{-1, 0}
	if text := r.FormValue("after"); text != "" {
		if after, err = parsePosition(text); err != nil {
			refuse(w, im.Invalid("after", "%v", err))
			return
		}
	}
	all, err := p.store.dead(r.Context(), e.Name, after, limit+1)
	if err != nil {
		refuse(w, err)
		return
	}
	page := struct {
		Dead []letterShown `json:"dead"`
		Next string        `json:"next,omitempty"` // as after, for more
	}{Dead: []letterShown{}}
	for i, l := range all {
		if i == limit {
			page.Next = page.Dead[i-1].Position
			break
		}
		page.Dead = append(page.Dead, letterShown{position{l.feed, l.place}.String(), l.id, l.event, time.UnixMilli(l.diedMs).UTC(), l.reason})
	}
	plugin.AnswerPage(w, http.StatusOK, page)
}

func (p *Webhook) named(name string) (*endpoint, error) {
	for _, e := range p.endpoints {
		if e.Name == name {
			return e, nil
		}
	}
	return nil, &im.Error{Code: idl.CodeNotFound, Field: "endpoint", Reason: "no such endpoint is configured"}
}

// changing is a page that does something to an endpoint, and answers with what that gives.
func (p *Webhook) changing(what string, do func(r *http.Request, e *endpoint) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, mostForm)
		if err := r.ParseForm(); err != nil || len(r.URL.Query()) > 0 {
			refuse(w, im.Invalid("", "give a form of at most %d octets in the body, and nothing in the URL", mostForm))
			return
		}
		by := cmp.Or(r.PostForm.Get("by"), "operator")
		e, err := p.named(r.PostForm.Get("endpoint"))
		if err = errors.Join(err, im.CheckLine("by", by, 1, mostBy)); err != nil {
			refuse(w, err)
			return
		}
		said, err := do(r, e)
		p.host.Log().Info("administrative action", "action", "webhook "+what, "webhook", e.Name, "by", by, "address", r.RemoteAddr, "err", err)
		if err != nil {
			refuse(w, err)
			return
		}
		plugin.AnswerPage(w, http.StatusOK, said)
	}
}

// tried is what came of deliveries that an operator asked for.
type tried struct {
	Delivered int    `json:"delivered"`
	Status    int    `json:"status,omitempty"` // of the last answer
	Fault     string `json:"fault,omitempty"`  // of the last, if it was not taken: those behind it were not tried
	Answer    string `json:"answer,omitempty"`
	TookMs    int64  `json:"took_ms"`
}

// test sends a ping. The answer is OK whatever came of it.
func (p *Webhook) test(r *http.Request, e *endpoint) (any, error) {
	id := p.host.MessageIDs().Next("").String()
	return e.byHand(r.Context(), []event{{ID: id, Event: pingEvent, TimeMs: p.host.Now().UnixMilli()}}, "ping-"+id), nil
}

// byHand makes a delivery aside from the others.
func (e *endpoint) byHand(ctx context.Context, events []event, name string) tried {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	came := e.deliver(ctx, delivery{Delivery: name, Attempt: 1, Events: events})
	out := tried{Status: came.status, Fault: came.reason, Answer: came.answer, TookMs: came.took.Milliseconds()}
	if came.verdict == taken {
		out.Delivered = len(events)
	}
	return out
}

// retry delivers dead letters one by one, until one is not taken.
func (p *Webhook) retry(r *http.Request, e *endpoint) (any, error) {
	var letters []letter
	var err error
	if text := r.PostForm.Get("position"); text != "" {
		at, err := parsePosition(text)
		if err != nil {
			return nil, im.Invalid("position", "%v", err)
		}
		all, err := p.store.deadOf(r.Context(), e.Name, at.feed, at.place-1, 1)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 || all[0].place != at.place {
			return nil, &im.Error{Code: idl.CodeNotFound, Field: "position", Reason: "no such dead letter"}
		}
		letters = all
	} else if letters, err = p.store.dead(r.Context(), e.Name, position{-1, 0}, mostRetry); err != nil {
		return nil, err
	}
	sum := tried{}
	for _, l := range letters {
		one, err := p.redeliver(r.Context(), e, l)
		if err != nil {
			return nil, err
		}
		sum = tried{sum.Delivered + one.Delivered, one.Status, one.Fault, one.Answer, sum.TookMs + one.TookMs}
		if one.Delivered == 0 {
			break
		}
	}
	return sum, nil
}

// redeliver delivers a dead letter, and forgets it if it is taken.
func (p *Webhook) redeliver(ctx context.Context, e *endpoint, l letter) (tried, error) {
	at := position{l.feed, l.place}
	page, err := p.outbox.Fed(ctx, l.feed, l.place-1, 1)
	if err != nil {
		return tried{}, err
	}
	if len(page.Items) == 0 || page.Items[0].Message == nil || page.Items[0].ID.String() != l.id {
		return tried{}, &im.Error{Code: idl.CodeNotFound, Field: "position", Reason: fmt.Sprintf("what was at %s is not there any more: drop it", at)}
	}
	one, err := eventOf(l.feed, page.Items[0])
	if err != nil {
		return tried{}, err
	}
	came := e.byHand(ctx, []event{one}, "retry-"+at.String())
	if came.Delivered == 0 {
		return came, nil
	}
	_, err = p.store.drop(ctx, e.Name, at)
	return came, err
}

func (p *Webhook) drop(r *http.Request, e *endpoint) (any, error) {
	if r.PostForm.Get("all") == "1" {
		return struct{}{}, p.store.dropAll(r.Context(), e.Name)
	}
	at, err := parsePosition(r.PostForm.Get("position"))
	if err != nil {
		return nil, im.Invalid("position", "%v; or give all=1", err)
	}
	dropped, err := p.store.drop(r.Context(), e.Name, at)
	if err == nil && !dropped {
		err = &im.Error{Code: idl.CodeNotFound, Field: "position", Reason: "no such dead letter"}
	}
	return struct{}{}, err
}

// replay moves cursors, also forward.
func (p *Webhook) replay(r *http.Request, e *endpoint) (any, error) {
	cursors, err := p.places(r)
	if err != nil {
		return nil, err
	}
	for i := range cursors {
		cursors[i].epoch, cursors[i].floorMs = p.host.Timelines().Epoch(), p.host.Now().UnixMilli()
	}
	if err := p.store.replay(r.Context(), e.Name, cursors); err != nil {
		return nil, err
	}
	e.changed()
	return p.shown(r.Context(), e)
}

// places are where a replay begins.
func (p *Webhook) places(r *http.Request) (cursors []cursor, err error) {
	form := r.PostForm
	switch {
	case form.Get("position") != "":
		at, err := parsePosition(form.Get("position"))
		if err != nil {
			return nil, im.Invalid("position", "%v", err)
		}
		end, err := p.outbox.Fed(r.Context(), at.feed, 0, 0)
		if err == nil && at.place > end.Head {
			err = im.Invalid("position", "the feed ends at %d-%d", -at.feed, end.Head)
		}
		return []cursor{{feed: at.feed, place: at.place}}, err
	case form.Get("since") != "":
		since, err := time.Parse(time.RFC3339, form.Get("since"))
		if err != nil || since.UnixMilli() < 1 || since.After(p.host.Now()) {
			return nil, im.Invalid("since", "must be a time that was, as 2026-01-31T12:00:00Z")
		}
		var before im.MessageID // the last that can have been made before
		binary.BigEndian.PutUint64(before[:], uint64(since.UnixMilli())<<22-1)
		for feed := im.UserID(-1); feed.IsFeed(); feed-- {
			place, err := p.host.Timelines().Locate(r.Context(), feed, before)
			if err != nil {
				return nil, err
			}
			cursors = append(cursors, cursor{feed: feed, place: place})
		}
		return cursors, nil
	case form.Get("all") == "1":
		for feed := im.UserID(-1); feed.IsFeed(); feed-- {
			cursors = append(cursors, cursor{feed: feed})
		}
		return cursors, nil
	}
	return nil, im.Invalid("position", "give position, since, or all=1")
}

func (p *Webhook) stopByHand(r *http.Request, e *endpoint) (any, error) {
	if err := p.store.stop(r.Context(), e.Name, anyFence, "an operator paused it"); err != nil {
		return nil, err
	}
	e.changed()
	return p.shown(r.Context(), e)
}

func (p *Webhook) resume(r *http.Request, e *endpoint) (any, error) {
	if err := p.store.resume(r.Context(), e.Name); err != nil {
		return nil, err
	}
	e.changed()
	return p.shown(r.Context(), e)
}

// refuse answers with a refusal, as JSON.
func refuse(w http.ResponseWriter, err error) {
	said := struct {
		Code   string `json:"code"`
		Field  string `json:"field,omitempty"`
		Reason string `json:"reason,omitempty"`
	}{Code: "UNAVAILABLE", Reason: "a store does not answer, see the log"}
	status := http.StatusServiceUnavailable
	if refused, ok := errors.AsType[*im.Error](err); ok {
		said.Code, said.Field, said.Reason = idl.CodeName(refused.Code), refused.Field, refused.Reason
		if status = http.StatusBadRequest; refused.Code == idl.CodeNotFound {
			status = http.StatusNotFound
		}
	}
	plugin.AnswerPage(w, status, said)
}

package chat

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"freeim/core/im"
	"freeim/core/plugin"
)

// This file is the reviewers' side, on the administrative port.

// heldShown is a held message as reviewers see it.
type heldShown struct {
	ID           string    `json:"id"`
	Sender       int64     `json:"sender"`
	Conversation string    `json:"conversation"`
	Queue        string    `json:"queue,omitempty"`
	Rule         string    `json:"rule,omitempty"`
	Text         string    `json:"text"`
	State        string    `json:"state"`
	Since        time.Time `json:"since"`
	Deadline     time.Time `json:"deadline,omitzero"`
	Otherwise    string    `json:"otherwise,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	By           string    `json:"by,omitempty"`
}

func (h *held) shown() heldShown {
	out := heldShown{ID: h.id, Sender: int64(h.sender), Conversation: string(h.conversation), Queue: h.queue, Rule: h.rule, Text: h.text,
		State: [...]string{"waiting", "behind", "approved", "denied"}[h.state], Since: time.UnixMilli(h.heldMs).UTC(), Reason: h.reason, By: h.by}
	if h.state == waiting {
		out.Deadline, out.Otherwise = time.UnixMilli(h.untilMs).UTC(), "deny"
		if h.allow {
			out.Otherwise = "allow"
		}
	}
	return out
}

// Pages implements plugin.Pager.
func (p *Chat) Pages() []plugin.Page {
	return []plugin.Page{
		{Pattern: "GET /held", Handler: http.HandlerFunc(p.showHeld), About: "messages that wait for a reviewer; ?queue=, ?after=ID, ?limit="},
		{Pattern: "POST /held", Handler: http.HandlerFunc(p.decideHeld), About: "decides about one: ?id=ID&verdict=approve, or &verdict=deny&reason=TEXT; &by=NAME"},
	}
}

// showHeld lists the messages that wait for a decision, the oldest first.
func (p *Chat) showHeld(w http.ResponseWriter, r *http.Request) {
	limit := 50
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 500 {
			http.Error(w, "limit must be 1-500", http.StatusBadRequest)
			return
		}
		limit = n
	}
	all, err := p.held.list(r.Context(), p.held.db, "WHERE state = ? AND id > ? AND (? = '' OR queue = ?) ORDER BY id LIMIT ?",
		int(waiting), r.FormValue("after"), r.FormValue("queue"), r.FormValue("queue"), limit+1)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	page := struct {
		Held []heldShown `json:"held"`
		Next string      `json:"next,omitempty"` // as after, for more
	}{Held: []heldShown{}}
	for i := range all {
		if i == limit {
			page.Next = all[i-1].id
			break
		}
		page.Held = append(page.Held, all[i].shown())
	}
	answer(w, http.StatusOK, page)
}

// What a reviewer may write, in characters.
const (
	mostReason   = 200
	mostReviewer = 64
)

// decideHeld approves or denies one.
func (p *Chat) decideHeld(w http.ResponseWriter, r *http.Request) {
	verdict, reason, by := r.FormValue("verdict"), r.FormValue("reason"), r.FormValue("by")
	switch {
	case verdict != "approve" && verdict != "deny":
		http.Error(w, "verdict must be approve or deny", http.StatusBadRequest)
		return
	case !utf8.ValidString(reason) || !utf8.ValidString(by):
		http.Error(w, "reason and by must be UTF-8", http.StatusBadRequest)
		return
	case im.CheckLine("reason", reason, 0, mostReason) != nil:
		http.Error(w, "reason must be a line of at most 200 characters", http.StatusBadRequest)
		return
	case im.CheckLine("by", by, 0, mostReviewer) != nil:
		http.Error(w, "by must be a line of at most 64 characters", http.StatusBadRequest)
		return
	}
	by = cmp.Or(by, "reviewer")
	h, done, err := p.decide(r.Context(), r.FormValue("id"), verdict == "approve", reason, by)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case h == nil:
		http.Error(w, "no such message waits: perhaps it is committed by now", http.StatusNotFound)
	case !done:
		answer(w, http.StatusConflict, h.shown())
	default:
		answer(w, http.StatusOK, h.shown())
	}
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // texts of people
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // who does not read it has gone
}

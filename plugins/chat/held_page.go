package chat

import (
	"net/http"
	"time"

	"freeim/core/plugin"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is the reviewers' side, on the administrative port (pages.go).

// heldShown is a held message as reviewers see it.
type heldShown struct {
	ID           string    `json:"id"`
	Sender       int64     `json:"sender"`
	Conversation string    `json:"conversation"`
	Queue        string    `json:"queue,omitempty"`
	Rule         string    `json:"rule,omitempty"`
	Kind         string    `json:"kind"`
	Text         string    `json:"text"`
	Content      *content  `json:"content,omitempty"` // the rest of it, if it is more than a text
	State        string    `json:"state"`
	Since        time.Time `json:"since"`
	Deadline     time.Time `json:"deadline,omitzero"`
	Otherwise    string    `json:"otherwise,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	By           string    `json:"by,omitempty"`
}

// content is what a message is beside its text, as clients have it.
type content struct {
	Media       *chatpb.Media   `json:"media,omitempty"`
	Place       *chatpb.Place   `json:"place,omitempty"`
	Payload     *chatpb.Payload `json:"payload,omitempty"`
	ReplyTo     *chatpb.Reply   `json:"reply_to,omitempty"`
	Origin      *chatpb.Origin  `json:"origin,omitempty"`
	Mentions    []int64         `json:"mentions,omitempty"`
	MentionsAll bool            `json:"mentions_all,omitempty"`
}

func (h *held) shown() heldShown {
	out := heldShown{ID: h.id, Sender: int64(h.sender), Conversation: string(h.conversation), Queue: h.queue, Rule: h.rule, Text: h.content.Text, Kind: kindName(h.content.Kind),
		State: [...]string{"waiting", "behind", "approved", "denied"}[h.state], Since: time.UnixMilli(h.heldMs).UTC(), Reason: h.reason, By: h.by}
	if c := &h.content; c.Media != nil || c.Place != nil || c.Payload != nil || c.ReplyTo != nil || c.Origin != nil || len(c.Mentions) > 0 || c.MentionsAll {
		out.Content = &content{c.Media, c.Place, c.Payload, c.ReplyTo, c.Origin, c.Mentions, c.MentionsAll}
	}
	if h.state == waiting {
		out.Deadline, out.Otherwise = time.UnixMilli(h.untilMs).UTC(), "deny"
		if h.allow {
			out.Otherwise = "allow"
		}
	}
	return out
}

// showHeld lists the messages that wait for a decision, the oldest first.
func (p *Chat) showHeld(w http.ResponseWriter, r *http.Request) {
	limit, err := plugin.ReviewLimit(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
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
	plugin.AnswerPage(w, http.StatusOK, page)
}

// decideHeld approves or denies one.
func (p *Chat) decideHeld(w http.ResponseWriter, r *http.Request) {
	d, err := plugin.ReadDecision(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h, done, err := p.decide(r.Context(), d.ID, d.Approve, d.Reason, d.By)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case h == nil:
		http.Error(w, "no such message waits: perhaps it is committed by now", http.StatusNotFound)
	case !done:
		plugin.AnswerPage(w, http.StatusConflict, h.shown())
	default:
		plugin.AnswerPage(w, http.StatusOK, h.shown())
	}
}

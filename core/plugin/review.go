package plugin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"unicode/utf8"

	"freeim/core/im"
	"freeim/idl"
)

// This file is what the pages of plugins on the administrative port have in common.

const (
	pageUsual = 50
	pageMost  = 500

	// What a reviewer may write, in characters.
	mostReason   = 200
	mostReviewer = 64
)

// AnswerPage answers with body as JSON, which nobody may keep: pages tell of people.
func AnswerPage(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who does not read it has gone
}

// RefusePage answers with a refusal, as JSON.
func RefusePage(w http.ResponseWriter, err error) {
	said := struct {
		Code         string `json:"code"`
		Field        string `json:"field,omitempty"`
		Reason       string `json:"reason,omitempty"`
		RetryAfterMs int64  `json:"retry_after_ms,omitempty"`
	}{Code: idl.CodeName(im.CodeOf(err))}
	if refused, ok := errors.AsType[*im.Error](err); ok {
		said.Field, said.Reason, said.RetryAfterMs = refused.Field, refused.Reason, refused.RetryAfter.Milliseconds()
	}
	AnswerPage(w, idl.HTTPStatus(im.CodeOf(err)), said)
}

// ReviewLimit is the field limit of a list for reviewers: 1-500, without one 50.
func ReviewLimit(r *http.Request) (int, error) {
	text := r.FormValue("limit")
	if text == "" {
		return pageUsual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > pageMost {
		return 0, fmt.Errorf("limit must be 1-%d", pageMost)
	}
	return n, nil
}

// Decision is what a reviewer says of something that waits.
type Decision struct {
	ID      string
	Approve bool
	Reason  string // of a denial
	By      string
}

// ReadDecision reads the fields id, verdict (approve or deny), reason and by of a request.
func ReadDecision(r *http.Request) (d Decision, err error) {
	verdict := r.FormValue("verdict")
	d = Decision{ID: r.FormValue("id"), Approve: verdict == "approve", Reason: r.FormValue("reason"), By: r.FormValue("by")}
	switch {
	case verdict != "approve" && verdict != "deny":
		return d, errors.New("verdict must be approve or deny")
	case !utf8.ValidString(d.Reason) || im.CheckLine("reason", d.Reason, 0, mostReason) != nil:
		return d, fmt.Errorf("reason must be a line of at most %d characters", mostReason)
	case !utf8.ValidString(d.By) || im.CheckLine("by", d.By, 0, mostReviewer) != nil:
		return d, fmt.Errorf("by must be a line of at most %d characters", mostReviewer)
	}
	d.By = cmp.Or(d.By, "reviewer")
	return d, nil
}

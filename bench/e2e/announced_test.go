package e2e_test

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
)

// announced is what the operator announced.
type announced struct {
	from      int64
	text      string
	Seq       int64
	MessageID string `json:"message_id"`
	Duplicate bool
}

// operates is what the operator's programs do, on a page of the last core: announces "text" from alice as n1 |
// repeats n1 | edits n1 "text" | recalls n1; or writes
func (s *stage) operates(ctx context.Context, w []string) error {
	if w[0] == "writes" {
		return s.writes(ctx, w[1:])
	}
	last := len(s.cluster.Cores) - 1
	if w[0] == "announces" {
		one := &announced{from: s.people[w[3]].id, text: w[1]}
		s.announced[w[5]] = one
		return s.page(ctx, last, "POST /announcements", one.form(w[5]), one)
	}
	one := s.announced[w[1]]
	about := url.Values{"seq": {strconv.FormatInt(one.Seq, 10)}, "message_id": {one.MessageID}}
	switch w[0] {
	case "repeats": // to another core
		var again announced
		if err := s.page(ctx, 0, "POST /announcements", one.form(w[1]), &again); err != nil || again.MessageID != one.MessageID || !again.Duplicate {
			return fmt.Errorf("got %+v, %w", again, err)
		}
		return nil
	case "edits":
		about.Set("text", w[2])
		return s.page(ctx, last, "POST /announcements/edit", about, nil)
	case "recalls":
		return s.page(ctx, last, "POST /announcements/recall", about, nil)
	}
	return fmt.Errorf("no step %q", w[0])
}

func (a *announced) form(name string) url.Values {
	return url.Values{"from": {strconv.FormatInt(a.from, 10)}, "client_id": {name}, "text": {a.text}}
}

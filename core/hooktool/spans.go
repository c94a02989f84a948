package hooktool

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"freeim/scripts/engine"
)

// span is what one bundle decided.
type span struct {
	Bundle string   `json:"bundle"`
	Count  int      `json:"count"`
	First  question `json:"first"`
	Last   question `json:"last"`
}

// question is a recorded action, named so that it can be found.
type question struct {
	At           time.Time `json:"at"`
	Action       string    `json:"action"`
	User         string    `json:"user,omitempty"`
	Conversation string    `json:"conversation,omitempty"`
	Client       string    `json:"client_id,omitempty"` // the client's ID of the message
}

// spans says at which action another bundle began to decide.
func (t *tool) spans(ctx context.Context, args []string) error {
	fs := t.flags()
	f := serversOf(fs)
	from := fs.String("from", "", "`FILE` of recorded actions, or a directory of such (core.data/rules/recorded); the running server's last ones if left out")
	if _, err := t.parse(fs, args, 0, 0); err != nil {
		return err
	}
	recording, err := t.recorded(ctx, f, *from)
	if err != nil {
		return err
	}
	all := []span{}
	for _, s := range engine.Spans(recording) {
		all = append(all, span{s.Bundle, s.Count, questionOf(s.First), questionOf(s.Last)})
	}
	if t.json {
		return t.print(all)
	}
	rows := []string{"bundle\trecorded\tfrom\tto"}
	for _, s := range all {
		rows = append(rows, fmt.Sprintf("%s\t%d\t%s\t%s", s.Bundle, s.Count, s.First, s.Last))
	}
	table(t.Out, rows...)
	return nil
}

func questionOf(r *engine.Recorded) question {
	q := question{At: r.At, Action: r.Action, Conversation: r.Conversation}
	if int(engine.FactUser) < len(r.Facts) {
		q.User = r.Facts[engine.FactUser]
	}
	var named struct {
		Client string `json:"client_id"`
	}
	if json.Unmarshal(r.Request, &named) == nil { // what is not there is not shown
		q.Client = named.Client
	}
	return q
}

// String is the question in a line.
func (q question) String() string {
	out := []string{q.At.Local().Format("2006-01-02 15:04:05.000"), q.Action, "user " + cmp.Or(q.User, "?")}
	if q.Conversation != "" {
		out = append(out, "in "+q.Conversation)
	}
	if q.Client != "" {
		out = append(out, "client_id "+q.Client)
	}
	return strings.Join(out, " ")
}

package moment

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
)

// told is the data of the plugin's events.
type told struct {
	Moment   string `json:"moment_id"`
	Comment  string `json:"comment_id,omitempty"`
	ReplyTo  string `json:"reply_to,omitempty"`
	Approved *bool  `json:"approved,omitempty"` // of "moment.reviewed"
	Reason   string `json:"reason,omitempty"`
}

// tell files an event, "moment." and what happened, for people.
func (p *Moment) tell(ctx context.Context, tx *sql.Tx, actor im.UserID, what string, data told, whom ...im.UserID) error {
	text, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("write an event: %w", err)
	}
	return p.messages.File(ctx, tx, plugin.Event{Users: whom, Actor: actor, Name: "moment." + what, Data: string(text)})
}

// tellOfComment tells the moment's author, and whose comment was replied to, which is first's.
// Who is both hears of the reply; nobody hears of what he did himself, or may not see.
func (p *Moment) tellOfComment(ctx context.Context, tx *sql.Tx, m *moment, c comment, first *view) error {
	data := told{Moment: m.id, Comment: c.id, ReplyTo: c.replyTo}
	replied := im.UserID(0)
	if first != nil && first.user != c.author {
		listed, err := p.store.listed(ctx, tx, first.user, []string{m.id})
		if err != nil {
			return err
		}
		if first.may(m, listed[m.id]) {
			replied = first.user
			if err := p.tell(ctx, tx, c.author, "replied", data, replied); err != nil {
				return err
			}
		}
	}
	if m.author == c.author || m.author == replied {
		return nil
	}
	return p.tell(ctx, tx, c.author, "commented", data, m.author)
}

package group

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
)

// This file is how events come into a group's log: filed in the transaction of the change, posted
// after it. The numbers of a group's events grow in the order of its changes, and whoever
// posts one has posted, or seen posted, all before it; a post done twice is one. So the
// log has them in that order, exactly once, whichever cores post and die.

// posted is a row of group_outbox: an event that is to be posted.
type posted struct {
	group    int64
	number   int64
	actor    im.UserID
	name     string
	data     string
	audience string // a JSON list of user IDs; toFollowers; empty: the members when it is posted
}

// toFollowers is the audience of an event for all who follow the log: also of a group that is dissolved by then.
const toFollowers = "~"

func (e *posted) fields() []any {
	return []any{&e.group, &e.number, &e.actor, &e.name, &e.data, &e.audience}
}

func addPosted(ctx context.Context, tx *sql.Tx, all []posted) error {
	for _, e := range all {
		_, err := tx.ExecContext(ctx, "INSERT INTO group_outbox (group_id, number, actor_id, name, data, audience) VALUES (?, ?, ?, ?, ?, ?)",
			e.group, e.number, int64(e.actor), e.name, e.data, e.audience)
		if err != nil {
			return fmt.Errorf("insert an event: %w", err)
		}
	}
	return nil
}

const (
	// postTime bounds the posting of what one change did.
	postTime = 5 * time.Second
	// leftOver is how often a core looks for events that another left, or itself.
	leftOver = time.Second
	// postBatch is how many events, or groups with some, are read at once.
	postBatch = 64
)

const (
	eventsOf         = "SELECT group_id, number, actor_id, name, data, audience FROM group_outbox WHERE group_id = ? ORDER BY number LIMIT ?"
	groupsWithEvents = "SELECT DISTINCT group_id FROM group_outbox WHERE group_id > ? ORDER BY group_id LIMIT ?"
	requestsOver     = "WHERE r.expires_ms <= ? ORDER BY r.expires_ms LIMIT ?"
)

// tell posts what is filed of a group, and has notices told. What it cannot post now is posted
// later: the change is committed.
func (p *Group) tell(ctx context.Context, id int64) {
	p.messages.Deliver()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), postTime)
	defer cancel()
	if err := p.post(ctx, id); err != nil {
		p.host.Log().Warn("a group's events wait on", "group", id, "err", err)
	}
}

// post posts a group's events in their order, and forgets those that are posted.
func (p *Group) post(ctx context.Context, id int64) error {
	for {
		all, err := list(ctx, p.host.DB(), (*posted).fields,
			eventsOf, id, postBatch)
		if err != nil || len(all) == 0 {
			return err
		}
		for _, e := range all {
			if err := p.postOne(ctx, e); err != nil {
				return err
			}
		}
		last := all[len(all)-1].number
		err = p.host.Tx(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "DELETE FROM group_outbox WHERE group_id = ? AND number <= ?", id, last)
			return err
		})
		if err != nil {
			return fmt.Errorf("forget events: %w", err)
		}
		if len(all) < postBatch {
			return nil
		}
	}
}

// postOne posts an event to those who are members now, or to whom it names. Of a group that
// nobody is in any more nothing is told.
func (p *Group) postOne(ctx context.Context, e posted) error {
	var to plugin.Audience
	switch e.audience {
	case "":
		if e.name == endRow {
			return p.end(ctx, e.group)
		}
		now, err := p.memberships.get(ctx, e.group)
		switch {
		case err == nil:
			to = now.audience()
		case !errors.Is(err, errUnknown): // dissolved meanwhile
			return err
		}
	case toFollowers:
		to.Log = true
	default:
		if err := json.Unmarshal([]byte(e.audience), &to.Inboxes); err != nil {
			return fmt.Errorf("read whom event %d of group %d is for: %w", e.number, e.group, err)
		}
	}
	switch {
	case e.name == remindRow:
		p.messages.Remind(to.Inboxes...)
		return nil
	case len(to.Inboxes) == 0 && !to.Log:
		return nil
	}
	least, err := p.least(ctx, e, to)
	if err != nil {
		return err
	}
	_, err = p.messages.Post(ctx, plugin.Post{Conversation: conversation(e.group), Actor: e.actor, ClientID: fmt.Sprintf("~g%d.%d", e.group, e.number),
		Name: e.name, Data: e.data, Audience: to.Inboxes, Log: to.Log, Least: least})
	if err != nil {
		return fmt.Errorf("post event %d of group %d: %w", e.number, e.group, err)
	}
	return nil
}

// least is the version by which messages must have been allowed that come behind an event: that of its change, or a later one; 0: any.
func (p *Group) least(ctx context.Context, e posted, to plugin.Audience) (version int64, err error) {
	switch {
	case !decides(e.name, to.Log):
		return 0, nil
	case to.Version != 0:
		return to.Version, nil
	}
	err = p.host.DB().QueryRowContext(ctx, "SELECT version FROM group_groups WHERE id = ?", e.group).Scan(&version) // also of one that is dissolved
	if err != nil {
		return 0, fmt.Errorf("look up the version of group %d: %w", e.group, err)
	}
	return version, nil
}

// decides reports whether an event tells of who may write, or of whom messages are for. Who comes into a large group follows its log, and
// takes nothing from others: messages need not wait for the many who come.
func decides(event string, large bool) bool {
	switch event {
	case "group.joined":
		return !large
	case "group.left", "group.removed", "group.banned", "group.muted", "group.muted_all", "group.role", "group.transferred", "group.settings", "group.dissolved":
		return true
	}
	return false
}

// run posts what was left over and forgets requests that are over, until ctx ends.
func (p *Group) run(ctx context.Context) {
	every := time.NewTicker(leftOver)
	defer every.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		err := p.postLeft(ctx)
		if err == nil {
			err = p.expire(ctx)
		}
		if err != nil && !failing && ctx.Err() == nil {
			p.host.Log().Error("groups' events wait on", "err", err)
		}
		failing = err != nil
	}
}

// postLeft posts the events of all groups that have some. One group that cannot be told holds
// up no other.
func (p *Group) postLeft(ctx context.Context) (first error) {
	for after := int64(0); ; {
		ids, err := list(ctx, p.host.DB(), func(id *int64) []any { return []any{id} },
			groupsWithEvents, after, postBatch)
		if err != nil {
			return err
		}
		for _, id := range ids {
			one, cancel := context.WithTimeout(ctx, postTime)
			err := p.post(one, id)
			cancel()
			if err != nil && first == nil {
				first = err
			}
			after = id
		}
		if len(ids) < postBatch || ctx.Err() != nil {
			return first
		}
	}
}

// expire forgets some of the requests whose time is over: they are not shown anyway.
func (p *Group) expire(ctx context.Context) error {
	now := p.host.Now().UnixMilli()
	over, err := requests(ctx, p.host.DB(), requestsOver, now, postBatch)
	if err != nil || len(over) == 0 {
		return err
	}
	return p.host.Tx(ctx, func(tx *sql.Tx) error {
		for _, r := range over {
			_, err := tx.ExecContext(ctx, "DELETE FROM group_requests WHERE group_id = ? AND user_id = ? AND expires_ms <= ?", r.group, int64(r.user), now)
			if err != nil {
				return fmt.Errorf("forget a request: %w", err)
			}
		}
		return nil
	})
}

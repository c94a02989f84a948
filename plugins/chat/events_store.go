package chat

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
)

// Bounds of events. Source: plugin.Event.
const (
	mostTold      = 10   // people of one
	mostEventName = 64   // octets
	mostEventData = 4096 // octets
)

var eventName = regexp.MustCompile(`^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$`)

// checkEvent says what is wrong with the name or the data of what happened.
func checkEvent(name, data string) error {
	switch {
	case len(name) > mostEventName || !eventName.MatchString(name):
		return fmt.Errorf("%q is no name of an event: plugin, a dot and what happened, %d octets at most", name, mostEventName)
	case len(data) > mostEventData:
		return fmt.Errorf("the data of %s has %d octets, %d may be", name, len(data), mostEventData)
	case !isObject(data):
		return fmt.Errorf("the data of %s is no JSON object", name)
	}
	return nil
}

// checkTold says what is wrong with whom an event is for.
func checkTold(e plugin.Event) error {
	if n := len(e.Users); n < 1 || n > mostTold {
		return fmt.Errorf("%s is for %d people, 1-%d may be", e.Name, n, mostTold)
	}
	for i, u := range e.Users {
		if u < 1 || slices.Contains(e.Users[:i], u) {
			return fmt.Errorf("%s is for %v: each must be a user, once", e.Name, e.Users)
		}
	}
	return nil
}

// filed is an event in the directory.
type filed struct {
	plugin.Event
	whom  []string          // for whom it is as the directory has it: of one order
	log   im.ConversationID // of an event about a message there; empty: it is for its Users, or
	about im.ConversationID // beside which it is told to other programs alone
	id    string
	tries int
	err   error // why the row cannot be read
}

// eventStore keeps events in the directory until they are told.
type eventStore struct {
	host plugin.Host
	db   *sql.DB
	core string // names this run of this core among all
}

func newEventStore(h plugin.Host) *eventStore {
	return &eventStore{host: h, db: h.DB(), core: rand.Text()[:16]}
}

// add puts an event behind all that this core added. Its ID is of the core as a message's is of a
// conversation: two cores in one millisecond make different ones.
func (s *eventStore) add(ctx context.Context, tx *sql.Tx, e plugin.Event) error {
	people := make([]string, len(e.Users))
	for i, u := range e.Users {
		people[i] = u.String()
	}
	return s.put(ctx, tx, strings.Join(people, " "), e)
}

// logMark begins, in place of people, the name of the log into which an event goes.
const logMark = "#"

// asideMark begins, in place of people, what a notice to other programs is about.
const asideMark = "^"

// addTo is add for an event about a message of a log, which comes into that: data is a noted.
func (s *eventStore) addTo(ctx context.Context, tx *sql.Tx, log im.ConversationID, actor im.UserID, name, data string) error {
	return s.put(ctx, tx, logMark+string(log), plugin.Event{Actor: actor, Name: name, Data: data})
}

func (s *eventStore) put(ctx context.Context, tx *sql.Tx, people string, e plugin.Event) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO chat_events (id, core, people, actor, name, data, after_ms, tries) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
		s.host.MessageIDs().Next(im.ConversationID(s.core)).String(), s.core, people, int64(e.Actor), e.Name, e.Data, s.host.Now().Add(others).UnixMilli())
	if err != nil {
		return fmt.Errorf("file an event: %w", err)
	}
	return nil
}

// The events to tell, in order, behind after: those that this core filed, and those of all
// cores whose time has come.
const (
	selectOwn = "SELECT id, people, actor, name, data, tries FROM chat_events WHERE core = ? AND tries = 0 AND id > ? ORDER BY id LIMIT ?"
	selectDue = "SELECT id, people, actor, name, data, tries FROM chat_events WHERE id > ? AND after_ms <= ? AND tries >= 0 ORDER BY id LIMIT ?"
	// Whom those are for that wait until they are tried again.
	selectLate = "SELECT people FROM chat_events WHERE after_ms > ? AND after_ms <= ? AND tries > 0 ORDER BY after_ms, id LIMIT ?"
)

func (s *eventStore) own(ctx context.Context, after string, limit int) ([]filed, error) {
	return s.list(ctx, selectOwn, s.core, after, limit)
}

func (s *eventStore) due(ctx context.Context, after string, limit int) ([]filed, error) {
	return s.list(ctx, selectDue, after, s.host.Now().UnixMilli(), limit)
}

// late are those who wait for an event whose time has not come; all of them say so when there are more
// than can be named.
func (s *eventStore) late(ctx context.Context) (waits, error) {
	now := s.host.Now()
	rows, err := s.db.QueryContext(ctx, selectLate, now.UnixMilli(), now.Add(2*mostPause).UnixMilli(), mostLate)
	if err != nil {
		return nil, fmt.Errorf("list who waits for events: %w", err)
	}
	defer rows.Close()
	late, n := waits{}, 0
	for ; rows.Next(); n++ {
		var people string
		if err := rows.Scan(&people); err != nil {
			return nil, fmt.Errorf("read who waits for an event: %w", err)
		}
		late.add(strings.Fields(people))
	}
	if n == mostLate {
		late[anybody] = true
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list who waits for events: %w", err)
	}
	return late, nil
}

// usersOf reads the people of an event.
func usersOf(people string) (users []im.UserID, err error) {
	for field := range strings.FieldsSeq(people) {
		u, fault := strconv.ParseInt(field, 10, 64)
		err = errors.Join(err, fault)
		users = append(users, im.UserID(u))
	}
	return users, err
}

func (s *eventStore) list(ctx context.Context, query string, args ...any) (all []filed, err error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var e filed
		var people string
		if err := rows.Scan(&e.id, &people, &e.Actor, &e.Name, &e.Data, &e.tries); err != nil {
			return nil, fmt.Errorf("read an event: %w", err)
		}
		e.whom = strings.Fields(people)
		if log, is := strings.CutPrefix(people, logMark); is {
			e.log = im.ConversationID(log)
		} else if about, is := strings.CutPrefix(people, asideMark); is {
			e.about = im.ConversationID(about)
		} else {
			e.Users, e.err = usersOf(people)
			e.err = errors.Join(e.err, checkTold(e.Event), checkEvent(e.Name, e.Data))
		}
		all = append(all, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return all, nil
}

// remove forgets events that were told.
func (s *eventStore) remove(ctx context.Context, told []filed) error {
	if len(told) == 0 {
		return nil
	}
	args := make([]any, len(told))
	for i, e := range told {
		args[i] = e.id
	}
	return s.host.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM chat_events WHERE id IN (?"+strings.Repeat(", ?", len(args)-1)+")", args...); err != nil {
			return fmt.Errorf("forget events: %w", err)
		}
		return nil
	})
}

// later has an event be told after a pause, which grows.
func (s *eventStore) later(ctx context.Context, e filed) error {
	return s.putOff(ctx, e, e.tries+1, s.host.Now().Add(min(time.Second<<min(e.tries, 10), mostPause)).UnixMilli())
}

// aside has an event never be told.
func (s *eventStore) aside(ctx context.Context, e filed) error { return s.putOff(ctx, e, -1, 0) }

func (s *eventStore) putOff(ctx context.Context, e filed, tries int, afterMs int64) error {
	return s.host.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE chat_events SET tries = ?, after_ms = ? WHERE id = ?", tries, afterMs, e.id); err != nil {
			return fmt.Errorf("put an event off: %w", err)
		}
		return nil
	})
}

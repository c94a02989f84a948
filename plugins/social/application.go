package social

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/idl/kitex_gen/socialpb"
)

// applicationState is as on the wire, with one more.
type applicationState int32

const (
	pending   = applicationState(socialpb.ApplicationState_APPLICATION_STATE_PENDING)
	accepted  = applicationState(socialpb.ApplicationState_APPLICATION_STATE_ACCEPTED)
	refused   = applicationState(socialpb.ApplicationState_APPLICATION_STATE_REFUSED)
	withdrawn = applicationState(socialpb.ApplicationState_APPLICATION_STATE_WITHDRAWN)
	expired   = applicationState(socialpb.ApplicationState_APPLICATION_STATE_EXPIRED)
	// unseen is pending for who applied; the other one, who blocks him, sees nothing. Neither when it
	// has ended: it is withdrawn or expired then, with unseen added.
	unseen applicationState = 5
)

// shown is the state for who applied.
func (s applicationState) shown() applicationState {
	if s >= unseen {
		return s - unseen
	}
	return s
}

// remembered is how long an application that has ended is listed.
const remembered = 30 * 24 * time.Hour

// application is a row of social_applications.
type application struct {
	from, to                 im.UserID
	state                    applicationState
	remark, question, answer string
	madeMs, endedMs          int64
	untilMs                  int64 // it expires, or is forgotten
	stored                   bool
}

// open reports whether it has not ended, as far as is written.
func (a *application) open() bool { return a.stored && (a.state == pending || a.state == unseen) }

// holds reports whether it can be accepted, or waits as who applied sees it.
func (a *application) holds(nowMs int64) bool { return a.open() && a.untilMs > nowMs }

const applicationColumns = "from_id, to_id, state, remark, question, answer, made_ms, ended_ms, until_ms"

func (a *application) fields() []any {
	return []any{&a.from, &a.to, &a.state, &a.remark, &a.question, &a.answer, &a.madeMs, &a.endedMs, &a.untilMs}
}

// application reads from's to to; stored is false if there is none.
func (s *store) application(ctx context.Context, q querier, from, to im.UserID) (application, error) {
	a := application{stored: true}
	err := q.QueryRowContext(ctx, "SELECT "+applicationColumns+" FROM social_applications WHERE from_id = ? AND to_id = ?", int64(from), int64(to)).Scan(a.fields()...)
	if errors.Is(err, sql.ErrNoRows) {
		return application{from: from, to: to}, nil
	}
	if err != nil {
		return a, fmt.Errorf("read an application: %w", err)
	}
	return a, nil
}

// applications reads some; rest is what follows FROM social_applications.
func (s *store) applications(ctx context.Context, q querier, rest string, args ...any) (all []application, err error) {
	rows, err := q.QueryContext(ctx, "SELECT "+applicationColumns+" FROM social_applications "+rest, args...)
	if err != nil {
		return nil, fmt.Errorf("list applications: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		a := application{stored: true}
		if err := rows.Scan(a.fields()...); err != nil {
			return nil, fmt.Errorf("read an application: %w", err)
		}
		all = append(all, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list applications: %w", err)
	}
	return all, nil
}

// putApplication writes a, whose people are locked, and keeps their counts.
func (s *store) putApplication(ctx context.Context, tx *sql.Tx, from, to *person, was, a application) (err error) {
	a.stored = true
	from.sent += count(a.open()) - count(was.open())
	to.received += count(a.open() && a.state == pending) - count(was.open() && was.state == pending)
	if was.stored {
		_, err = tx.ExecContext(ctx, "UPDATE social_applications SET state = ?, remark = ?, question = ?, answer = ?, made_ms = ?, ended_ms = ?, until_ms = ? "+
			"WHERE from_id = ? AND to_id = ?", int32(a.state), a.remark, a.question, a.answer, a.madeMs, a.endedMs, a.untilMs, int64(a.from), int64(a.to))
	} else {
		_, err = tx.ExecContext(ctx, "INSERT INTO social_applications ("+applicationColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			int64(a.from), int64(a.to), int32(a.state), a.remark, a.question, a.answer, a.madeMs, a.endedMs, a.untilMs)
	}
	if err != nil {
		return fmt.Errorf("write an application: %w", err)
	}
	return nil
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// end ends an open application as state says.
func (p *Social) end(ctx context.Context, tx *sql.Tx, from, to *person, was application, state applicationState, nowMs int64) error {
	a := was
	if was.state == unseen && state != accepted {
		state += unseen
	}
	a.state, a.endedMs, a.untilMs = state, nowMs, nowMs+remembered.Milliseconds()
	return p.store.putApplication(ctx, tx, from, to, was, a)
}

// blocks reports whether by blocks whom.
func (s *store) blocks(ctx context.Context, q querier, by, whom im.UserID) (bool, error) {
	var n int
	if err := q.QueryRowContext(ctx, "SELECT count(*) FROM social_blocks WHERE user_id = ? AND blocked_id = ?", int64(by), int64(whom)).Scan(&n); err != nil {
		return false, fmt.Errorf("read a block: %w", err)
	}
	return n > 0, nil
}

package moment

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/momentpb"
)

// store is the plugin's tables. Every statement runs on SQLite and MySQL.
type store struct {
	db *sql.DB                                                    // for reading
	tx func(ctx context.Context, fn func(tx *sql.Tx) error) error // plugin.Host.Tx
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// moment is a row of moment_moments.
type moment struct {
	id         string
	author     im.UserID
	clientID   string
	digest     string
	madeMs     int64
	text       string
	media      media
	visibility momentpb.MomentVisibility
	state      momentpb.MomentReview
	reason     string // of a refusal
	likes      int64
	comments   int64
}

// named reports whether the moment has a list of people.
func (m *moment) named() bool { return m.visibility == visibleToOnly || m.visibility == visibleExcept }

// feed and square are the columns of that name.
func (m *moment) feed() bool   { return m.state == published && m.visibility != visibleToNobody }
func (m *moment) square() bool { return m.state == published && m.visibility == visibleToAll }

const momentColumns = "id, author, client_id, digest, made_ms, text, media, visibility, state, reason, likes, comments"

// moments reads moments; rest is what follows FROM moment_moments.
func (s *store) moments(ctx context.Context, q querier, rest string, args ...any) (all []*moment, err error) {
	err = each(ctx, q, "SELECT "+momentColumns+" FROM moment_moments "+rest, args, func(rows *sql.Rows) error {
		var m moment
		var text string
		if err := rows.Scan(&m.id, &m.author, &m.clientID, &m.digest, &m.madeMs, &m.text, &text, &m.visibility, &m.state, &m.reason, &m.likes, &m.comments); err != nil {
			return err
		}
		all = append(all, &m)
		m.media, err = readMedia(text)
		return err
	})
	return all, err
}

// each runs a query and gives its rows to fn.
func each(ctx context.Context, q querier, query string, args []any, fn func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("query moments: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return fmt.Errorf("read moments: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read moments: %w", err)
	}
	return nil
}

// moment gives one; nil: there is none.
func (s *store) moment(ctx context.Context, q querier, id string) (*moment, error) {
	all, err := s.moments(ctx, q, "WHERE id = ?", id)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// byIDs gives those that there are, the newest first.
func (s *store) byIDs(ctx context.Context, ids []string) ([]*moment, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	all, err := s.moments(ctx, s.db, "WHERE id IN "+plugin.Marks(len(ids)), anyOf(ids)...)
	slices.SortFunc(all, func(a, b *moment) int { return strings.Compare(b.id, a.id) })
	return all, err
}

func anyOf[T string | im.UserID](values []T) []any {
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = any(v)
		if u, is := args[i].(im.UserID); is {
			args[i] = int64(u)
		}
	}
	return args
}

// lock has the transaction be the only one that changes the moment, its likes and its comments, and
// gives it as it is; nil: there is none.
func (s *store) lock(ctx context.Context, tx *sql.Tx, id string) (*moment, error) {
	// The update locks the moment's row, on SQLite the directory.
	result, err := tx.ExecContext(ctx, "UPDATE moment_moments SET likes = likes WHERE id = ?", id)
	if err != nil {
		return nil, fmt.Errorf("lock a moment: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return nil, err
	}
	return s.moment(ctx, tx, id)
}

// errNoRow says that an author has no row in moment_authors.
var errNoRow = errors.New("an author has no row")

// byAuthor runs fn in a transaction that is, while it lasts, the only one in which the author
// publishes.
func (s *store) byAuthor(ctx context.Context, author im.UserID, fn func(tx *sql.Tx) error) error {
	try := func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "UPDATE moment_authors SET published = published + 1 WHERE user_id = ?", int64(author))
		if err != nil {
			return fmt.Errorf("lock an author: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, errNoRow)
		}
		return fn(tx)
	}
	err := s.tx(ctx, try)
	if !errors.Is(err, errNoRow) {
		return err
	}
	made := s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO moment_authors (user_id, published, last_id) VALUES (?, 0, '')", int64(author))
		return err
	})
	if err = s.tx(ctx, try); errors.Is(err, errNoRow) { // else somebody else made the row
		err = errors.Join(made, err)
	}
	return err
}

// put files a new moment, with the people that its visibility names, in a transaction of byAuthor.
func (s *store) put(ctx context.Context, tx *sql.Tx, m *moment, listed []im.UserID) error {
	text, err := m.media.stored()
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO moment_moments ("+momentColumns+", feed, square) VALUES "+plugin.Marks(14),
		m.id, int64(m.author), m.clientID, m.digest, m.madeMs, m.text, text, int32(m.visibility), int32(m.state), m.reason, m.likes, m.comments, m.feed(), m.square())
	if err != nil {
		return fmt.Errorf("insert a moment: %w", err)
	}
	// Cores' clocks differ: the last one need not be the greatest.
	_, err = tx.ExecContext(ctx, "UPDATE moment_authors SET last_id = ? WHERE user_id = ? AND last_id < ?", m.id, int64(m.author), m.id)
	if err != nil {
		return fmt.Errorf("note an author's last moment: %w", err)
	}
	return s.putList(ctx, tx, m.id, listed)
}

func (s *store) putList(ctx context.Context, tx *sql.Tx, id string, listed []im.UserID) error {
	if len(listed) == 0 {
		return nil
	}
	args := make([]any, 0, 2*len(listed))
	for _, u := range listed {
		args = append(args, id, int64(u))
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO moment_lists (moment_id, user_id) VALUES "+strings.Repeat(", (?, ?)", len(listed))[2:], args...)
	if err != nil {
		return fmt.Errorf("insert a moment's list: %w", err)
	}
	return nil
}

// change writes what may change of a moment: visibility, state and reason.
func (s *store) change(ctx context.Context, tx *sql.Tx, m *moment) error {
	_, err := tx.ExecContext(ctx, "UPDATE moment_moments SET visibility = ?, state = ?, reason = ?, feed = ?, square = ? WHERE id = ?",
		int32(m.visibility), int32(m.state), m.reason, m.feed(), m.square(), m.id)
	if err != nil {
		return fmt.Errorf("change a moment: %w", err)
	}
	return nil
}

// count adds to a moment's counters.
func (s *store) count(ctx context.Context, tx *sql.Tx, id string, likes, comments int) error {
	_, err := tx.ExecContext(ctx, "UPDATE moment_moments SET likes = likes + ?, comments = comments + ? WHERE id = ?", likes, comments, id)
	if err != nil {
		return fmt.Errorf("count a moment's likes and comments: %w", err)
	}
	return nil
}

func (s *store) dropList(ctx context.Context, tx *sql.Tx, id string) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM moment_lists WHERE moment_id = ?", id); err != nil {
		return fmt.Errorf("delete a moment's list: %w", err)
	}
	return nil
}

// listed tells which of the moments name the user in their list.
func (s *store) listed(ctx context.Context, q querier, user im.UserID, ids []string) (map[string]bool, error) {
	found := map[string]bool{}
	if len(ids) == 0 {
		return found, nil
	}
	return found, each(ctx, q, "SELECT moment_id FROM moment_lists WHERE user_id = ? AND moment_id IN "+plugin.Marks(len(ids)),
		append([]any{int64(user)}, anyOf(ids)...), func(rows *sql.Rows) error {
			var id string
			defer func() { found[id] = true }()
			return rows.Scan(&id)
		})
}

// lists are the people whom each of the moments names, ascending.
func (s *store) lists(ctx context.Context, q querier, ids []string) (map[string][]int64, error) {
	found := map[string][]int64{}
	if len(ids) == 0 {
		return found, nil
	}
	return found, each(ctx, q, "SELECT moment_id, user_id FROM moment_lists WHERE moment_id IN "+plugin.Marks(len(ids))+" ORDER BY moment_id, user_id",
		anyOf(ids), func(rows *sql.Rows) error {
			var id string
			var user int64
			err := rows.Scan(&id, &user)
			found[id] = append(found[id], user)
			return err
		})
}

// filed is what an author filed under a client ID.
type filed struct {
	id     string
	digest string
	madeMs int64
	state  momentpb.MomentReview // of a moment that is there
	text   string                // of a comment that is there
}

// What moment_gone holds.
const (
	goneMoment = iota + 1
	goneComment
)

// filedMoment gives the moment of a client ID, also one that was deleted; nil: there is none.
func (s *store) filedMoment(ctx context.Context, q querier, author im.UserID, clientID string) (*filed, error) {
	var f filed
	err := q.QueryRowContext(ctx, "SELECT id, digest, made_ms, state FROM moment_moments WHERE author = ? AND client_id = ?", int64(author), clientID).
		Scan(&f.id, &f.digest, &f.madeMs, &f.state)
	return s.orGone(ctx, q, &f, err, goneMoment, author, clientID)
}

// filedComment is filedMoment for comments.
func (s *store) filedComment(ctx context.Context, q querier, author im.UserID, clientID string) (*filed, error) {
	var f filed
	err := q.QueryRowContext(ctx, "SELECT id, digest, made_ms, text FROM moment_comments WHERE author = ? AND client_id = ?", int64(author), clientID).
		Scan(&f.id, &f.digest, &f.madeMs, &f.text)
	return s.orGone(ctx, q, &f, err, goneComment, author, clientID)
}

func (s *store) orGone(ctx context.Context, q querier, f *filed, err error, kind int, author im.UserID, clientID string) (*filed, error) {
	if errors.Is(err, sql.ErrNoRows) {
		err = q.QueryRowContext(ctx, "SELECT id, digest, made_ms FROM moment_gone WHERE kind = ? AND author = ? AND client_id = ?", kind, int64(author), clientID).
			Scan(&f.id, &f.digest, &f.madeMs)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for a client ID: %w", err)
	}
	return f, nil
}

// gone is a row of moment_gone.
type gone struct {
	kind   int
	author im.UserID
	client string
	digest string
	id     string
	madeMs int64
	goneMs int64
	swept  bool
}

func (s *store) putGone(ctx context.Context, tx *sql.Tx, g gone) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO moment_gone (kind, author, client_id, digest, id, made_ms, gone_ms, swept) VALUES "+plugin.Marks(8),
		g.kind, int64(g.author), g.client, g.digest, g.id, g.madeMs, g.goneMs, g.swept)
	if err != nil {
		return fmt.Errorf("note what was deleted: %w", err)
	}
	return nil
}

// drop deletes a moment that the transaction has locked; its likes and comments are left
// to the sweep.
func (s *store) drop(ctx context.Context, tx *sql.Tx, m *moment, nowMs int64) error {
	if err := s.dropList(ctx, tx, m.id); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM moment_moments WHERE id = ?", m.id); err != nil {
		return fmt.Errorf("delete a moment: %w", err)
	}
	return s.putGone(ctx, tx, gone{goneMoment, m.author, m.clientID, m.digest, m.id, m.madeMs, nowMs, false})
}

package moment

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
)

// This file is the lists of moments, as their IDs, the newest first. README.md says what
// they cost.

// newest is greater than every ID: before it is all.
const newest = "~"

// asListed has MySQL find rows by an index of the list, never by ID alone: else it takes the list's index as if the ID
// were not asked for, and walks from the end of the list to where the page begins. A comment to SQLite. One's own
// are in four indexes: author_2 is the one with (author, id).
const asListed = " /*! IGNORE INDEX (PRIMARY) */ "

// What each list is.
const (
	// listVisible is what else must hold of a friend's moment for a user, who is given twice.
	listVisible = " AND (m.visibility <= 2 OR m.visibility = 3 AND EXISTS (SELECT 1 FROM moment_lists l WHERE l.moment_id = m.id AND l.user_id = ?)" +
		" OR m.visibility = 4 AND NOT EXISTS (SELECT 1 FROM moment_lists l WHERE l.moment_id = m.id AND l.user_id = ?))"

	ownMoments    = "SELECT m.id FROM moment_moments m /*! FORCE INDEX (author_2) */ WHERE m.author = ? AND m.id < ? ORDER BY m.id DESC LIMIT ?"
	friendMoments = "SELECT m.id FROM moment_moments m" + asListed + "WHERE m.author = ? AND m.feed = 1 AND m.id < ?" + listVisible + " ORDER BY m.id DESC LIMIT ?"
	publicMoments = "SELECT m.id FROM moment_moments m" + asListed + "WHERE m.author = ? AND m.square = 1 AND m.id < ? ORDER BY m.id DESC LIMIT ?"

	squareMoments = "SELECT m.id, m.author, m.square FROM moment_moments m" + asListed + "WHERE m.square = 1 AND m.id < ? ORDER BY m.id DESC LIMIT ?"
	allMoments    = "SELECT m.id, m.author, m.visibility FROM moment_moments m" + asListed + "WHERE m.feed = 1 AND m.id < ? ORDER BY m.id DESC LIMIT ?"

	// headMoments is each author's newest moment for a user: ID before, user twice, authors.
	headMoments = "SELECT a.user_id, (SELECT m.id FROM moment_moments m" + asListed + "WHERE m.author = a.user_id AND m.feed = 1 AND m.id < ?" + listVisible +
		" ORDER BY m.id DESC LIMIT 1) FROM moment_authors a WHERE a.user_id IN "
	lastMoments = "SELECT user_id, last_id FROM moment_authors WHERE user_id IN "
)

// sinceMoments are the newest moments of so many authors from an ID on, so many of each. For
// each: author, ID, ID before, user twice, limit. One query with IN that is ordered by ID may
// walk everybody's; this one is a range of an index for each.
func sinceMoments(authors int) string {
	const of = " UNION ALL SELECT id FROM (SELECT m.id FROM moment_moments m" + asListed + "WHERE m.author = ? AND m.feed = 1 AND m.id >= ? AND m.id < ?" + listVisible +
		" ORDER BY m.id DESC LIMIT ?) part"
	return strings.TrimPrefix(strings.Repeat(of, authors), " UNION ALL ")
}

func (s *store) ids(ctx context.Context, query string, args ...any) (ids []string, err error) {
	err = each(ctx, s.db, query, args, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, err
}

func (s *store) own(ctx context.Context, user im.UserID, before string, n int) ([]string, error) {
	return s.ids(ctx, ownMoments, int64(user), before, n)
}

func (s *store) ofFriend(ctx context.Context, author, user im.UserID, before string, n int) ([]string, error) {
	return s.ids(ctx, friendMoments, int64(author), before, int64(user), int64(user), n)
}

func (s *store) public(ctx context.Context, author im.UserID, before string, n int) ([]string, error) {
	return s.ids(ctx, publicMoments, int64(author), before, n)
}

// step is a moment on a walk through everybody's.
type step struct {
	id     string
	author im.UserID
	listed int // the visibility
}

func (s *store) steps(ctx context.Context, query, before string, n int) (all []step, err error) {
	err = each(ctx, s.db, query, []any{before, n}, func(rows *sql.Rows) error {
		var one step
		err := rows.Scan(&one.id, &one.author, &one.listed)
		all = append(all, one)
		return err
	})
	return all, err
}

const (
	// walkStep is how many of everybody's moments are read at a time, walkMost how many
	// for one page. README.md, The feed, has the figures that they come from.
	walkStep = 250
	walkMost = 1000
	// walkFrom is from how many friends on a walk is tried.
	walkFrom = 100
	// lastsStep and headsStep are how many authors are asked about at a time.
	lastsStep = 1000
	headsStep = 500
)

// feedQuery asks for the newest n moments before an ID, of authors, who are friends of user's.
type feedQuery struct {
	user    im.UserID
	authors []im.UserID
	before  string
	n       int
}

// feed gives moments of friends. Those of people who publish often it finds by walking
// down everybody's newest; what that has not found soon it merges from the authors' own.
func (s *store) feed(ctx context.Context, q feedQuery) (ids []string, err error) {
	if len(q.authors) >= walkFrom {
		var done bool
		if ids, q.before, done, err = s.walk(ctx, q); done || err != nil {
			return ids, err
		}
		q.n -= len(ids)
	}
	more, err := s.merge(ctx, q)
	return append(ids, more...), err
}

// walk reads down everybody's moments until it has q.n of the authors', or there are no
// more: then it is done. It gives up, at an ID, when the rest is likely to be far.
func (s *store) walk(ctx context.Context, q feedQuery) (ids []string, at string, done bool, err error) {
	friends := make(map[im.UserID]bool, len(q.authors))
	for _, u := range q.authors {
		friends[u] = true
	}
	at = q.before
	for read := walkStep; ; read += walkStep {
		steps, err := s.steps(ctx, allMoments, at, walkStep)
		if err != nil {
			return nil, "", false, err
		}
		steps, at, done = after(steps, at, walkStep)
		mine := slices.DeleteFunc(steps, func(one step) bool { return !friends[one.author] })
		if mine, err = s.unlisted(ctx, q.user, mine); err != nil {
			return nil, "", false, err
		}
		for _, one := range mine {
			if ids = append(ids, one.id); len(ids) == q.n {
				return ids, at, true, nil
			}
		}
		if done || read >= walkMost || len(ids)*walkMost < q.n*read {
			return ids, at, done, nil
		}
	}
}

// after gives the place behind steps, and whether there is nothing there: fewer came than
// were asked for.
func after(steps []step, at string, asked int) ([]step, string, bool) {
	if len(steps) > 0 {
		at = steps[len(steps)-1].id
	}
	return steps, at, len(steps) < asked
}

// unlisted leaves out what lists keep from the user.
func (s *store) unlisted(ctx context.Context, user im.UserID, all []step) ([]step, error) {
	var ids []string
	for _, one := range all {
		if one.listed >= int(visibleToOnly) {
			ids = append(ids, one.id)
		}
	}
	listed, err := s.listed(ctx, s.db, user, ids)
	return slices.DeleteFunc(all, func(one step) bool {
		return one.listed == int(visibleToOnly) && !listed[one.id] || one.listed == int(visibleExcept) && listed[one.id]
	}), err
}

// head is an author with the newest of his moments.
type head struct {
	author im.UserID
	id     string
}

func newestFirst(a, b head) int { return strings.Compare(b.id, a.id) }

// merge finds the authors' newest moments by those authors who have the newest.
func (s *store) merge(ctx context.Context, q feedQuery) (ids []string, err error) {
	heads, err := s.heads(ctx, q)
	if err != nil || len(heads) == 0 {
		return nil, err
	}
	if len(heads) < q.n {
		return s.inTurn(ctx, q, heads)
	}
	// These are q.n moments: what is older than the last of them is not among the newest.
	var args []any
	for _, h := range heads {
		args = append(args, int64(h.author), heads[q.n-1].id, q.before, int64(q.user), int64(q.user), q.n)
	}
	ids, err = s.ids(ctx, sinceMoments(len(heads)), args...)
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids[:min(len(ids), q.n)], err
}

// heads are the q.n authors who have the newest moments before q.before, or all who have any.
// Authors are asked about in the order of what they published last: when q.n have a newer one
// than the next can have, the others need not be asked.
func (s *store) heads(ctx context.Context, q feedQuery) (all []head, err error) {
	last, err := s.lasts(ctx, q)
	if err != nil {
		return nil, err
	}
	for step := q.n; len(last) > 0 && (len(all) < q.n || all[q.n-1].id < last[0].id); step = min(2*step, headsStep) {
		some := last[:min(len(last), step)]
		last = last[len(some):]
		args := []any{q.before, int64(q.user), int64(q.user)}
		for _, h := range some {
			args = append(args, int64(h.author))
		}
		err := each(ctx, s.db, headMoments+plugin.Marks(len(some)), args, func(rows *sql.Rows) error {
			var author im.UserID
			var id sql.NullString
			err := rows.Scan(&author, &id)
			if id.Valid {
				all = append(all, head{author, id.String})
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		slices.SortFunc(all, newestFirst)
		all = all[:min(len(all), q.n)]
	}
	return all, nil
}

// lasts are those authors who ever published, with an ID that none of their moments before
// q.before is above.
func (s *store) lasts(ctx context.Context, q feedQuery) (all []head, err error) {
	for some := range slices.Chunk(q.authors, lastsStep) {
		err := each(ctx, s.db, lastMoments+plugin.Marks(len(some)), anyOf(some), func(rows *sql.Rows) error {
			var h head
			err := rows.Scan(&h.author, &h.id)
			h.id = min(h.id, q.before)
			all = append(all, h)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, newestFirst)
	return all, nil
}

// inTurn takes the newest of a few authors' newest, again and again.
func (s *store) inTurn(ctx context.Context, q feedQuery, heads []head) (ids []string, err error) {
	rest := map[im.UserID][]string{} // what is known of an author behind his head
	for len(ids) < q.n && len(heads) > 0 {
		top := heads[0]
		heads = heads[1:]
		ids = append(ids, top.id)
		next := rest[top.author]
		if len(next) == 0 {
			if next, err = s.ofFriend(ctx, top.author, q.user, top.id, q.n-len(ids)); err != nil {
				return nil, err
			}
		}
		if len(next) > 0 {
			top.id, rest[top.author] = next[0], next[1:]
			at, _ := slices.BinarySearchFunc(heads, top, newestFirst)
			heads = slices.Insert(heads, at, top)
		}
	}
	return ids, nil
}

// square gives n public moments of people who are not blocked, or fewer, and the place behind
// what was read; done: there are no more.
func (s *store) square(ctx context.Context, blocked map[im.UserID]bool, before string, n int) (ids []string, at string, done bool, err error) {
	at = before
	for range squareSteps {
		steps, err := s.steps(ctx, squareMoments, at, n)
		if err != nil {
			return nil, "", false, err
		}
		steps, at, done = after(steps, at, n)
		for _, one := range steps {
			if !blocked[one.author] {
				if ids = append(ids, one.id); len(ids) == n {
					return ids, one.id, false, nil
				}
			}
		}
		if done {
			break
		}
	}
	return ids, at, done, nil
}

// squareSteps is how often a page of the square reads on instead of what is blocked.
const squareSteps = 10

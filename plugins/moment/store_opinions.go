package moment

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
)

// This file is likes and comments.

// like is a row of moment_likes.
type like struct {
	moment string
	user   im.UserID
	id     string // its place among the moment's
	madeMs int64
	gone   bool // it was taken back
}

// comment is a row of moment_comments.
type comment struct {
	id          string
	moment      string
	author      im.UserID
	clientID    string
	digest      string
	madeMs      int64
	replyTo     string // empty: no comment
	replyToUser im.UserID
	text        string
}

// Lists of likes and comments, and what one person has of them.
const (
	momentLikes    = "SELECT moment_id, user_id, id, made_ms, gone FROM moment_likes WHERE moment_id = ? AND gone = 0 AND id > ? ORDER BY id, user_id LIMIT ?"
	likesOf        = "SELECT moment_id, user_id, id, made_ms, gone FROM moment_likes WHERE user_id = ? AND moment_id > ? ORDER BY moment_id LIMIT ?"
	momentComments = "SELECT " + commentColumns + " FROM moment_comments" + asListed + "WHERE moment_id = ? AND id > ? ORDER BY id LIMIT ?"
	commentsOf     = "SELECT " + commentColumns + " FROM moment_comments WHERE author = ? AND (moment_id > ? OR moment_id = ? AND id > ?) ORDER BY moment_id, id LIMIT ?"
	commentColumns = "id, moment_id, author, client_id, digest, made_ms, reply_to, reply_to_user, text"
)

func (s *store) likes(ctx context.Context, q querier, query string, args ...any) (all []like, err error) {
	err = each(ctx, q, query, args, func(rows *sql.Rows) error {
		var l like
		err := rows.Scan(&l.moment, &l.user, &l.id, &l.madeMs, &l.gone)
		all = append(all, l)
		return err
	})
	return all, err
}

// like gives somebody's like of a moment, also one that was taken back; nil: there is none.
func (s *store) like(ctx context.Context, q querier, moment string, user im.UserID) (*like, error) {
	all, err := s.likes(ctx, q, "SELECT moment_id, user_id, id, made_ms, gone FROM moment_likes WHERE moment_id = ? AND user_id = ?", moment, int64(user))
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// putLike files a like, instead of the one that was.
func (s *store) putLike(ctx context.Context, tx *sql.Tx, was *like, l like) (err error) {
	if was == nil {
		_, err = tx.ExecContext(ctx, "INSERT INTO moment_likes (moment_id, user_id, id, made_ms, gone) VALUES "+plugin.Marks(5),
			l.moment, int64(l.user), l.id, l.madeMs, l.gone)
	} else {
		_, err = tx.ExecContext(ctx, "UPDATE moment_likes SET id = ?, made_ms = ?, gone = ? WHERE moment_id = ? AND user_id = ?",
			l.id, l.madeMs, l.gone, l.moment, int64(l.user))
	}
	if err != nil {
		return fmt.Errorf("file a like: %w", err)
	}
	return nil
}

// likedBy tells which of the moments somebody likes.
func (s *store) likedBy(ctx context.Context, user im.UserID, ids []string) (map[string]bool, error) {
	found := map[string]bool{}
	all, err := s.likes(ctx, s.db, "SELECT moment_id, user_id, id, made_ms, gone FROM moment_likes WHERE user_id = ? AND moment_id IN "+plugin.Marks(len(ids)),
		append([]any{int64(user)}, anyOf(ids)...)...)
	for _, l := range all {
		found[l.moment] = !l.gone
	}
	return found, err
}

// countsBy counts the likes and comments that the people gave to each of the moments.
func (s *store) countsBy(ctx context.Context, people []im.UserID, ids []string) (map[string]counts, error) {
	found := map[string]counts{}
	if len(people) == 0 || len(ids) == 0 {
		return found, nil
	}
	args := append(anyOf(ids), anyOf(people)...)
	of := func(which string, add func(*counts, int64)) error {
		return each(ctx, s.db, which, args, func(rows *sql.Rows) error {
			var id string
			var n int64
			err := rows.Scan(&id, &n)
			c := found[id]
			add(&c, n)
			found[id] = c
			return err
		})
	}
	err := of(countLikes(len(ids), len(people)), func(c *counts, n int64) { c.likes = n })
	if err == nil {
		err = of(countComments(len(ids), len(people)), func(c *counts, n int64) { c.comments = n })
	}
	return found, err
}

func countLikes(moments, people int) string {
	return "SELECT moment_id, COUNT(*) FROM moment_likes WHERE moment_id IN " + plugin.Marks(moments) + " AND user_id IN " + plugin.Marks(people) + " AND gone = 0 GROUP BY moment_id"
}

func countComments(moments, people int) string {
	return "SELECT moment_id, COUNT(*) FROM moment_comments WHERE moment_id IN " + plugin.Marks(moments) + " AND author IN " + plugin.Marks(people) + " GROUP BY moment_id"
}

func (s *store) comments(ctx context.Context, q querier, query string, args ...any) (all []comment, err error) {
	err = each(ctx, q, query, args, func(rows *sql.Rows) error {
		var c comment
		err := rows.Scan(&c.id, &c.moment, &c.author, &c.clientID, &c.digest, &c.madeMs, &c.replyTo, &c.replyToUser, &c.text)
		all = append(all, c)
		return err
	})
	return all, err
}

// comment gives one; nil: there is none.
func (s *store) comment(ctx context.Context, q querier, id string) (*comment, error) {
	all, err := s.comments(ctx, q, "SELECT "+commentColumns+" FROM moment_comments WHERE id = ?", id)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

func (s *store) putComment(ctx context.Context, tx *sql.Tx, c comment) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO moment_comments ("+commentColumns+") VALUES "+plugin.Marks(strings.Count(commentColumns, ",")+1),
		c.id, c.moment, int64(c.author), c.clientID, c.digest, c.madeMs, c.replyTo, int64(c.replyToUser), c.text)
	if err != nil {
		return fmt.Errorf("insert a comment: %w", err)
	}
	return nil
}

func (s *store) dropComment(ctx context.Context, tx *sql.Tx, id string) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM moment_comments WHERE id = ?", id); err != nil {
		return fmt.Errorf("delete a comment: %w", err)
	}
	return nil
}

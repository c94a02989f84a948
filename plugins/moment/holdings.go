package moment

import (
	"context"
	"database/sql"
	"fmt"

	"freeim/core/im"
)

// holdings is what the plugin keeps of people, for copies and for deletion.
type holdings struct{ *Moment }

// exported is a copy of what is kept of somebody.
type exported struct {
	Moments  []exportedMoment  `json:"moments"`
	Likes    []exportedLike    `json:"likes"`
	Comments []exportedComment `json:"comments"`
}

type exportedMoment struct {
	reviewed
	UserIDs []int64 `json:"user_ids,omitempty"`
}

type exportedLike struct {
	Moment string `json:"moment_id"`
	TimeMs int64  `json:"time_ms"`
}

type exportedComment struct {
	ID      string `json:"id"`
	Moment  string `json:"moment_id"`
	TimeMs  int64  `json:"time_ms"`
	ReplyTo string `json:"reply_to,omitempty"`
	Text    string `json:"text"`
}

// holdingStep is how much is read at a time.
const holdingStep = 200

// Export implements plugin.Holdings. What others said of the person's moments is theirs.
func (p holdings) Export(ctx context.Context, u im.UserID) (any, error) {
	all := exported{Moments: []exportedMoment{}, Likes: []exportedLike{}, Comments: []exportedComment{}}
	for before := newest; ; {
		ids, err := p.store.own(ctx, u, before, holdingStep)
		if err != nil {
			return nil, err
		}
		if len(ids) == 0 {
			break
		}
		before = ids[len(ids)-1]
		moments, err := p.store.byIDs(ctx, ids)
		if err != nil {
			return nil, err
		}
		lists, err := p.store.lists(ctx, p.store.db, ids)
		if err != nil {
			return nil, err
		}
		for _, m := range moments {
			all.Moments = append(all.Moments, exportedMoment{m.reviewed(), lists[m.id]})
		}
	}
	for after := ""; ; {
		likes, err := p.store.likes(ctx, p.store.db, likesOf, int64(u), after, holdingStep)
		if err != nil {
			return nil, err
		}
		for _, l := range likes {
			if after = l.moment; !l.gone {
				all.Likes = append(all.Likes, exportedLike{l.moment, l.madeMs})
			}
		}
		if len(likes) == 0 {
			break
		}
	}
	last := comment{}
	for {
		comments, err := p.store.comments(ctx, p.store.db, commentsOf, int64(u), last.moment, last.moment, last.id, holdingStep)
		if err != nil {
			return nil, err
		}
		for _, c := range comments {
			all.Comments = append(all.Comments, exportedComment{c.id, c.moment, c.madeMs, c.replyTo, c.text})
			last = c
		}
		if len(comments) == 0 {
			return all, nil
		}
	}
}

// Erase implements plugin.Holdings: the person's moments with all that others said of them, and what
// he said of others'. Nobody is told. It goes in small transactions.
func (p holdings) Erase(ctx context.Context, u im.UserID) error {
	for _, step := range []func(context.Context, im.UserID) (bool, error){p.eraseMoments, p.eraseLikes, p.eraseComments, p.eraseListed} {
		for {
			if done, err := step(ctx, u); err != nil {
				return err
			} else if done {
				break
			}
		}
	}
	if err := p.store.dropGone(ctx, u); err != nil {
		return err
	}
	return p.store.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM moment_authors WHERE user_id = ?", int64(u)); err != nil {
			return fmt.Errorf("forget an author: %w", err)
		}
		return nil
	})
}

func (p holdings) eraseMoments(ctx context.Context, u im.UserID) (done bool, err error) {
	ids, err := p.store.own(ctx, u, newest, holdingStep)
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		err := p.store.tx(ctx, func(tx *sql.Tx) error {
			m, err := p.store.lock(ctx, tx, id)
			if m == nil || err != nil {
				return err
			}
			return p.drop(ctx, tx, m)
		})
		if err != nil {
			return false, err
		}
	}
	if len(ids) > 0 {
		return false, nil
	}
	return true, p.sweep(ctx) // before what names the moments is forgotten
}

func (p holdings) eraseLikes(ctx context.Context, u im.UserID) (done bool, err error) {
	likes, err := p.store.likes(ctx, p.store.db, likesOf, int64(u), "", holdingStep)
	if err != nil {
		return false, err
	}
	for _, l := range likes {
		err := p.store.tx(ctx, func(tx *sql.Tx) error {
			if _, err := p.store.lock(ctx, tx, l.moment); err != nil {
				return err
			}
			was, err := p.store.like(ctx, tx, l.moment, u)
			if was == nil || err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "DELETE FROM moment_likes WHERE moment_id = ? AND user_id = ?", l.moment, int64(u)); err != nil {
				return fmt.Errorf("delete a like: %w", err)
			}
			if was.gone {
				return nil
			}
			return p.store.count(ctx, tx, l.moment, -1, 0)
		})
		if err != nil {
			return false, err
		}
	}
	return len(likes) == 0, nil
}

func (p holdings) eraseComments(ctx context.Context, u im.UserID) (done bool, err error) {
	comments, err := p.store.comments(ctx, p.store.db, commentsOf, int64(u), "", "", "", holdingStep)
	if err != nil {
		return false, err
	}
	for _, c := range comments {
		err := p.store.tx(ctx, func(tx *sql.Tx) error {
			if _, err := p.store.lock(ctx, tx, c.moment); err != nil {
				return err
			}
			was, err := p.store.comment(ctx, tx, c.id)
			if was == nil || err != nil {
				return err
			}
			if err := p.store.dropComment(ctx, tx, c.id); err != nil {
				return err
			}
			return p.store.count(ctx, tx, c.moment, 0, -1)
		})
		if err != nil {
			return false, err
		}
	}
	return len(comments) == 0, nil
}

// listsOf are the moments that name somebody in their list.
const listsOf = "SELECT moment_id FROM moment_lists WHERE user_id = ? ORDER BY moment_id LIMIT ?"

func (p holdings) eraseListed(ctx context.Context, u im.UserID) (done bool, err error) {
	ids, err := p.store.ids(ctx, listsOf, int64(u), holdingStep)
	if err != nil || len(ids) == 0 {
		return true, err
	}
	return false, p.store.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM moment_lists WHERE user_id = ? AND moment_id <= ?", int64(u), ids[len(ids)-1])
		if err != nil {
			return fmt.Errorf("take somebody out of lists: %w", err)
		}
		return nil
	})
}

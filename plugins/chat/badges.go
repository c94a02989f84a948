package chat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"freeim/core/im"
	"freeim/core/plugin"
)

// This file is badges: how much people have not read, of many at once, for what their phones show. Whoever tells them waits
// for it, so it is bounded: a person who was long away is caught up with by one step for each time that he is told.

const (
	// badgesAtOnce is for how many people something is done at the same time.
	badgesAtOnce = 8
	// mostBadge is how many conversations one query reads; beyond them nothing of one person counts.
	mostBadge = 1000
)

// selectUnread are the conversations of people in which something may be unread and counts.
const selectUnread = "SELECT user_id, conversation, last_seq, since_seq, read_seq, floor_seq, COALESCE(uncounted, ''), COALESCE(spans, '') " +
	"FROM chat_conversations " + joinMarks +
	"WHERE user_id IN %s AND mute < 2 AND last_inbox > hidden AND last_seq > since_seq AND last_seq > read_seq AND last_seq > floor_seq LIMIT ?"

// badges counts what each of the users has not read, but for conversations that he muted altogether, or hid. It counts what is within
// followBatch entries of his list; more the next time.
func (p *Chat) badges(ctx context.Context, users []im.UserID) (map[im.UserID]int64, error) {
	if err := p.catchUp(ctx, users); err != nil {
		return nil, err
	}
	var all []unreadIn
	for some := range slices.Chunk(users, mostAsked) {
		found, err := p.lists.unread(ctx, some)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	silenced, err := p.silenced(ctx, all)
	if err != nil {
		return nil, err
	}
	n := make(map[im.UserID]int64, len(users))
	for _, one := range all {
		if !silenced[unreadIn{user: one.user, conversation: one.conversation}] {
			n[one.user] += one.n
		}
	}
	return n, nil
}

// eachOf runs do for all users, for some at the same time; behind the first fault, which it returns, it begins no more.
func eachOf(users []im.UserID, do func(i int, u im.UserID) error) error {
	faults := make([]error, len(users))
	var failed atomic.Bool
	var working sync.WaitGroup
	for first := range min(badgesAtOnce, len(users)) {
		working.Go(func() {
			for i := first; i < len(users) && !failed.Load(); i += badgesAtOnce {
				if faults[i] = do(i, users[i]); faults[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	working.Wait()
	return cmp.Or(faults...)
}

// catchUp takes a step with the list of each of the users.
func (p *Chat) catchUp(ctx context.Context, users []im.UserID) error {
	follows, lists := map[im.UserID]bool{}, map[im.UserID]followed{}
	for some := range slices.Chunk(users, mostAsked) {
		if err := errors.Join(p.beyondInbox(ctx, some, follows), p.lists.followedBy(ctx, some, lists)); err != nil {
			return err
		}
	}
	epoch := p.timelines.Epoch()
	return eachOf(users, func(_ int, u im.UserID) error {
		if follows[u] {
			if _, err := p.gather(ctx, u, followBatch); err != nil {
				return err
			}
		}
		at, there := lists[u]
		if at.fresh = !there; at.epoch != epoch {
			if err := p.restart(ctx, u, at, epoch); err != nil {
				return err
			}
			var err error
			if at, err = p.lists.followed(ctx, u); err != nil {
				return err
			}
		}
		_, err := p.followSome(ctx, u, at)
		return err
	})
}

// beyondInbox notes for whom of the users more may wait than is in his inbox: who follows logs, or has announcements to come.
func (p *Chat) beyondInbox(ctx context.Context, users []im.UserID, into map[im.UserID]bool) error {
	rows, err := p.host.DB().QueryContext(ctx, fmt.Sprintf("SELECT DISTINCT user_id FROM chat_follows WHERE user_id IN %s AND epoch <> ?", plugin.Marks(len(users))),
		append(userArgs(users), wholeMark+p.timelines.Epoch())...)
	if err != nil {
		return fmt.Errorf("look who follows logs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var u im.UserID
		if err := rows.Scan(&u); err != nil {
			return fmt.Errorf("look who follows logs: %w", err)
		}
		into[u] = true
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("look who follows logs: %w", err)
	}
	rows.Close()
	return p.announcements.unheard(ctx, users, into)
}

// followedBy notes how far the lists of users are, of those who have one.
func (s listStore) followedBy(ctx context.Context, users []im.UserID, into map[im.UserID]followed) error {
	rows, err := s.host.DB().QueryContext(ctx, fmt.Sprintf("SELECT user_id, epoch, inbox, receipts FROM chat_lists WHERE user_id IN %s", plugin.Marks(len(users))), userArgs(users)...)
	if err != nil {
		return fmt.Errorf("look how far lists are: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var u im.UserID
		var f followed
		if err := rows.Scan(&u, &f.epoch, &f.inbox, &f.receipts); err != nil {
			return fmt.Errorf("look how far lists are: %w", err)
		}
		into[u] = f
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("look how far lists are: %w", err)
	}
	return nil
}

// userArgs are users as arguments of a query.
func userArgs(users []im.UserID) []any {
	args := make([]any, len(users))
	for i, u := range users {
		args[i] = int64(u)
	}
	return args
}

// unreadIn is how many messages of a conversation a person has not read.
type unreadIn struct {
	user         im.UserID
	conversation im.ConversationID
	n            int64
}

// unread gives what the users have not read. When they have more than one query reads, each half is asked for by itself.
func (s listStore) unread(ctx context.Context, users []im.UserID) (all []unreadIn, err error) {
	rows, err := s.host.DB().QueryContext(ctx, fmt.Sprintf(selectUnread, plugin.Marks(len(users))), append(userArgs(users), mostBadge)...)
	if err != nil {
		return nil, fmt.Errorf("count what is unread: %w", err)
	}
	for rows.Next() {
		var one unreadIn
		var l listed
		var uncounted, spans string
		if err = rows.Scan(&one.user, &one.conversation, &l.lastSeq, &l.since, &l.read, &l.floor, &uncounted, &spans); err != nil {
			break
		}
		l.uncounted, l.fading = parseMarks(uncounted), parseFading(spans)
		one.n = l.unread(s.host.Now())
		all = append(all, one)
	}
	if err = cmp.Or(err, rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("count what is unread: %w", err)
	}
	if half := len(users) / 2; len(all) == mostBadge && half > 0 {
		first, err := s.unread(ctx, users[:half])
		if err != nil {
			return nil, err
		}
		rest, err := s.unread(ctx, users[half:])
		return append(first, rest...), err
	}
	return all, nil
}

// silenced are those of the conversations, without their counts, of which their person wants to hear nothing, as their owners
// know. Only those are asked about who have such.
func (p *Chat) silenced(ctx context.Context, all []unreadIn) (map[unreadIn]bool, error) {
	found := map[unreadIn]bool{}
	for kind, owner := range p.owners {
		leveller, ok := owner.(plugin.Leveller)
		if !ok {
			continue
		}
		var users []im.UserID
		seen := map[im.UserID]bool{}
		for _, one := range all {
			if one.conversation.Type() == kind && !seen[one.user] {
				seen[one.user] = true
				users = append(users, one.user)
			}
		}
		none := make([][]im.ConversationID, len(users))
		err := eachOf(users, func(i int, u im.UserID) (err error) {
			none[i], err = leveller.Silenced(ctx, u)
			return err
		})
		if err != nil {
			return nil, err
		}
		for i, u := range users {
			for _, c := range none[i] {
				found[unreadIn{user: u, conversation: c}] = true
			}
		}
	}
	return found, nil
}

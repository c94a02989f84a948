package chat

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
)

// This file is who reads announcements: everybody, from when his account was made. They are one log (im.ToAll), which each
// person follows without a row that says so: where he begins follows from that time and the IDs in the log, and is
// the same whenever, and on whatever core, it is asked. README.md, Announcements. Who writes them is in announce.go.

// timesRead is how many messages of the log are read at once for when they were made.
const timesRead = 500

// announcements owns im.ToAll.
type announcements struct {
	chat *Chat

	mu    sync.Mutex // guards the fields below
	epoch string     // of the store whose log it is
	times []int64    // in ms, by seq: when the messages were made, as their IDs say, so they never go back. What is there stays
}

var errOperators = &im.Error{Code: idl.CodePermissionDenied, Field: "conversation_id", Reason: "there the operator writes"}

// Send implements plugin.ConversationOwner: nobody writes there, or adds to what is there.
func (*announcements) Send(context.Context, im.ConversationID, im.UserID, plugin.Outgoing) (plugin.Audience, error) {
	return plugin.Audience{}, errOperators
}

// Read implements plugin.ConversationOwner.
func (a *announcements) Read(ctx context.Context, c im.ConversationID, user im.UserID) (plugin.Reach, error) {
	if c != im.ToAll {
		return plugin.Reach{}, errNotYours
	}
	begin, _, err := a.begin(ctx, user)
	return plugin.Reach{After: begin[user]}, err
}

// Recall implements plugin.Keeper.
func (*announcements) Recall(context.Context, im.ConversationID, im.UserID, im.UserID) error {
	return errOperators
}

// Members implements plugin.Keeper: they are who follows the log.
func (*announcements) Members(_ context.Context, c im.ConversationID) (plugin.Audience, error) {
	if c != im.ToAll {
		return plugin.Audience{}, errNotYours
	}
	return plugin.Audience{Log: true}, nil
}

// begin gives behind which seq each of the users reads, those who exist, and where the log ends. While it is empty, nobody.
func (a *announcements) begin(ctx context.Context, users ...im.UserID) (after map[im.UserID]int64, head int64, err error) {
	heads, _, err := a.chat.timelines.Heads(ctx, []im.ConversationID{im.ToAll}, nil)
	if err != nil || heads[0] == 0 {
		return nil, 0, err
	}
	times, err := a.upTo(ctx, heads[0])
	if err != nil {
		return nil, 0, err
	}
	made, err := a.chat.people.MadeOf(ctx, users)
	if err != nil {
		return nil, 0, err
	}
	after = make(map[im.UserID]int64, len(made))
	for u, at := range made {
		n, _ := slices.BinarySearch(times, at.UnixMilli()+1)
		after[u] = int64(n)
	}
	return after, heads[0], nil
}

// upTo gives the times of the log's messages up to a seq that it has.
func (a *announcements) upTo(ctx context.Context, seq int64) ([]int64, error) {
	epoch := a.chat.timelines.Epoch()
	for {
		a.mu.Lock()
		if a.epoch != epoch {
			a.epoch, a.times = epoch, nil
		}
		times := a.times
		a.mu.Unlock()
		if int64(len(times)) >= seq {
			return times[:seq], nil
		}
		page, err := a.chat.timelines.Log(ctx, im.ToAll, int64(len(times)), timesRead)
		if err == nil && (len(page.Items) == 0 || page.Items[0].Seq != int64(len(times))+1) {
			err = fmt.Errorf("%w: log %s behind %d", timeline.ErrCorrupt, im.ToAll, len(times))
		}
		if err != nil {
			return nil, err
		}
		a.mu.Lock()
		if a.epoch == epoch && len(a.times) == len(times) {
			for _, m := range page.Items {
				a.times = append(a.times, m.ID.Time().UnixMilli())
			}
		}
		a.mu.Unlock()
	}
}

// follows is what somebody follows of the log: nothing while it has nothing for him.
func (a *announcements) follows(ctx context.Context, u im.UserID) ([]follow, error) {
	begin, head, err := a.begin(ctx, u)
	if after, exists := begin[u]; err == nil && exists && after < head {
		return []follow{{conversation: im.ToAll, after: after, epoch: a.chat.timelines.Epoch()}}, nil
	}
	return nil, err
}

// unheard notes for whom of the users there are announcements that are not in his inbox yet.
func (a *announcements) unheard(ctx context.Context, users []im.UserID, into map[im.UserID]bool) error {
	begin, head, err := a.begin(ctx, users...)
	if err != nil {
		return err
	}
	var behind []im.UserID
	var places []im.ConversationID
	for u, after := range begin {
		if after < head {
			behind = append(behind, u)
			places = append(places, follow{conversation: im.ToAll, after: after}.places(u))
		}
	}
	if len(behind) == 0 {
		return nil
	}
	got, _, err := a.chat.timelines.Heads(ctx, places, nil)
	if err != nil {
		return err
	}
	for i, u := range behind {
		if begin[u]+got[i] < head {
			into[u] = true
		}
	}
	return nil
}

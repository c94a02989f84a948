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

const (
	timesRead   = 500    // messages of the log that are read at once for when they were made
	headsJoined = 10_000 // who learn by one look-up where the log ends
)

// announcements owns im.ToAll.
type announcements struct {
	chat    *Chat
	heads   *plugin.Lookups[im.ConversationID, int64] // of the log alone; set by provision
	reading chan struct{}                             // of length 1: whose token is in it reads times, the others wait

	mu    sync.Mutex // guards the fields below
	epoch string     // of the store whose log it is
	made  []int64    // in ms, by seq: when the messages were made, as their IDs say, so they never go back. What is there stays
}

var errOperators = &im.Error{Code: idl.CodePermissionDenied, Field: "conversation_id", Reason: "there the operator writes"}

func newAnnouncements(p *Chat) *announcements {
	return &announcements{chat: p, reading: make(chan struct{}, 1)}
}

func (a *announcements) provision(h plugin.Host) {
	a.heads = plugin.NewLookups(h, "look where announcements end", headsJoined, func(ctx context.Context, logs []im.ConversationID) (map[im.ConversationID]int64, error) {
		found := make(map[im.ConversationID]int64, len(logs))
		heads, _, err := a.chat.timelines.Heads(ctx, logs, nil)
		for i, seq := range heads {
			found[logs[i]] = seq
		}
		return found, err
	})
}

// warm reads when the messages were made before anybody asks. If it cannot, whoever asks first does.
func (a *announcements) warm(ctx context.Context) {
	if _, err := a.times(ctx); err != nil && ctx.Err() == nil {
		a.chat.host.Log().Warn("announcements are not read yet", "err", err)
	}
}

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
	times, err := a.times(ctx)
	if err != nil || len(times) == 0 {
		return nil, 0, err
	}
	accounts, err := a.chat.people.MadeOf(ctx, users)
	if err != nil {
		return nil, 0, err
	}
	after = make(map[im.UserID]int64, len(accounts))
	for u, at := range accounts {
		n, _ := slices.BinarySearch(times, at.UnixMilli()+1)
		after[u] = int64(n)
	}
	return after, int64(len(times)), nil
}

// times gives when the messages were made that the log has.
func (a *announcements) times(ctx context.Context) ([]int64, error) {
	head, _, err := a.heads.Find(ctx, im.ToAll)
	if err != nil {
		return nil, err
	}
	return a.upTo(ctx, head)
}

// upTo gives the times of the log's messages up to a seq that it has. One caller reads those that are not known yet, the
// others wait; if he cannot, the next goes on where he came to.
func (a *announcements) upTo(ctx context.Context, seq int64) ([]int64, error) {
	if _, times := a.known(); int64(len(times)) >= seq {
		return times[:seq], nil
	}
	select {
	case a.reading <- struct{}{}:
		defer func() { <-a.reading }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		epoch, times := a.known()
		if int64(len(times)) >= seq {
			return times[:seq], nil
		}
		more, err := a.readTimes(ctx, int64(len(times)))
		if err != nil {
			return nil, err
		}
		a.learn(epoch, more)
	}
}

// known are the times that were read in this life of the store.
func (a *announcements) known() (epoch string, times []int64) {
	epoch = a.chat.timelines.Epoch()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.epoch != epoch {
		a.epoch, a.made = epoch, nil
	}
	return epoch, a.made
}

// learn takes the times behind those that are known. Only who reads calls it.
func (a *announcements) learn(epoch string, more []int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.epoch == epoch {
		a.made = append(a.made, more...)
	}
}

// readTimes reads the times of some messages behind a seq. Where somebody begins is counted by them, so none may be missing.
func (a *announcements) readTimes(ctx context.Context, after int64) ([]int64, error) {
	page, err := a.chat.timelines.Log(ctx, im.ToAll, after, timesRead)
	if err != nil {
		return nil, err
	}
	times := make([]int64, len(page.Items))
	for i, m := range page.Items {
		if m.Seq != after+int64(i)+1 {
			return nil, fmt.Errorf("%w: log %s has %d behind %d", timeline.ErrCorrupt, im.ToAll, m.Seq, after+int64(i))
		}
		times[i] = m.ID.Time().UnixMilli()
	}
	if len(times) == 0 {
		return nil, fmt.Errorf("%w: log %s ends at %d", timeline.ErrCorrupt, im.ToAll, after)
	}
	return times, nil
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

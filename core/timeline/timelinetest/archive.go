package timelinetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
)

// archived is a client whose store can be exported, imported into and renewed.
type archived struct {
	*client
	open Open
}

// startArchived starts the store of a place, or skips the test when it is none
// that can be archived.
func startArchived(t *testing.T, open Open) *archived {
	t.Helper()
	a := &archived{start(t, open), open}
	_, exports := a.store.(timeline.Exporter)
	_, imports := a.store.(timeline.Importer)
	_, renews := a.store.(timeline.Renewer)
	if !exports || !imports || !renews {
		t.Skipf("SKIPPED: a %T cannot be archived", a.store)
	}
	return a
}

// export collects all items, and checks their order.
func (a *archived) export() (items []timeline.Item) {
	a.t.Helper()
	var order timeline.Order
	err := a.store.(timeline.Exporter).Export(a.ctx, func(item timeline.Item) error {
		if err := order.Next(item); err != nil {
			return err
		}
		if m, ok := item.(timeline.Stored); ok { // what it points to is ours for now only
			m.Body, m.InboxSeqs = append([]byte(nil), m.Body...), append([]int64(nil), m.InboxSeqs...)
			item = m
		}
		items = append(items, item)
		return nil
	})
	if err != nil {
		a.t.Fatalf("Export: %v", err)
	}
	return items
}

// fill imports items, spoiling each after it was added.
func (a *archived) fill(items []timeline.Item) error {
	return a.store.(timeline.Importer).Import(a.ctx, func(add func(timeline.Item) error) error {
		for _, item := range items {
			m, stored := item.(timeline.Stored)
			if stored {
				m.Body, m.InboxSeqs = append([]byte(nil), m.Body...), append([]int64(nil), m.InboxSeqs...)
				item = m
			}
			if err := add(item); err != nil {
				return err
			}
			spoil(m.Message)
			clear(m.InboxSeqs)
		}
		return nil
	})
}

func (a *archived) imported(items []timeline.Item) {
	a.t.Helper()
	if err := a.fill(items); err != nil {
		a.t.Fatalf("Import: %v", err)
	}
}

// populated has conversations of every kind, resends, client IDs left out,
// odd names and bodies, and receipts that replaced others.
func populated(a *archived) {
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range 200 {
		id := []im.ConversationID{chat, group, room, "g_1\x00", "g_1\xff", "g_11"}[i%6]
		d := draft(id, im.UserID(i%5+1), strconv.Itoa(i), pick(rng)...)
		if i%4 != 3 {
			d.Inboxes = append(d.Inboxes, im.FeedOf(id))
		}
		switch i % 7 {
		case 1:
			d.ClientID = ""
		case 2:
			d.Body = nil
		case 3:
			d.Body = []byte{0, 0xff, '\n', 0}
		}
		done := a.append(d)
		if i%9 == 0 {
			a.erase("erased", done.Message)
		}
		if i%3 == 0 {
			a.acknowledge(id, im.UserID(rng.IntN(4)+1), int64(i/6+1), pick(rng)...)
		}
	}
}

// wantSame compares everything that can be read from both.
func wantSame(got, want *archived) {
	got.t.Helper()
	for _, id := range []im.ConversationID{chat, group, room, "g_1\x00", "g_1\xff", "g_11", "g_2"} {
		wantDeep(got.t, "log of "+string(id), got.wholeLog(id), want.wholeLog(id))
		for i, m := range want.wholeLog(id) {
			gotFound, gotDigest, gotOK := got.find(m.Sender, m.ClientID)
			found, digest, ok := want.find(m.Sender, m.ClientID)
			wantDeep(got.t, "found "+m.ClientID, found2{gotFound, gotDigest, gotOK}, found2{found, digest, ok})
			for user := range im.UserID(modelPeople + 1) {
				if i%8 != 0 {
					break // the ends of pages and some between
				}
				wantEqual(got.t, "located", got.locate(user, m.ID), want.locate(user, m.ID))
			}
		}
	}
	for feed := im.UserID(-im.Feeds); feed < 0; feed++ {
		wantDeep(got.t, "feed "+feed.String(), got.wholeInbox(feed), want.wholeInbox(feed))
	}
	for user := range im.UserID(modelPeople + 1) {
		wantDeep(got.t, "inbox of "+user.String(), got.wholeInbox(user), want.wholeInbox(user))
		for _, since := range []int64{0, 1, 7, 19, 99} {
			rs, head := got.receipts(user, since)
			wantRs, wantHead := want.receipts(user, since)
			wantDeep(got.t, "receipts of "+user.String(), rs, wantRs)
			wantEqual(got.t, "head of the receipts of "+user.String(), head, wantHead)
		}
	}
}

type found2 struct {
	timeline.Committed
	digest [32]byte
	ok     bool
}

func wantDeep(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w { // nil and empty are the same
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

func testArchive(t *testing.T, open, openOther Open) {
	from, to := startArchived(t, open), startArchived(t, openOther)
	populated(from)
	items := from.export()
	erased := 0
	for _, item := range items {
		if m, ok := item.(timeline.Stored); ok && string(m.Body) == "erased" {
			erased++
		}
	}
	wantEqual(t, "erased messages in the export", erased, 23)
	to.imported(items)
	wantEqual(t, "epoch", to.store.Epoch(), from.store.Epoch())
	wantSame(to, from)
	if again := to.export(); !reflect.DeepEqual(fmt.Sprint(again), fmt.Sprint(items)) {
		t.Error("the export of the import is another one")
	}
	to.restart(openOther)
	wantEqual(t, "epoch after a restart", to.store.Epoch(), from.store.Epoch())
	wantSame(to, from)

	// Life goes on in both in the same way, but for the IDs.
	newest := from.logBefore(chat, 0, 1).Items[0]
	for i, d := range []timeline.Draft{
		draft(chat, 1, "0"), // a resend
		draft(chat, alice, "after", alice, 1, 2, 3), draft(group, alice, "after all"), draft("g_new", bob, "new", 1, 12),
	} {
		got, want := to.append(d), from.append(d)
		wantEqual(t, "seq", got.Seq, want.Seq)
		wantEqual(t, "duplicate", got.Duplicate, want.Duplicate)
		wantSlice(t, "inbox seqs", got.InboxSeqs, want.InboxSeqs...)
		wantEqual(t, "first is the duplicate", got.Duplicate, i == 0)
		if !got.Duplicate && string(got.ID[:]) <= string(newest.ID[:]) {
			t.Errorf("ID %s is not after %s", got.ID, newest.ID)
		}
	}
	conflict := draft(chat, 1, "0")
	conflict.Digest = digestOf("another")
	_, err := to.store.Append(to.ctx, conflict)
	wantError(t, "another message under a client ID", err, timeline.ErrConflict)
	for by := range im.UserID(5) {
		for _, seq := range []int64{1, 5, 9, 20, 34, 90} {
			got, want := to.acknowledge(chat, by+1, seq, 1, 2, 9), from.acknowledge(chat, by+1, seq, 1, 2, 9)
			wantEqual(t, fmt.Sprintf("%d acknowledges %d", by+1, seq), got, want)
		}
	}
	for user := range im.UserID(modelPeople + 1) {
		rs, head := to.receipts(user, 0)
		wantRs, wantHead := from.receipts(user, 0)
		wantDeep(t, "receipts", rs, wantRs)
		wantEqual(t, "head of the receipts", head, wantHead)
	}
}

func testImportNotEmpty(t *testing.T, open, openOther Open) {
	from := startArchived(t, open)
	populated(from)
	items := from.export()
	for _, held := range []struct {
		name  string
		write func(a *archived)
	}{
		{"a position", func(a *archived) { a.acknowledge(chat, bob, 1) }},
		{"a message", func(a *archived) { a.append(draft(room, alice, "a1")) }},
	} {
		to := startArchived(t, openOther)
		held.write(to)
		before, epoch := to.export(), to.store.Epoch()
		wantError(t, "import beside "+held.name, to.fill(items), timeline.ErrNotEmpty)
		wantDeep(t, "what was there", to.export(), before)
		wantEqual(t, "epoch", to.store.Epoch(), epoch)
		to.append(draft(group, alice, held.name))
		if err := to.store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func testImportFails(t *testing.T, open, openOther Open) {
	from, to := startArchived(t, open), startArchived(t, openOther)
	populated(from)
	items := from.export()
	epoch := to.store.Epoch()
	boom := errors.New("boom")
	for _, n := range []int{0, 1, 2, 150, len(items)} {
		err := to.store.(timeline.Importer).Import(to.ctx, func(add func(timeline.Item) error) error {
			for _, item := range items[:n] {
				if err := add(item); err != nil {
					return err
				}
			}
			return boom
		})
		wantError(t, fmt.Sprintf("import of %d items", n), err, boom)
		wantEqual(t, "epoch", to.store.Epoch(), epoch)
		if left := to.export(); len(left) != 1 {
			t.Fatalf("after %d of %d items and an error %d are there", n, len(items), len(left))
		}
	}
	if err := to.fill(nil); err == nil {
		t.Error("an import of nothing, not even a state, succeeds")
	}
	ctx, cancel := context.WithCancel(to.ctx)
	cancel()
	err := to.store.(timeline.Importer).Import(ctx, func(add func(timeline.Item) error) error { return add(items[0]) })
	wantError(t, "an import with a cancelled context", err, context.Canceled)

	to.restart(openOther) // it is not marked
	wantEqual(t, "epoch after a restart", to.store.Epoch(), epoch)
	to.imported(items)
	wantSame(to, from)
}

func testImportEpoch(t *testing.T, open, openOther Open) {
	from, to := startArchived(t, open), startArchived(t, openOther)
	populated(from)
	items := from.export()
	state := items[0].(timeline.State)
	old := to.store.Epoch()
	state.Epoch = ""
	items[0] = state
	to.imported(items)
	epoch := to.store.Epoch()
	if epoch == "" || epoch == from.store.Epoch() || epoch == old {
		t.Errorf("the epoch is %q after an import without one; before it was %q, and %q where it comes from", epoch, old, from.store.Epoch())
	}
	to.restart(openOther)
	wantEqual(t, "epoch after a restart", to.store.Epoch(), epoch)
}

// testExportUnderLoad exports while others write: all that was acknowledged
// before is in it, and it is of one moment.
func testExportUnderLoad(t *testing.T, open, openOther Open) {
	from, to := startArchived(t, open), startArchived(t, openOther)
	const writers = 4
	var mu sync.Mutex // guards acked
	acked := map[im.MessageID]bool{}
	ctx, stop := context.WithCancel(from.ctx)
	var all, warm sync.WaitGroup
	warm.Add(writers)
	for w := range writers {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				c := from.append(draft([]im.ConversationID{chat, group}[i%2], im.UserID(w+1), fmt.Sprint(i), 1, 2, im.UserID(w+3)))
				from.acknowledge(c.Conversation, im.UserID(w+1), c.Seq, 1, 2)
				mu.Lock()
				acked[c.ID] = true
				mu.Unlock()
				if i == 20 {
					warm.Done()
				}
			}
		})
	}
	warm.Wait()
	for range 3 {
		mu.Lock()
		before := make([]im.MessageID, 0, len(acked))
		for id := range acked {
			before = append(before, id)
		}
		mu.Unlock()
		checkMoment(t, from.export(), before)
	}
	items := from.export()
	stop()
	all.Wait()
	to.imported(items)
	for _, id := range []im.ConversationID{chat, group} {
		for i, m := range to.wholeLog(id) {
			wantMessage(t, "imported", m, from.log(id, int64(i), 1).Items[0])
		}
	}
	to.wholeInbox(1)
}

// checkMoment checks that every message of before is in items, and that these
// belong together.
func checkMoment(t *testing.T, items []timeline.Item, before []im.MessageID) {
	t.Helper()
	messages, heads := map[im.MessageID]timeline.Stored{}, map[im.ConversationID]int64{}
	listed := 0
	newest := items[0].(timeline.State).Newest
	for _, item := range items {
		switch item := item.(type) {
		case timeline.Stored:
			messages[item.ID] = item
			heads[item.Conversation] = item.Seq
			if string(item.ID[:]) > string(newest[:]) {
				t.Errorf("message %s is newer than the newest, %s", item.ID, newest)
			}
		case timeline.Listed:
			listed++
			if m := messages[item.ID]; m.Conversation != item.Conversation || m.Seq != item.Seq {
				t.Errorf("entry %d of the inbox of %d is of no message that is there", item.InboxSeq, item.User)
			}
		case timeline.Held:
			if item.Seq > heads[item.Conversation] {
				t.Errorf("%d holds %s up to %d, which ends at %d", item.By, item.Conversation, item.Seq, heads[item.Conversation])
			}
		}
	}
	want := 0
	for _, m := range messages {
		want += len(m.InboxSeqs)
	}
	wantEqual(t, "inbox entries", listed, want)
	for _, id := range before {
		if _, ok := messages[id]; !ok {
			t.Errorf("message %s was acknowledged before the export and is not in it", id)
		}
	}
}

func testRenew(t *testing.T, open, openOther Open) {
	a := startArchived(t, open)
	populated(a)
	old := a.store.Epoch()
	epoch, err := a.store.(timeline.Renewer).Renew(a.ctx)
	if err != nil || epoch == "" || epoch == old {
		t.Errorf("renewed to %q, %v; it was %q", epoch, err, old)
	}
	messages := len(a.wholeLog(chat))
	a.restart(open)
	wantEqual(t, "epoch after a restart", a.store.Epoch(), epoch)
	wantEqual(t, "messages", len(a.wholeLog(chat)), messages)
	ctx, cancel := context.WithTimeout(a.ctx, time.Minute)
	cancel()
	_, err = a.store.(timeline.Renewer).Renew(ctx)
	wantError(t, "renew with a cancelled context", err, context.Canceled)
}

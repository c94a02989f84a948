package sql_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/sql"
	"freeim/core/timeline"
)

// people and groups of the tests that write at random: few, so that writers meet.
const (
	crowd  = 12
	groups = 3
)

// randomDraft is from one of the crowd to another, to a group or to a room.
func randomDraft(random *rand.Rand, sender im.UserID, clientID string) timeline.Draft {
	d := timeline.Draft{Sender: sender, ClientID: clientID, Body: []byte(clientID), Digest: [32]byte{byte(len(clientID))}}
	switch random.IntN(4) {
	case 0, 1:
		peer := im.UserID(1 + random.IntN(crowd))
		d.Conversation, d.Inboxes = im.ChatOf(sender, peer), []im.UserID{sender}
		if peer != sender {
			d.Inboxes = append(d.Inboxes, peer)
		}
	case 2:
		d.Conversation = im.ConversationID(fmt.Sprint("g_", random.IntN(groups)))
		for _, i := range random.Perm(crowd) {
			d.Inboxes = append(d.Inboxes, im.UserID(i+1))
		}
	default:
		d.Conversation = "r_1"
	}
	return d
}

// answers are what Append said, by sender and client ID. Safe for concurrent use.
type answers struct {
	mu        sync.Mutex // guards the fields below
	first     map[string]timeline.Committed
	originals map[string]int
}

func newAnswers() *answers {
	return &answers{first: map[string]timeline.Committed{}, originals: map[string]int{}}
}

// note compares with what was said of the same draft before.
func (a *answers) note(t *testing.T, c timeline.Committed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := fmt.Sprint(c.Sender, " ", c.ClientID)
	if !c.Duplicate {
		a.originals[key]++
	}
	first, known := a.first[key]
	if !known {
		a.first[key] = c
		return
	}
	if c.ID != first.ID || c.Seq != first.Seq || c.Conversation != first.Conversation || !slices.Equal(c.InboxSeqs, first.InboxSeqs) || string(c.Body) != string(first.Body) {
		t.Errorf("%s: one answer is %+v, another %+v", key, first, c)
	}
}

// check reads everything and holds it against the answers: nothing is lost,
// doubled, reordered or numbered with gaps, and IDs grow in every timeline.
func (a *answers) check(t *testing.T, r *sql.Record) {
	t.Helper()
	conversations := []im.ConversationID{"r_1"}
	for i := range groups {
		conversations = append(conversations, im.ConversationID(fmt.Sprint("g_", i)))
	}
	for i := range im.UserID(crowd) {
		for j := range i + 1 {
			conversations = append(conversations, im.ChatOf(i+1, j+1))
		}
	}
	there, ids := map[string]im.Message{}, map[im.MessageID]bool{}
	for _, c := range conversations {
		p, err := r.Log(t.Context(), c, 0, 1<<30)
		if err != nil || p.Head != int64(len(p.Items)) {
			t.Fatalf("log of %s: head %d of %d messages, %v", c, p.Head, len(p.Items), err)
		}
		last := im.MessageID{}
		for i, m := range p.Items {
			key := fmt.Sprint(m.Sender, " ", m.ClientID)
			if _, twice := there[key]; twice || ids[m.ID] {
				t.Errorf("%s is there twice", key)
			}
			there[key], ids[m.ID] = m, true
			if m.Seq != int64(i+1) || string(m.ID[:]) <= string(last[:]) || string(m.Body) != m.ClientID {
				t.Errorf("log of %s: entry %d is %+v after ID %s", c, i+1, m, last)
			}
			last = m.ID
		}
	}
	inboxes := make([][]timeline.Entry, crowd+1)
	for user := range inboxes {
		p, err := r.Inbox(t.Context(), im.UserID(user), 0, 1<<30)
		if err != nil || p.Head != int64(len(p.Items)) {
			t.Fatalf("inbox of %d: head %d of %d entries, %v", user, p.Head, len(p.Items), err)
		}
		seen, last := map[im.MessageID]bool{}, im.MessageID{}
		for i, e := range p.Items {
			if e.InboxSeq != int64(i+1) || string(e.ID[:]) <= string(last[:]) || seen[e.ID] || !ids[e.ID] {
				t.Errorf("inbox of %d: entry %d is %+v after ID %s", user, i+1, e, last)
			}
			seen[e.ID], last = true, e.ID
		}
		inboxes[user] = p.Items
	}
	for key, c := range a.first {
		m, ok := there[key]
		if !ok || m.ID != c.ID || m.Seq != c.Seq {
			t.Errorf("%s was acknowledged as %+v, there is %+v", key, c, m)
		}
		if len(c.InboxSeqs) == 2 { // a chat: the sender's is the first
			if e := inboxes[c.Sender][c.InboxSeqs[0]-1]; e.ID != c.ID {
				t.Errorf("%s: at inbox seq %d there is %+v", key, c.InboxSeqs[0], e)
			}
		}
		if a.originals[key] > 1 {
			t.Errorf("%s was committed %d times", key, a.originals[key])
		}
	}
}

// Three cores write into the same timelines at once, one of them with its clock
// an hour back, and clients resend through others.
func TestSeveralRecords(t *testing.T) {
	dsn := engines.Database(t)
	records := make([]*sql.Record, 3)
	var opening sync.WaitGroup
	for i := range records {
		opening.Go(func() { // at once: one of them makes the tables
			clock := func() time.Time { return time.Now().Add(-time.Duration(i/2) * time.Hour) }
			r, err := sql.OpenRecord(t.Context(), sql.RecordOptions{DSN: dsn, IDs: im.NewIDGenerator(clock)})
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			records[i] = r
		})
	}
	opening.Wait()
	if t.Failed() {
		return
	}
	for _, r := range records {
		defer r.Close()
		if r.Epoch() != records[0].Epoch() {
			t.Errorf("epochs %s and %s", r.Epoch(), records[0].Epoch())
		}
	}
	const writers, each = 24, 60
	said := newAnswers()
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 7))
			for i := range each {
				d := randomDraft(random, im.UserID(1+w%crowd), fmt.Sprint(w, "-", i))
				var tries sync.WaitGroup
				for _, at := range random.Perm(3)[:1+random.IntN(2)] {
					tries.Go(func() {
						c, err := records[at].Append(t.Context(), d)
						if err != nil {
							t.Errorf("append: %v", err)
							return
						}
						said.note(t, c)
					})
				}
				tries.Wait()
				moveOn(t, records[random.IntN(3)], d)
			}
		})
	}
	all.Wait()
	if len(said.first) != writers*each {
		t.Errorf("%d drafts were answered, want %d", len(said.first), writers*each)
	}
	said.check(t, records[0])
	checkReceipts(t, records[1])
}

// moveOn acknowledges up to the head of d's conversation.
func moveOn(t *testing.T, r *sql.Record, d timeline.Draft) {
	heads, _, err := r.Heads(t.Context(), []im.ConversationID{d.Conversation}, nil)
	if err == nil {
		_, err = r.Acknowledge(t.Context(), timeline.Receipt{Conversation: d.Conversation, By: d.Sender, Seq: heads[0]}, d.Inboxes)
	}
	if err != nil {
		t.Errorf("acknowledge: %v", err)
	}
}

// checkReceipts holds that each person has one receipt for a conversation and
// holder, in the order of the cursor, and that it is the same for everybody.
func checkReceipts(t *testing.T, r *sql.Record) {
	t.Helper()
	type holder struct {
		c  im.ConversationID
		by im.UserID
	}
	of := map[holder]int64{}
	for user := range im.UserID(crowd) {
		rs, head, _, err := r.Receipts(t.Context(), user+1, 0, 10_000)
		if err != nil || head < int64(len(rs)) || len(rs) == 0 {
			t.Fatalf("receipts of %d: %d, head %d, %v", user+1, len(rs), head, err)
		}
		seen := map[holder]bool{}
		for _, receipt := range rs {
			h := holder{receipt.Conversation, receipt.By}
			if seen[h] {
				t.Errorf("%d has two receipts for %v", user+1, h)
			}
			seen[h] = true
			if known := of[h]; known != 0 && known != receipt.Seq {
				t.Errorf("%v is at %d for one, at %d for another", h, known, receipt.Seq)
			}
			of[h] = receipt.Seq
		}
	}
}

// A draft that MySQL refuses fails alone, not those that share its batch.
func TestRecordPoison(t *testing.T) {
	dsn := engines.Database(t)
	r := openRecord(t, sql.RecordOptions{DSN: dsn})
	db := openDB(t, dsn)
	// A rule that a column's type could also be.
	if _, err := db.ExecContext(t.Context(), "ALTER TABLE record_messages ADD CHECK (sender <> 13)"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			sender := im.UserID(i%16 + 1)
			_, err := r.Append(t.Context(), timeline.Draft{Conversation: "g_1", Sender: sender, ClientID: fmt.Sprint(i), Inboxes: []im.UserID{sender, 99}})
			if (err != nil) != (sender == 13) {
				t.Errorf("sender %d: got %v", sender, err)
			}
		})
	}
	all.Wait()
	p, err := r.Inbox(t.Context(), 99, 0, 100)
	if err != nil || len(p.Items) != 60 || p.Head != 60 {
		t.Errorf("got %d entries, head %d, %v, want 60", len(p.Items), p.Head, err)
	}
}

// Somebody who holds a timeline's lock for long fails that timeline's drafts
// only, and is waited for only so long.
func TestRecordLocked(t *testing.T) {
	dsn := engines.Database(t)
	r := openRecord(t, sql.RecordOptions{DSN: dsn})
	if _, err := r.Append(t.Context(), timeline.Draft{Conversation: "g_1", Sender: 1}); err != nil {
		t.Fatal(err)
	}
	tx, err := openDB(t, dsn).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(t.Context(), "UPDATE record_conversations SET seq = seq WHERE conversation = 'g_1'"); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "SELECT * FROM record_conversations FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := r.Append(ctx, timeline.Draft{Conversation: "g_1", Sender: 1}); err == nil || ctx.Err() != nil {
		t.Errorf("append to a locked conversation: got %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if c, err := r.Append(ctx, timeline.Draft{Conversation: "g_1", Sender: 1}); err != nil || c.Seq != 2 {
		t.Errorf("append afterwards: got seq %d, %v", c.Seq, err)
	}
}

package timelinetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/timeline"
)

// model is what the store must hold: everything that it has acknowledged. Of
// calls that race nobody can say beforehand which comes first, so the model
// takes the numbers that the store gave out, and check finds out whether they
// make sense together.
type model struct {
	mu       sync.Mutex                    // guards the fields below
	messages map[string]timeline.Committed // by sender and client ID
	erased   map[string]bool               // as messages: somebody has begun to
	inboxes  map[string][]im.UserID        // as messages
	held     map[timeline.Receipt]int64    // by conversation and person, Seq 0
}

const (
	modelWriters       = 8
	modelSteps         = 150 // of each writer
	modelPeople        = 12
	modelConversations = 5
)

// testModel has writers send, resend, steal each other's client IDs, read and
// acknowledge at random, twice with a restart between.
func testModel(t *testing.T, open Open) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := start(t, open)
	m := &model{messages: map[string]timeline.Committed{}, erased: map[string]bool{}, inboxes: map[string][]im.UserID{}, held: map[timeline.Receipt]int64{}}
	for life := range uint64(2) {
		var all sync.WaitGroup
		for w := range uint64(modelWriters) {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(seed, life<<32|w))
				for range modelSteps {
					m.step(c, rng)
				}
			})
		}
		all.Wait()
		m.check(c)
		c.restart(open)
		m.check(c)
	}
}

// step does one random thing.
func (m *model) step(c *client, rng *rand.Rand) {
	person := func() im.UserID { return im.UserID(rng.IntN(modelPeople) + 1) }
	id := im.ConversationID(fmt.Sprint("g_", rng.IntN(modelConversations)))
	switch n := rng.IntN(20); {
	case n < 14:
		// Few client IDs, so that many are used twice, also at the same moment.
		m.send(c, id, person(), fmt.Sprint(rng.IntN(150)), pick(rng))
	case n < 16:
		m.acknowledge(c, id, person(), rng.Int64N(200), pick(rng))
	case n < 17:
		m.erase(c, rng)
	case n < 18:
		checkPage(c, "inbox", inboxSeqs(c.inbox(person(), 3, 20).Items), 4)
	default:
		checkPage(c, "log", seqs(c.log(id, 5, 20).Items), 6)
	}
}

// pick gives some of the people, none twice.
func pick(rng *rand.Rand) []im.UserID {
	var some []im.UserID
	for _, i := range rng.Perm(modelPeople)[:rng.IntN(5)] {
		some = append(some, im.UserID(i+1))
	}
	return some
}

// checkPage checks that a page read while others write has no hole.
func checkPage(c *client, what string, seqs []int64, from int64) {
	for i, seq := range seqs {
		if seq != from+int64(i) {
			c.t.Errorf("%s: a page from %d has seq %d at place %d", what, from, seq, i)
			return
		}
	}
}

// send appends; the content is a function of sender and client ID and, once in a
// while, another one.
func (m *model) send(c *client, id im.ConversationID, sender im.UserID, clientID string, inboxes []im.UserID) {
	d := draft(id, sender, clientID, inboxes...)
	key := fmt.Sprint(sender, "/", clientID)
	d.Body = fmt.Appendf(nil, "%s of %s", key, id)
	told := make(chan timeline.Committed, 1)
	d.OnCommit = func(done timeline.Committed) { told <- done }
	if len(inboxes) == 0 && len(clientID)%2 == 0 { // some that must be refused if they come second
		d.Digest = digestOf("another")
	}
	got, err := c.store.Append(c.ctx, d)
	if err != nil {
		if !errors.Is(err, timeline.ErrConflict) {
			c.t.Errorf("append %s: %v", key, err)
		}
		return
	}
	if got.Duplicate == (len(told) == 1) {
		c.t.Errorf("%s: duplicate %t, but OnCommit was called %d times", key, got.Duplicate, len(told))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known, seen := m.messages[key]
	if seen {
		if m.erased[key] { // before or after this answer
			got.Body, known.Body = nil, nil
		}
		wantMessage(c.t, "another answer for "+key, got.Message, known.Message)
		wantSlice(c.t, "its inbox seqs", got.InboxSeqs, known.InboxSeqs...)
	}
	m.messages[key] = got
	if !got.Duplicate {
		m.inboxes[key] = inboxes
	}
}

// erase erases some message.
func (m *model) erase(c *client, rng *rand.Rand) {
	m.mu.Lock()
	keys := slices.Sorted(maps.Keys(m.messages))
	if len(keys) == 0 {
		m.mu.Unlock()
		return
	}
	key := keys[rng.IntN(len(keys))]
	m.erased[key] = true
	message := m.messages[key].Message
	m.mu.Unlock()
	c.erase("", message)
}

func (m *model) acknowledge(c *client, id im.ConversationID, by im.UserID, seq int64, audience []im.UserID) {
	moved := c.acknowledge(id, by, seq, audience...)
	m.mu.Lock()
	defer m.mu.Unlock()
	who := timeline.Receipt{Conversation: id, By: by}
	if !moved && seq > m.held[who] {
		// Only a call that the model has not seen the end of can have gone further.
		return
	}
	m.held[who] = max(m.held[who], seq)
}

// check compares the store with the model, when nobody writes.
func (m *model) check(c *client) {
	c.t.Helper()
	logs := map[im.ConversationID]map[int64]im.Message{}
	inboxes := map[im.UserID]map[int64]im.Message{}
	for key, message := range m.messages {
		if m.erased[key] {
			message.Body = nil
		}
		place(c.t, logs, message.Conversation, message.Seq, message.Message)
		for i, user := range m.inboxes[key] {
			place(c.t, inboxes, user, message.InboxSeqs[i], message.Message)
		}
		found, _, ok := c.find(message.Sender, message.ClientID)
		if !ok {
			c.t.Errorf("%s was committed and cannot be found", key)
		}
		wantMessage(c.t, "found "+key, found.Message, message.Message)
	}
	for i := range modelConversations {
		id := im.ConversationID(fmt.Sprint("g_", i))
		m.checkLog(c, id, logs[id])
	}
	for user := range im.UserID(modelPeople) {
		m.checkInbox(c, user+1, inboxes[user+1])
	}
	for who, seq := range m.held {
		if held := c.positions(who.Conversation, who.By); len(held) != 1 || held[0] < seq {
			c.t.Errorf("%d had acknowledged %s up to %d, he is at %v", who.By, who.Conversation, seq, held)
		}
		if c.acknowledge(who.Conversation, who.By, seq) {
			c.t.Errorf("%d had acknowledged %s up to %d, and it was forgotten", who.By, who.Conversation, seq)
		}
	}
}

// place notes what stands at seq of timeline k; nothing else may stand there.
func place[K comparable](t *testing.T, all map[K]map[int64]im.Message, k K, seq int64, m im.Message) {
	t.Helper()
	if all[k] == nil {
		all[k] = map[int64]im.Message{}
	}
	if other, taken := all[k][seq]; taken {
		t.Errorf("seq %d of %v was given to %s and to %s", seq, k, other.ID, m.ID)
	}
	all[k][seq] = m
}

func (m *model) checkLog(c *client, id im.ConversationID, want map[int64]im.Message) {
	c.t.Helper()
	log := c.wholeLog(id)
	wantEqual(c.t, "messages in "+string(id), len(log), len(want))
	for _, got := range log {
		wantMessage(c.t, "in the log of "+string(id), got, want[got.Seq])
	}
	grows := slices.IsSortedFunc(log, func(a, b im.Message) int { return slices.Compare(a.ID[:], b.ID[:]) })
	wantEqual(c.t, "IDs in order in "+string(id), grows, true)
}

func (m *model) checkInbox(c *client, user im.UserID, want map[int64]im.Message) {
	c.t.Helper()
	inbox := c.wholeInbox(user)
	wantEqual(c.t, "entries of "+user.String(), len(inbox), len(want))
	newest := map[im.ConversationID]int64{}
	for _, got := range inbox {
		wantMessage(c.t, "in the inbox of "+user.String(), got.Message, want[got.InboxSeq])
		if got.Seq <= newest[got.Conversation] {
			c.t.Errorf("inbox of %d: seq %d of %s comes after %d", user, got.Seq, got.Conversation, newest[got.Conversation])
		}
		newest[got.Conversation] = got.Seq
	}
}

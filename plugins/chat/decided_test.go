package chat_test

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// governed is a company whose word has a version: each change of what it says counts it up.
type governed struct {
	*company
	version  atomic.Int64
	returned atomic.Int64           // what was given back
	ended    atomic.Bool            // there is no such conversation any more
	looked   atomic.Pointer[func()] // is called as a change of a message looks whether what permitted it holds; nil: nothing
}

func (g *governed) Provision(ctx context.Context, h plugin.Host) (err error) {
	if g.messages, err = plugin.Need[plugin.Messages](h, plugin.ServiceMessages); err == nil {
		g.messages.Own(im.Group, g)
	}
	return err
}

func (g *governed) Send(ctx context.Context, c im.ConversationID, user im.UserID, m plugin.Outgoing) (plugin.Audience, error) {
	to, err := g.company.Send(ctx, c, user, m)
	to.Version, to.Taken = g.version.Load(), true
	return to, err
}

func (g *governed) Members(ctx context.Context, c im.ConversationID) (plugin.Audience, error) {
	if g.ended.Load() {
		return plugin.Audience{}, errOut
	}
	to, err := g.company.Members(ctx, c)
	to.Version = g.version.Load()
	return to, err
}

func (g *governed) Version(context.Context, *sql.Tx, im.ConversationID) (int64, error) {
	if looked := g.looked.Load(); looked != nil {
		(*looked)()
	}
	return g.version.Load(), nil
}

func (g *governed) Raise(_ context.Context, _ im.ConversationID, least int64) error {
	g.version.Store(max(least, g.version.Load()))
	return nil
}

func (g *governed) Return(context.Context, im.ConversationID, im.UserID) { g.returned.Add(1) }

// becomes changes what the company says.
func (g *governed) becomes(change func()) {
	g.set(change)
	g.version.Add(1)
}

// between is a store that lets something happen before a draft is committed.
type between struct {
	timeline.Store
	before atomic.Pointer[func(timeline.Draft)] // called before each draft; nil: nothing
	least  atomic.Int64                         // of the conversation g_1
}

func (b *between) Append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	if before := b.before.Load(); before != nil {
		(*before)(d)
	}
	if least := b.least.Load(); d.Version != 0 && d.Version < least {
		return timeline.Committed{}, &timeline.StaleError{Least: least}
	}
	return b.Store.Append(ctx, d)
}

// once has fn happen before the next draft of g_1 of which is says so, and the log ask for what is decided by it.
func (b *between) once(g *governed, is func(timeline.Draft) bool, change func()) (happened *atomic.Bool) {
	happened = new(atomic.Bool)
	before := func(d timeline.Draft) {
		if d.Conversation == "g_1" && is(d) && happened.CompareAndSwap(false, true) {
			g.becomes(change)
			b.least.Store(g.version.Load())
		}
	}
	b.before.Store(&before)
	return happened
}

// governing is a host with a governed company of alice, bob and carol, in which alice may do what admins may.
func governing(t *testing.T, scripts map[string]string) (review, *governed, *between) {
	t.Helper()
	g := &governed{company: &company{members: []im.UserID{alice, bob, carol}, admin: alice, reach: map[im.UserID]plugin.Reach{}}}
	g.version.Store(1)
	store := &between{Store: plugintest.New(t, plugintest.Options{}).Timelines()}
	p := chat.New()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p, g}, Stubs: []plugintest.Stub{directory}, Scripts: scripts, Timelines: store})
	return review{h, p, p.Pages()}, g, store
}

// tellsOf reports whether a draft is the event of that name.
func tellsOf(name string) func(timeline.Draft) bool {
	return func(d timeline.Draft) bool {
		var content chatpb.Content
		return content.Unmarshal(d.Body) == nil && content.Event == name
	}
}

func anyDraft(timeline.Draft) bool { return true }

// TestChangesAreDecidedAtTheCommit: who may change a message no more as the change is committed, does not; and whoever may still is
// asked about again, for a while.
func TestChangesAreDecidedAtTheCommit(t *testing.T) {
	for name, do := range map[string]func(h review, m *chatpb.SendReply) error{
		"edit": func(h review, m *chatpb.SendReply) error {
			_, err := edit(h.As(bob, "phone", idl.CodecJSON), m, "changed", 0)
			return err
		},
		"react": func(h review, m *chatpb.SendReply) error {
			_, err := react(h.As(bob, "phone", idl.CodecJSON), m, "👍", false)
			return err
		},
		"recall": func(h review, m *chatpb.SendReply) error {
			_, err := recall(h.As(alice, "phone", idl.CodecJSON), m)
			return err
		},
	} {
		for _, test := range []struct {
			name    string
			changes int // how often something changes in between
			change  func(g *governed)
			code    idl.Code // 0: it is done
			looks   int64
		}{
			{"nothing happens", 0, nil, 0, 1},
			{"another comes", 1, func(g *governed) { g.members = append(g.members, 7) }, 0, 2},
			{"he may no more", 1, func(g *governed) { g.members, g.admin = []im.UserID{carol}, carol }, idl.CodePermissionDenied, 1},
			{"something always does", 1 << 30, func(*governed) {}, idl.CodeUnavailable, 8},
		} {
			t.Run(name+"/"+test.name, func(t *testing.T) {
				h, g, _ := governing(t, nil)
				m, err := sendTo(h.As(bob, "phone", idl.CodecJSON), "g_1", "m1", "first")
				if err != nil {
					t.Fatal(err)
				}
				var looks atomic.Int64
				looked := func() {
					if looks.Add(1) <= int64(test.changes) {
						g.becomes(func() { test.change(g) })
					}
				}
				g.looked.Store(&looked)
				err = do(h, m)
				if got := im.CodeOf(err); test.code != 0 && got != test.code || test.code == 0 && err != nil {
					t.Errorf("got %v, want %v", err, test.code)
				}
				if looks.Load() != test.looks {
					t.Errorf("looked %d times, want %d", looks.Load(), test.looks)
				}
				g.looked.Store(nil)
				g.set(func() { g.members = []im.UserID{alice, bob, carol} })
				_, got := history(t, h.As(carol, "phone", idl.CodecJSON), &chatpb.HistoryRequest{ConversationId: "g_1"})
				if changed := !strings.HasSuffix(got, "1 first") || strings.Contains(got, ","); test.code != 0 && changed {
					t.Errorf("history is %s", got)
				}
			})
		}
	}
}

// TestOwnRecall: nobody is asked about the recall of one's own, whatever changes.
func TestOwnRecall(t *testing.T) {
	h, g, _ := governing(t, nil)
	bobs := h.As(bob, "phone", idl.CodecJSON)
	m, err := sendTo(bobs, "g_1", "m1", "first")
	if err != nil {
		t.Fatal(err)
	}
	looked := func() { g.becomes(func() {}) }
	g.looked.Store(&looked)
	if _, err := recall(bobs, m); err != nil {
		t.Error(err)
	}
}

// TestEventsAreDecidedAtTheCommit: what became of a message is told those who are there as that is committed.
func TestEventsAreDecidedAtTheCommit(t *testing.T) {
	h, g, store := governing(t, nil)
	alices, bobs, carols := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecJSON), h.As(carol, "phone", idl.CodecJSON)
	m, err := sendTo(bobs, "g_1", "m1", "first")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		event string
		do    func() error
	}{
		{"chat.edited", func() error { _, err := edit(bobs, m, "changed", 0); return err }},
		{"chat.lifetime", func() error { _, err := settle(alices, "g_1", time.Hour); return err }},
		{"chat.recalled", func() error { _, err := recall(alices, m); return err }},
	} {
		t.Run(test.event, func(t *testing.T) {
			g.set(func() { g.members = []im.UserID{alice, bob, carol} })
			happened := store.once(g, tellsOf(test.event), func() { g.members = []im.UserID{alice, bob} })
			for _, s := range []*plugintest.Session{bobs, carols} {
				entries(t, s)
			}
			if err := test.do(); err != nil {
				t.Fatal(err)
			}
			told := func(s *plugintest.Session) bool {
				return slices.ContainsFunc(entries(t, s), func(e *chatpb.InboxEntry) bool { return e.Message.Event == test.event })
			}
			eventually(t, "bob hears of it", func() bool { return told(bobs) })
			if !happened.Load() || told(carols) {
				t.Errorf("carol, who was put out before, hears of it; %v", happened.Load())
			}
		})
	}
	// When nothing is there any more, nothing is told, and nothing waits for that.
	g.set(func() { g.members = []im.UserID{alice, bob} })
	last, err := sendTo(bobs, "g_1", "m2", "last")
	if err != nil {
		t.Fatal(err)
	}
	happened := store.once(g, tellsOf("chat.reacted"), func() { g.ended.Store(true) })
	if _, err := react(bobs, last, "👍", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event is forgotten", func() bool {
		var left int
		if err := h.DB().QueryRow("SELECT COUNT(*) FROM chat_events").Scan(&left); err != nil {
			t.Fatal(err)
		}
		return happened.Load() && left == 0
	})
	if page, err := h.Timelines().Log(t.Context(), "g_1", 0, 100); err != nil || page.Head != last.Seq {
		t.Errorf("the log ends at %d, want %d: %v", page.Head, last.Seq, err)
	}
}

// TestOperatorsAreDecidedAtTheCommit: so is a message of the operator's.
func TestOperatorsAreDecidedAtTheCommit(t *testing.T) {
	h, g, store := governing(t, nil)
	bobs, carols := h.As(bob, "phone", idl.CodecJSON), h.As(carol, "phone", idl.CodecJSON)
	store.once(g, anyDraft, func() { g.members = []im.UserID{alice, bob} })
	if got := h.post(t, alice, "g_1", "news-1", "news"); got != "g_1 1 false  " {
		t.Fatalf("got %s", got)
	}
	if got := entries(t, bobs); len(got) != 1 || got[0].Message.Text != "news" {
		t.Errorf("bob got %v", got)
	}
	if got := entries(t, carols); len(got) != 0 {
		t.Errorf("carol, who was put out before, got %v", got)
	}
}

// TestHeldAreDecidedAtTheCommit: one that was held and names who goes as it is released comes without that name.
func TestHeldAreDecidedAtTheCommit(t *testing.T) {
	h, g, store := governing(t, map[string]string{"a.lua": holding})
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecJSON)
	held := sends(t, alices, &chatpb.SendRequest{ClientId: "m1", ConversationId: "g_1", Text: "wait @carol @bob", Mentions: []int64{int64(carol), int64(bob)}})
	if held.HeldId == "" {
		t.Fatalf("got %+v", held)
	}
	store.once(g, anyDraft, func() { g.members = []im.UserID{alice, bob} })
	h.decide(t, held.HeldId, "approve", "")
	var got []*chatpb.InboxEntry
	eventually(t, "it comes", func() bool { got = append(got, entries(t, bobs)...); return len(got) > 0 })
	if m := got[0].Message; m.Text != "wait @carol @bob" || !slices.Equal(m.Mentions, []int64{int64(bob)}) {
		t.Errorf("got %+v", m)
	}
	if asked := g.last(); !slices.Equal(asked.Mentions, []im.UserID{bob}) || !asked.Taken {
		t.Errorf("the owner was asked about %+v", asked)
	}
}

// TestAlwaysStale: while what is decided changes all the time, a message is tried eight times, and then is to be sent again; what the
// owner took for it is given back, once.
func TestAlwaysStale(t *testing.T) {
	h, g, store := governing(t, nil)
	bobs := h.As(bob, "phone", idl.CodecJSON)
	tries := 0
	before := func(timeline.Draft) {
		tries++
		g.becomes(func() {})
		store.least.Store(g.version.Load())
	}
	store.before.Store(&before)
	_, err := sendTo(bobs, "g_1", "m1", "hi")
	wantRefusal(t, err, idl.CodeUnavailable, "")
	if tries != 8 || g.returned.Load() != 1 {
		t.Errorf("tried %d times, %d given back", tries, g.returned.Load())
	}
	store.before.Store(nil)
	if rep, err := sendTo(bobs, "g_1", "m1", "hi"); err != nil || rep.Seq != 1 || g.returned.Load() != 1 {
		t.Errorf("got %+v, %v; %d given back", rep, err, g.returned.Load())
	}
}

// TestOwnerBehindItsLog: what an owner says whose tables were taken back holds, and from then on again only if nothing has changed.
func TestOwnerBehindItsLog(t *testing.T) {
	h, g, store := governing(t, nil)
	bobs := h.As(bob, "phone", idl.CodecJSON)
	store.least.Store(40)
	if _, err := sendTo(bobs, "g_1", "m1", "hi"); err != nil || g.version.Load() != 40 {
		t.Fatalf("got %v, version %d", err, g.version.Load())
	}
	happened := store.once(g, anyDraft, func() { g.members = []im.UserID{alice} })
	_, err := sendTo(bobs, "g_1", "m2", "hi")
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	if !happened.Load() {
		t.Error("nothing happened")
	}
}

// post has the operator send to a conversation, and gives what the page says of it.
func (r review) post(t *testing.T, from im.UserID, c im.ConversationID, clientID, text string) string {
	t.Helper()
	_, sent := postMessages(t, r.chat, map[string][]string{"from": {from.String()}, "client_id": {clientID}, "conversation": {string(c)}, "text": {text}})
	return strings.Join(sent, ", ")
}

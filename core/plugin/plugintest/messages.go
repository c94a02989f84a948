package plugintest

import (
	"context"
	"crypto/sha256"
	stdsql "database/sql"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl/kitex_gen/chatpb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Messages stands for the chat plugin: what is posted through it is committed to the host's
// timelines, and pushed to nobody; what is filed is kept if the transaction is committed, and told
// nobody. As a service it works with the host that was started last. Safe for concurrent use.
type Messages struct {
	mu        sync.Mutex // guards the fields below
	host      plugin.Host
	owners    map[im.ConversationType]plugin.ConversationOwner
	guards    []plugin.ChatGuard
	posts     []plugin.Post
	delivered int
	feedings  []plugin.Feeding
	shows     map[im.ConversationType]plugin.Show
	reminded  []im.UserID
}

var (
	_ plugin.Messages = (*Messages)(nil)
	_ plugin.Outbox   = (*Messages)(nil)
)

// Stub has it stand for plugin.ServiceMessages, Outbox for plugin.ServiceOutbox.
func (m *Messages) Stub() Stub   { return Stub{plugin.ServiceMessages, m} }
func (m *Messages) Outbox() Stub { return Stub{plugin.ServiceOutbox, m} }

func (m *Messages) attach(h plugin.Host) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.host, m.owners, m.guards, m.feedings = h, map[im.ConversationType]plugin.ConversationOwner{}, nil, nil
	m.shows = map[im.ConversationType]plugin.Show{}
}

// Own implements plugin.Messages. It panics on a type that is owned.
func (m *Messages) Own(t im.ConversationType, o plugin.ConversationOwner) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owners[t] != nil {
		panic(fmt.Sprintf("conversations of type %d are owned", t))
	}
	m.owners[t] = o
}

// Owner is who owns the conversations of a type; nil: nobody does.
func (m *Messages) Owner(t im.ConversationType) plugin.ConversationOwner {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.owners[t]
}

// Guard implements plugin.Messages.
func (m *Messages) Guard(g plugin.ChatGuard) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.guards = append(m.guards, g)
}

// Chat asks the guards about a message.
func (m *Messages) Chat(ctx context.Context, from, to im.UserID) error {
	m.mu.Lock()
	guards := slices.Clone(m.guards)
	m.mu.Unlock()
	for _, g := range guards {
		if err := g.Chat(ctx, from, to); err != nil {
			return err
		}
	}
	return nil
}

// Post implements plugin.Messages. It takes any name and data. Whom a post without an Audience is for is not
// asked: it comes into no inbox.
func (m *Messages) Post(ctx context.Context, p plugin.Post) (timeline.Committed, error) {
	done, err := m.commit(ctx, p.Conversation, p.Actor, p.ClientID, chatpb.Content{Kind: chatpb.MessageKind_MESSAGE_KIND_EVENT, Event: p.Name, Data: p.Data}, p.Audience)
	if err != nil {
		return done, plugin.Stored(ctx, err)
	}
	if !done.Duplicate {
		m.mu.Lock()
		m.posts = append(m.posts, p)
		m.mu.Unlock()
	}
	return done, nil
}

// commit commits a message, to its feed too if a plugin asked for that.
func (m *Messages) commit(ctx context.Context, c im.ConversationID, sender im.UserID, clientID string, content chatpb.Content, inboxes []im.UserID) (timeline.Committed, error) {
	body, err := content.Marshal(nil)
	if err != nil {
		return timeline.Committed{}, err
	}
	return m.append(ctx, timeline.Draft{Conversation: c, Sender: sender, ClientID: clientID, Digest: sha256.Sum256(body), Body: body, Inboxes: inboxes})
}

// append commits a draft, to its feed too if a plugin asked for that.
func (m *Messages) append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	m.mu.Lock()
	h, feedings := m.host, m.feedings
	m.mu.Unlock()
	feed, told := im.FeedOf(d.Conversation), d.OnCommit
	if len(feedings) > 0 {
		d.Inboxes = append(slices.Clone(d.Inboxes), feed)
	}
	d.OnCommit = func(done timeline.Committed) {
		if told != nil {
			told(done)
		}
		for _, f := range feedings {
			f.Woken(feed)
		}
	}
	return h.Timelines().Append(ctx, d)
}

// Say commits a text of somebody's, as chat would have it, to the inboxes of people.
func (m *Messages) Say(t testing.TB, c im.ConversationID, sender im.UserID, clientID, text string, people ...im.UserID) timeline.Committed {
	t.Helper()
	done, err := m.commit(t.Context(), c, sender, clientID, chatpb.Content{Text: text}, people)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// Feed implements plugin.Outbox.
func (m *Messages) Feed(f plugin.Feeding) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.feedings = append(m.feedings, f)
}

// Show implements plugin.Outbox.
func (m *Messages) Show(t im.ConversationType, show plugin.Show) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shows[t] = show
}

// Wanted implements plugin.Outbox.
func (m *Messages) Wanted(event string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return event != "" && slices.ContainsFunc(m.feedings, func(f plugin.Feeding) bool { return f.Wants != nil && f.Wants(event) })
}

// Append implements plugin.Outbox.
func (m *Messages) Append(ctx context.Context, event string, d timeline.Draft) (timeline.Committed, error) {
	if m.Wanted(event) {
		return m.append(ctx, d)
	}
	m.mu.Lock()
	h := m.host
	m.mu.Unlock()
	return h.Timelines().Append(ctx, d)
}

// Tell implements plugin.Outbox.
func (m *Messages) Tell(ctx context.Context, notices ...plugin.Notice) []error {
	faults := make([]error, len(notices))
	for i, n := range notices {
		if m.Wanted(n.Name) {
			_, faults[i] = m.commit(ctx, n.About.Aside(), 0, n.ID, chatpb.Content{Kind: chatpb.MessageKind_MESSAGE_KIND_EVENT, Event: n.Name, Data: n.Data}, nil)
		}
	}
	return faults
}

// Note implements plugin.Outbox: a notice that is wanted is filed as an event of nobody.
func (m *Messages) Note(ctx context.Context, tx *stdsql.Tx, n plugin.Notice) error {
	if !m.Wanted(n.Name) {
		return nil
	}
	return m.File(ctx, tx, plugin.Event{Name: n.Name, Data: n.Data})
}

// Fed implements plugin.Outbox.
func (m *Messages) Fed(ctx context.Context, feed im.UserID, after int64, limit int) (page timeline.Page[plugin.Fed], err error) {
	m.mu.Lock()
	h, shows := m.host, m.shows
	m.mu.Unlock()
	entries, err := h.Timelines().Inbox(ctx, feed, after, limit)
	page = timeline.Page[plugin.Fed]{HasMore: entries.HasMore, Head: entries.Head, Floor: entries.Floor}
	for _, e := range entries.Items {
		item, err := fedOf(e, shows[e.Conversation.Type()])
		if err != nil {
			return page, err
		}
		page.Items = append(page.Items, item)
	}
	return page, err
}

// fedOf is an entry of a feed as chat, or the plugin that it belongs to, would have it.
func fedOf(e timeline.Entry, show plugin.Show) (f plugin.Fed, err error) {
	f = plugin.Fed{Position: e.InboxSeq, ID: e.ID, Time: e.Time, Event: "message.committed"}
	if show != nil && !e.Conversation.IsAside() {
		f.Event, f.Message, err = show(e.Message)
		return f, err
	}
	var content chatpb.Content
	if err := content.Unmarshal(e.Body); err != nil {
		return f, err
	}
	c := e.Conversation
	if of, beside := c.Shadowed(); beside {
		if c, f.Shadowed = of, !c.IsAside(); f.Shadowed {
			f.Event = "message.shadowed"
		}
	}
	if content.Kind == chatpb.MessageKind_MESSAGE_KIND_EVENT {
		f.Event = content.Event
	}
	f.Message = &chatpb.Message{Id: e.ID.String(), ConversationId: string(c), Seq: e.Seq, SenderId: int64(e.Sender), ClientId: e.ClientID,
		TimeMs: e.Time.UnixMilli(), Kind: content.Kind, Text: content.Text, Event: content.Event, Data: content.Data}
	return f, nil
}

// Posts are the posts that were committed, in order, each once.
func (m *Messages) Posts() []plugin.Post {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.posts)
}

// File implements plugin.Messages. It takes any event.
func (m *Messages) File(ctx context.Context, tx *stdsql.Tx, events ...plugin.Event) error {
	for _, e := range events {
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO stubs_filed (event) VALUES (?)", string(text)); err != nil {
			return err
		}
	}
	return nil
}

// Follow implements plugin.Messages.
func (m *Messages) Follow(ctx context.Context, tx *stdsql.Tx, c im.ConversationID, after int64, users ...im.UserID) error {
	for _, u := range users {
		if _, err := tx.ExecContext(ctx, "INSERT INTO stubs_followed (conversation, user_id, after_seq, through_seq) VALUES (?, ?, ?, -1)", string(c), int64(u), after); err != nil {
			return err
		}
	}
	return nil
}

// Unfollow implements plugin.Messages.
func (m *Messages) Unfollow(ctx context.Context, tx *stdsql.Tx, c im.ConversationID, through int64, users ...im.UserID) error {
	for _, u := range users {
		if _, err := tx.ExecContext(ctx, "UPDATE stubs_followed SET through_seq = ? WHERE conversation = ? AND user_id = ? AND through_seq = -1", through, string(c), int64(u)); err != nil {
			return err
		}
	}
	return nil
}

// Follows implements plugin.Messages.
func (m *Messages) Follows(ctx context.Context, u im.UserID) (follows bool, err error) {
	m.mu.Lock()
	h := m.host
	m.mu.Unlock()
	err = h.DB().QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM stubs_followed WHERE user_id = ?)", int64(u)).Scan(&follows)
	return follows, err
}

// FollowedSpan is a part of a log that somebody follows: Through -1: without an end.
type FollowedSpan struct {
	User           im.UserID
	After, Through int64
}

// Followed gives who follows a log, by person and in the order of time.
func (m *Messages) Followed(t testing.TB, c im.ConversationID) (spans []FollowedSpan) {
	t.Helper()
	m.mu.Lock()
	h := m.host
	m.mu.Unlock()
	rows, err := h.DB().QueryContext(t.Context(), "SELECT user_id, after_seq, through_seq FROM stubs_followed WHERE conversation = ? ORDER BY user_id, id", string(c))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s FollowedSpan
		if err := rows.Scan(&s.User, &s.After, &s.Through); err != nil {
			t.Fatal(err)
		}
		spans = append(spans, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return spans
}

// Remind implements plugin.Messages: it is noted.
func (m *Messages) Remind(users ...im.UserID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reminded = append(m.reminded, users...)
}

// Reminded gives, and forgets, those who were reminded.
func (m *Messages) Reminded() []im.UserID {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.reminded
	m.reminded = nil
	return all
}

// Deliver implements plugin.Messages: it is only counted.
func (m *Messages) Deliver() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.delivered++
}

// Delivered is how often Deliver was called.
func (m *Messages) Delivered() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.delivered
}

// Filed gives, and forgets, the events that were filed since the last call, in order.
func (m *Messages) Filed(t testing.TB) (events []plugin.Event) {
	t.Helper()
	m.mu.Lock()
	h := m.host
	m.mu.Unlock()
	err := h.Tx(t.Context(), func(tx *stdsql.Tx) (err error) {
		if events, err = filed(t.Context(), tx); err == nil {
			_, err = tx.ExecContext(t.Context(), "DELETE FROM stubs_filed")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func filed(ctx context.Context, tx *stdsql.Tx) (events []plugin.Event, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT event FROM stubs_filed ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		var e plugin.Event
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

// filing is stubs one of which is attached, with the tables of such.
type filing struct{ stubs }

func (filing) Migrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// People stands for the account plugin: it knows those whom it was made with. Safe for
// concurrent use.
type People struct {
	mu       sync.Mutex // guards the fields below
	people   map[im.UserID]plugin.Person
	left     map[im.UserID]bool
	made     map[im.UserID]time.Time // those whom Register said
	holdings map[string]plugin.Holdings
}

var (
	_ plugin.People     = (*People)(nil)
	_ plugin.HoldingsOf = (*People)(nil)
)

// NewPeople makes one that knows the users, by a handle and a nickname made of their IDs.
func NewPeople(users ...im.UserID) *People {
	p := &People{people: map[im.UserID]plugin.Person{}, holdings: map[string]plugin.Holdings{}}
	for _, u := range users {
		p.Add(plugin.Person{User: u, Handle: "user" + u.String(), Nickname: "User " + u.String()})
	}
	return p
}

// Stubs has it stand for plugin.ServicePeople, plugin.ServiceHoldings and "account.directory".
func (p *People) Stubs() []Stub {
	return []Stub{{plugin.ServicePeople, p}, {plugin.ServiceHoldings, p}, {"account.directory", p}}
}

// Add has it know a person, instead of what it knew.
func (p *People) Add(one plugin.Person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.people[one.User] = one
}

// Remove has it know him no more.
func (p *People) Remove(u im.UserID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.people, u)
}

// People implements plugin.People.
func (p *People) People(_ context.Context, users []im.UserID) (map[im.UserID]plugin.Person, error) {
	if len(users) > 1000 {
		return nil, fmt.Errorf("%d people were asked for at once", len(users))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	found := map[im.UserID]plugin.Person{}
	for _, u := range users {
		if one, known := p.people[u]; known {
			found[u] = one
		}
	}
	return found, nil
}

// Exists is of "account.directory".
func (p *People) Exists(_ context.Context, u im.UserID) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.people[u]
	return known, nil
}

// Absent is of "account.directory": those who are known are there, but who was told to Leave.
func (p *People) Absent(_ context.Context, u im.UserID) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.people[u]
	return !known || p.left[u], nil
}

// MadeOf is of "account.directory": those who are known, since ever or since Register said.
func (p *People) MadeOf(_ context.Context, users []im.UserID) (map[im.UserID]time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	made := map[im.UserID]time.Time{}
	for _, u := range users {
		if _, known := p.people[u]; known {
			made[u] = p.made[u]
		}
	}
	return made, nil
}

// Register has it know somebody whose account was made at that time.
func (p *People) Register(u im.UserID, at time.Time) {
	p.Add(plugin.Person{User: u, Handle: "user" + u.String(), Nickname: "User " + u.String()})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made == nil {
		p.made = map[im.UserID]time.Time{}
	}
	p.made[u] = at
}

// Leave has somebody be disabled, or have left for a while.
func (p *People) Leave(u im.UserID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == nil {
		p.left = map[im.UserID]bool{}
	}
	p.left[u] = true
}

// Hold implements plugin.HoldingsOf.
func (p *People) Hold(name string, h plugin.Holdings) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holdings[name] = h
}

// Holdings are those that plugins added, by plugin.
func (p *People) Holdings() map[string]plugin.Holdings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.holdings)
}

package plugins_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/chat"
	"freeim/plugins/group"
)

// This file has people with several devices do at random whatever messengers let them do, and compares what the plugins chat and
// group say with a model that is as simple as it can be: logs as lists, and who was there when something was said.
// An operator announces to all of them, one of whom has come later. Every second run is of two cores, and every third has pages of few octets.
// A run is its seed: the same seed does the same. One that fails is made shorter, and its last steps are told.

// modelSeeds is how many runs there are, modelSteps how long each is. FREEIM_MODEL_SEED=n runs one seed alone.
const (
	modelSeeds, modelSteps = 6, 200
	modelPeople            = 5
	modelLate              = modelSteps / 3 * time.Millisecond // so late the last of them has come; each step takes a millisecond
	modelLine              = 3                                 // with more members the group is large, and its members follow its log
)

// TestMessengerModel has the model agree with the plugins, for each seed.
func TestMessengerModel(t *testing.T) {
	seeds := make([]uint64, modelSeeds)
	for i := range seeds {
		seeds[i] = uint64(i + 1)
	}
	if text := os.Getenv("FREEIM_MODEL_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			failed, steps := runModel(t, seed, modelSteps)
			if failed == nil {
				return
			}
			at := modelSteps
			for low := 0; low < at; { // whatever fails with fewer steps is what is told
				half := (low + at) / 2
				if err, fewer := runModel(t, seed, half); err != nil {
					failed, steps, at = err, fewer, half
				} else {
					low = half + 1
				}
			}
			t.Errorf("FREEIM_MODEL_SEED=%d, %d steps: %v\nthe last steps:\n%s", seed, at, failed, strings.Join(steps[max(0, len(steps)-25):], "\n"))
		})
	}
}

// said is an entry of a log, and what became of it.
type said struct {
	conversation im.ConversationID
	seq          int64
	id           string
	event        string // of no person's
	about        int64  // the seq of what it says that something became of; 0: it says something else
	sender       im.UserID
	clientID     string
	first, text  string // as it was sent, and as it reads
	mentions     []im.UserID
	recalled     bool
	gone         int // the moment from which on it has disappeared; 0: it stays
	edits        int32
	reactions    map[string]map[im.UserID]bool
	inboxes      []im.UserID // who was there
}

// place is an entry of somebody's inbox.
type place struct {
	id           string
	conversation im.ConversationID
	seq          int64
	recalls      int64 // the seq of what it says was recalled
	quiet        bool  // it is about another message
}

// person is one of the people, as the model has him.
type person struct {
	user    im.UserID
	devices [2]*plugintest.Session
	screens [2]screen
	inbox   []place // as the first of his devices got it
	pushed  []*chatpb.InboxEntry
	in      bool // the group
	banned  bool
	role    grouppb.GroupRole
	may     int32     // of an admin: GroupPermission bits
	muted   bool      // in the group; it outlives a stay
	after   int64     // what he reads of the group is behind it
	made    time.Time // when he came: what was announced before is not for him
	quiet   bool      // he keeps from others what he has read
	read    map[im.ConversationID]int64
	told    map[im.ConversationID]int64 // up to where the other of a chat knows that he has read
	acked   map[im.ConversationID]int64 // up to where his devices hold a chat
	floor   map[im.ConversationID]int64
	hidden  map[im.ConversationID]int64 // the inbox seq up to which it is
	mute    map[im.ConversationID]chatpb.Mute
}

// messenger is a run.
type messenger struct {
	t      *testing.T
	rng    *rand.Rand
	cores  []*plugintest.Host // over one directory and one store
	chats  []*chat.Chat       // of each of them
	people []*person
	id     int64
	group  im.ConversationID
	rules  groupRules
	logs   map[im.ConversationID][]*said
	all    []*said                    // those of people
	lives  map[im.ConversationID]bool // in which what is said disappears
	now    int                        // how many moments have passed
	steps  []string
}

// runModel takes so many steps, and says what was not as it should be.
func runModel(t *testing.T, seed uint64, steps int) (failed error, did []string) {
	m := newMessenger(t, seed)
	for range steps {
		if err := m.step(); err != nil {
			return err, m.steps
		}
	}
	if err := m.compare(); err != nil {
		return err, m.steps
	}
	m.pass() // what disappears has, by then, and nothing else is new
	m.pass()
	return m.compare(), m.steps
}

func newMessenger(t *testing.T, seed uint64) *messenger {
	t.Helper()
	m := &messenger{t: t, rng: rand.New(rand.NewPCG(seed, 1)), logs: map[im.ConversationID][]*said{}, lives: map[im.ConversationID]bool{}}
	users := make([]im.UserID, modelPeople)
	for i := range users {
		users[i] = owner + im.UserID(i)
	}
	directory := plugintest.NewPeople(users...)
	m.start(seed, directory)
	late := m.cores[0].Now().Add(modelLate)
	directory.Register(users[modelPeople-1], late)
	for i, u := range users {
		p := &person{user: u, read: map[im.ConversationID]int64{}, told: map[im.ConversationID]int64{}, acked: map[im.ConversationID]int64{},
			floor: map[im.ConversationID]int64{}, hidden: map[im.ConversationID]int64{}, mute: map[im.ConversationID]chatpb.Mute{}}
		for i := range p.devices {
			p.devices[i] = m.connect(p, i)
		}
		if i == modelPeople-1 {
			p.made = late
		}
		m.people = append(m.people, p)
	}
	var rep grouppb.CreateGroupReply
	err := m.people[0].devices[0].Call(idl.ActionCreateGroup, &grouppb.CreateGroupRequest{ClientId: "one", Name: "Town", Policy: grouppb.GroupPolicy_GROUP_POLICY_OPEN}, &rep)
	if err != nil {
		t.Fatal(err)
	}
	m.id, m.group = rep.Group.GroupId, im.ConversationID(rep.Group.ConversationId)
	m.people[0].in, m.people[0].role = true, grouppb.GroupRole_GROUP_ROLE_OWNER
	if err := m.absorb(); err != nil {
		t.Fatal(err)
	}
	return m
}

// start starts the cores of a run.
func (m *messenger) start(seed uint64, directory *plugintest.People) {
	o := plugintest.Options{Dir: m.t.TempDir(), Stubs: directory.Stubs()}
	for range 1 + (seed+1)%2 {
		g, c := group.New(), chat.New()
		of := g.Config().(*group.Config)
		of.WriteDiffusion, of.MaxMembers, of.ChangesPerMinute = modelLine, 1000, 0
		says := c.Config().(*chat.Config)
		says.ChangesPerMinute, says.SearchesPerMinute, says.AnnouncementsPerHour, says.RecallWindow, says.KeepRecalled = 6000, 6000, 10_000, 24*time.Hour, time.Minute
		if seed%3 == 0 {
			says.PageBytes = 1 << 10
		}
		o.Plugins, o.Presence = []plugin.Plugin{c, g}, presence.NewMemory() // a core's edge is its own here
		host := plugintest.New(m.t, o)
		if !plugintest.Production() { // where each core has a store of its own
			o.Timelines = host.Timelines()
		}
		m.cores, m.chats = append(m.cores, host), append(m.chats, c)
	}
}

// connect has one of p's devices connect, to any core.
func (m *messenger) connect(p *person, device int) *plugintest.Session {
	return m.cores[m.rng.IntN(len(m.cores))].As(p.user, im.DeviceID(fmt.Sprint("device", device)), idl.CodecProtobuf)
}

// advance has time pass, for all cores.
func (m *messenger) advance(d time.Duration) {
	for _, core := range m.cores {
		core.Advance(d)
	}
}

func (m *messenger) anybody() *person { return m.people[m.rng.IntN(len(m.people))] }

func (m *messenger) any(p *person) *plugintest.Session { return p.devices[m.rng.IntN(len(p.devices))] }

// somewhere is a conversation that p could be in, the group, or the announcements.
func (m *messenger) somewhere(p *person) im.ConversationID {
	switch m.rng.IntN(8) {
	case 0:
		return im.ToAll
	case 1, 2, 3, 4:
		return m.group
	}
	return im.ChatOf(p.user, m.anybody().user)
}

// talked is one in which something came to p, mostly.
func (m *messenger) talked(p *person) im.ConversationID {
	if len(p.inbox) > 0 && m.rng.IntN(4) > 0 {
		if c := p.inbox[m.rng.IntN(len(p.inbox))].conversation; c.Type() != im.Notices {
			return c
		}
	}
	return m.somewhere(p)
}

func (m *messenger) did(p *person, format string, args ...any) {
	m.steps = append(m.steps, fmt.Sprintf("%d: %d %s", len(m.steps)+1, p.user-owner, fmt.Sprintf(format, args...)))
}

// step does something at random.
func (m *messenger) step() error {
	m.advance(time.Millisecond)
	p := m.anybody()
	var err error
	switch n := m.rng.IntN(148); {
	case n >= 144:
		err = m.keepReads(p)
	case n >= 134:
		err = m.ack(p)
	case n >= 126:
		err = m.search(p)
	case n >= 108:
		err = m.govern(p)
	case n >= 100:
		err = m.announce(p)
	case n < 30:
		err = m.send(p)
	case n < 35:
		err = m.resend(p)
	case n < 41:
		err = m.edit(p)
	case n < 44:
		err = m.recall(p)
	case n < 47:
		err = m.settle(p)
	case n < 51:
		err = m.react(p)
	case n < 55:
		m.pass()
	case n < 61:
		err = m.readUpTo(p)
	case n < 66:
		err = m.update(p)
	case n < 74:
		err = m.join(p)
	case n < 78:
		err = m.leave(p)
	case n < 81:
		err = m.ban(p)
	case n < 87:
		err = m.history(p, m.somewhere(p))
	case n < 90:
		err = m.list(p)
	case n < 93:
		i := m.rng.IntN(len(p.devices))
		m.did(p, "comes again with device %d", i)
		p.devices[i].Close()
		p.devices[i] = m.connect(p, i)
	default:
		err = m.sync(p, m.rng.IntN(len(p.devices)))
	}
	return errors.Join(err, m.absorb())
}

// absorb waits until all is told, and takes over what came into the logs: events, which nobody of the model made.
func (m *messenger) absorb() error {
	for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
		var n int
		if err := m.cores[0].DB().QueryRowContext(m.t.Context(), "SELECT (SELECT COUNT(*) FROM chat_events) + (SELECT COUNT(*) FROM group_outbox)").Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			return errors.New("events are not told")
		}
	}
	for _, c := range m.conversations() {
		page, err := m.cores[0].Timelines().Log(m.t.Context(), c, int64(len(m.logs[c])), 500)
		if err != nil {
			return err
		}
		for _, stored := range page.Items {
			var content chatpb.Content
			if err := content.Unmarshal(stored.Body); err != nil {
				return err
			}
			one := &said{conversation: c, seq: stored.Seq, id: stored.ID.String(), event: content.Event, about: content.About.GetSeq(), sender: stored.Sender}
			if one.about > 0 {
				one.inboxes = m.listeners(c, one.id)
			}
			if content.Event == "" {
				return fmt.Errorf("%s has a message that nobody sent: %+v", c, content.Text)
			}
			if err := m.add(one); err != nil {
				return err
			}
		}
	}
	for _, p := range m.people {
		if err := m.hear(p); err != nil {
			return err
		}
	}
	return nil
}

// hear takes over what was pushed to somebody's devices: nothing that was said where he was not.
func (m *messenger) hear(p *person) error {
	for i, d := range p.devices {
		for _, r := range d.Pushes() {
			if err := m.moved(p, r); err != nil {
				return fmt.Errorf("device %d of %d: %w", i, p.user-owner, err)
			}
			if r.Action != idl.ActionMessage {
				continue
			}
			e := new(chatpb.InboxEntry)
			if err := r.Decode(e); err != nil {
				return err
			}
			p.pushed = append(p.pushed, e)
			c := im.ConversationID(e.Message.ConversationId)
			if c.Type() == im.Notices {
				continue
			}
			log := m.logs[c]
			if e.Message.Seq < 1 || e.Message.Seq > int64(len(log)) || log[e.Message.Seq-1].id != e.Message.Id {
				return fmt.Errorf("device %d of %d was pushed %+v, which is not in the log", i, p.user-owner, e)
			}
			if one := log[e.Message.Seq-1]; one.isFor() && !slices.Contains(one.inboxes, p.user) {
				return fmt.Errorf("device %d of %d was pushed %q, said where he was not", i, p.user-owner, one.first)
			}
		}
	}
	return nil
}

// heard compares what was pushed to somebody with all of his inbox: it is there, and where he was told.
func (m *messenger) heard(p *person) error {
	for _, e := range p.pushed {
		if e.InboxSeq < 1 || e.InboxSeq > int64(len(p.inbox)) || p.inbox[e.InboxSeq-1].id != e.Message.Id {
			return fmt.Errorf("%d was pushed %+v, which his inbox of %d has not there", p.user-owner, e, len(p.inbox))
		}
	}
	return nil
}

// conversations are all that there can be, in their order.
func (m *messenger) conversations() []im.ConversationID {
	all := []im.ConversationID{m.group, im.ToAll}
	for i, a := range m.people {
		for _, b := range m.people[i:] {
			all = append(all, im.ChatOf(a.user, b.user))
		}
	}
	return all
}

// add takes an entry into its log, whose seqs are dense.
func (m *messenger) add(one *said) error {
	log := m.logs[one.conversation]
	if one.seq != int64(len(log))+1 {
		return fmt.Errorf("%s has seq %d behind %d", one.conversation, one.seq, len(log))
	}
	m.logs[one.conversation] = append(log, one)
	if one.event == "" {
		m.all = append(m.all, one)
	}
	return nil
}

// sees reports whether p may read what is at seq of c now.
func (m *messenger) sees(p *person, c im.ConversationID, seq int64) bool {
	switch {
	case !m.within(p, c) || seq <= p.floor[c]:
		return false
	case c == im.ToAll:
		return m.after(p, m.logs[c][seq-1].id)
	}
	return c != m.group || seq > p.after
}

// after reports whether a message was committed when p had come.
func (m *messenger) after(p *person, id string) bool {
	of, err := im.ParseMessageID(id)
	if err != nil {
		m.t.Fatal(err)
	}
	return of.Time().After(p.made)
}

// listeners are those to whom goes what is said in c now.
func (m *messenger) listeners(c im.ConversationID, id string) (users []im.UserID) {
	for _, p := range m.people {
		if m.within(p, c) && (c != im.ToAll || m.after(p, id)) {
			users = append(users, p.user)
		}
	}
	return users
}

// isFor reports whether the model knows to whom something went: to what is said of the group itself it listens only.
func (s *said) isFor() bool { return s.event == "" || s.about > 0 }

// within reports whether p may read in c.
func (m *messenger) within(p *person, c im.ConversationID) bool {
	if a, b, ok := c.Pair(); ok {
		return p.user == a || p.user == b
	}
	return c == im.ToAll || p.in
}

// wants says whether an answer is one of those that are right; none: the call succeeds.
func wants(err error, codes ...idl.Code) error {
	if len(codes) == 0 && err == nil || len(codes) > 0 && err != nil && slices.Contains(codes, im.CodeOf(err)) {
		return nil
	}
	return fmt.Errorf("got %v, want one of %v", err, codes)
}

func (m *messenger) send(p *person) error {
	c := m.somewhere(p)
	one := &said{conversation: c, sender: p.user, clientID: fmt.Sprint("m", len(m.steps)), first: fmt.Sprint("text ", len(m.steps)), reactions: map[string]map[im.UserID]bool{}}
	one.text = one.first
	for _, other := range m.people {
		if m.within(other, c) {
			if one.inboxes = append(one.inboxes, other.user); m.rng.IntN(4) == 0 {
				one.mentions = append(one.mentions, other.user)
			}
		}
	}
	m.did(p, "sends %q to %s, naming %v", one.first, c, one.mentions)
	var rep chatpb.SendReply
	err := m.any(p).Call(idl.ActionMessage, one.request(one.first), &rep)
	if !m.within(p, c) || c == im.ToAll || !m.speaks(p, c) {
		return wants(err, idl.CodePermissionDenied)
	}
	if err != nil {
		return err
	}
	if rep.Duplicate {
		return fmt.Errorf("%+v is a duplicate", &rep)
	}
	if err := m.before(c, rep.Seq); err != nil {
		return err
	}
	if one.seq, one.id = rep.Seq, rep.MessageId; m.lives[c] {
		one.gone = m.now + 2
	}
	return m.add(one)
}

// before takes over the events that came into a log before a seq.
func (m *messenger) before(c im.ConversationID, seq int64) error {
	if n := int64(len(m.logs[c])); seq != n+1 {
		return fmt.Errorf("%s: seq %d is behind %d, and all was told", c, seq, n)
	}
	return nil
}

func (s *said) request(text string) *chatpb.SendRequest {
	req := &chatpb.SendRequest{ClientId: s.clientID, ConversationId: string(s.conversation), Text: text}
	for _, u := range s.mentions {
		req.Mentions = append(req.Mentions, int64(u))
	}
	return req
}

func (m *messenger) resend(p *person) error {
	one := m.message()
	if one == nil || one.sender != p.user || one.conversation == im.ToAll {
		return nil
	}
	other := m.rng.IntN(3) == 0
	m.did(p, "sends %q again, another %t", one.first, other)
	text := one.first
	if other {
		text += " or not"
	}
	var rep chatpb.SendReply
	err := m.any(p).Call(idl.ActionMessage, one.request(text), &rep)
	if other {
		return wants(err, idl.CodeConflict)
	}
	if err != nil || !rep.Duplicate || rep.MessageId != one.id || rep.Seq != one.seq {
		return fmt.Errorf("got %+v, %w, want seq %d, %s", &rep, err, one.seq, one.id)
	}
	return nil
}

// announce has the operator announce in p's name, again what he announced, or change it.
func (m *messenger) announce(p *person) error {
	form := url.Values{"from": {p.user.String()}, "client_id": {fmt.Sprint("a", len(m.steps))}, "text": {fmt.Sprint("to all ", len(m.steps))}}
	if log := m.logs[im.ToAll]; len(log) > 0 && m.rng.IntN(3) > 0 {
		if one := log[m.rng.IntN(len(log))]; one.event == "" {
			return m.announceAgain(one)
		}
	}
	m.did(p, "announces %q", form.Get("text"))
	var rep struct {
		Seq       int64
		MessageID string `json:"message_id"`
	}
	if status, err := m.page("POST /announcements", form, &rep); err != nil || status != http.StatusOK {
		return fmt.Errorf("announce: %d, %w", status, err)
	}
	if err := m.before(im.ToAll, rep.Seq); err != nil {
		return err
	}
	one := &said{conversation: im.ToAll, seq: rep.Seq, id: rep.MessageID, sender: p.user, clientID: form.Get("client_id"), first: form.Get("text"), text: form.Get("text")}
	one.inboxes = m.listeners(im.ToAll, one.id)
	return m.add(one)
}

// announceAgain has the operator do something about what he announced.
func (m *messenger) announceAgain(one *said) error {
	about := url.Values{"seq": {fmt.Sprint(one.seq)}, "message_id": {one.id}}
	var rep struct {
		MessageID string `json:"message_id"`
		Duplicate bool
	}
	switch m.rng.IntN(3) {
	case 0:
		m.did(m.people[0], "has %q announced again", one.first)
		status, err := m.page("POST /announcements", url.Values{"from": {one.sender.String()}, "client_id": {one.clientID}, "text": {one.first}}, &rep)
		if err != nil || status != http.StatusOK || !rep.Duplicate || rep.MessageID != one.id {
			return fmt.Errorf("again: %d, %+v, %w", status, rep, err)
		}
	case 1:
		m.did(m.people[0], "has %q taken back", one.first)
		if status, err := m.page("POST /announcements/recall", about, &rep); err != nil || status != http.StatusOK {
			return fmt.Errorf("recall: %d, %w", status, err)
		}
		one.recalled, one.text = true, ""
	default:
		text := fmt.Sprint("edited ", len(m.steps))
		about.Set("text", text)
		m.did(m.people[0], "has %q read %q", one.first, text)
		switch status, err := m.page("POST /announcements/edit", about, &rep); {
		case err != nil || (status == http.StatusOK) == one.recalled:
			return fmt.Errorf("edit: %d, %w", status, err)
		case !one.recalled:
			one.text, one.edits = text, one.edits+1
		}
	}
	return nil
}

// page calls a page of the administrative port.
func (m *messenger) page(pattern string, form url.Values, into any) (status int, err error) {
	pages := m.chats[m.rng.IntN(len(m.chats))].Pages()
	at := slices.IndexFunc(pages, func(p plugin.Page) bool { return p.Pattern == pattern })
	method, path, _ := strings.Cut(pattern, " ")
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	pages[at].Handler.ServeHTTP(rec, r)
	return rec.Code, json.Unmarshal(rec.Body.Bytes(), into)
}

// message is one that somebody sent, mostly of the newest; nil: there is none.
func (m *messenger) message() *said {
	if len(m.all) == 0 {
		return nil
	}
	from := 0
	if m.rng.IntN(3) > 0 {
		from = max(0, len(m.all)-12)
	}
	return m.all[from+m.rng.IntN(len(m.all)-from)]
}

// refusals are what p may be refused for who changes a message; none: he may.
func (m *messenger) refusals(p *person, one *said) (codes []idl.Code) {
	switch {
	case !m.within(p, one.conversation):
		codes = append(codes, idl.CodePermissionDenied)
	case one.conversation == im.ToAll:
		codes = append(codes, idl.CodePermissionDenied, idl.CodeNotFound)
	case !m.sees(p, one.conversation, one.seq), m.over(one):
		codes = append(codes, idl.CodeNotFound)
	}
	return codes
}

// modelMoment is how long a moment is, and modelLife after how long messages disappear: from the second moment on behind the one in
// which they were said, and nowhere near its ends.
const (
	modelMoment = 35 * time.Second
	modelLife   = 50 * time.Second
)

// pass has a moment pass.
func (m *messenger) pass() {
	m.steps = append(m.steps, "a moment passes")
	m.advance(modelMoment)
	m.now++
}

// settle has messages disappear, or stay, from now on.
func (m *messenger) settle(p *person) error {
	if len(m.cores) > 1 && !plugintest.Production() {
		return nil // SQLite has one core, which remembers lifetimes
	}
	c, ms := m.somewhere(p), int64(0)
	if !m.lives[c] {
		ms = modelLife.Milliseconds()
	}
	m.did(p, "has messages of %s disappear after %d ms", c, ms)
	err := m.any(p).Call(idl.ActionLifetime, &chatpb.LifetimeRequest{ConversationId: string(c), LifetimeMs: &ms}, nil)
	switch {
	case c == im.ToAll, !m.within(p, c), c == m.group && !p.can(grouppb.GroupPermission_GROUP_PERMISSION_SETTINGS):
		return wants(err, idl.CodePermissionDenied)
	case im.CodeOf(err) == idl.CodeRateLimited:
		return nil
	case err == nil:
		m.lives[c] = ms > 0
	}
	return err
}

// over reports whether nothing is to be had of a message any more.
func (m *messenger) over(one *said) bool { return one.gone > 0 && m.now >= one.gone }

func (m *messenger) edit(p *person) error {
	one := m.message()
	if one == nil {
		return nil
	}
	text := fmt.Sprint("edited ", len(m.steps))
	m.did(p, "edits %q to %q", one.first, text)
	codes := m.refusals(p, one)
	if one.sender != p.user || !m.speaks(p, one.conversation) {
		codes = append(codes, idl.CodePermissionDenied)
	}
	if one.recalled {
		codes = append(codes, idl.CodeNotFound)
	}
	err := m.any(p).Call(idl.ActionEdit, &chatpb.EditRequest{ConversationId: string(one.conversation), Seq: one.seq, MessageId: one.id, Text: text}, nil)
	if wrong := wants(err, codes...); wrong != nil || err != nil {
		return wrong
	}
	one.text, one.edits = text, one.edits+1
	return nil
}

func (m *messenger) recall(p *person) error {
	one := m.message()
	if one == nil {
		return nil
	}
	m.did(p, "recalls %q", one.first)
	codes := m.refusals(p, one)
	if one.sender != p.user && (one.conversation != m.group || !p.above(m.person(one.sender))) {
		codes = append(codes, idl.CodePermissionDenied)
	}
	err := m.any(p).Call(idl.ActionRecall, &chatpb.RecallRequest{ConversationId: string(one.conversation), Seq: one.seq, MessageId: one.id}, nil)
	if wrong := wants(err, codes...); wrong != nil || err != nil {
		return wrong
	}
	one.recalled, one.text, one.reactions = true, "", nil
	return nil
}

func (m *messenger) react(p *person) error {
	one := m.message()
	if one == nil {
		return nil
	}
	kind, remove := string(rune('a'+m.rng.IntN(3))), m.rng.IntN(3) == 0
	m.did(p, "reacts %q to %q, away %t", kind, one.first, remove)
	codes := m.refusals(p, one)
	if one.recalled {
		codes = append(codes, idl.CodeNotFound)
	}
	if !remove && !m.speaks(p, one.conversation) {
		codes = append(codes, idl.CodePermissionDenied)
	}
	err := m.any(p).Call(idl.ActionReact, &chatpb.ReactRequest{ConversationId: string(one.conversation), Seq: one.seq, MessageId: one.id, Reaction: kind, Remove: remove}, nil)
	if wrong := wants(err, codes...); wrong != nil || err != nil {
		return wrong
	}
	if one.reactions[kind] == nil {
		one.reactions[kind] = map[im.UserID]bool{}
	}
	if one.reactions[kind][p.user] = true; remove {
		delete(one.reactions[kind], p.user)
	}
	return nil
}

// ends are the last entries of a conversation in an inbox: of all, and of those that move it in the list; 0: none.
func (p *person) ends(c im.ConversationID) (seq, inbox int64) {
	for i, e := range p.inbox {
		if e.conversation == c {
			if seq = e.seq; !e.quiet {
				inbox = int64(i) + 1
			}
		}
	}
	return seq, inbox
}

// update mutes, hides or deletes a conversation.
func (m *messenger) update(p *person) error {
	if err := m.sync(p, 0); err != nil { // the model goes by what came
		return err
	}
	c := m.somewhere(p)
	req := &chatpb.UpdateConversationRequest{ConversationId: string(c)}
	seq, inbox := p.ends(c)
	then := func() {}
	switch m.rng.IntN(3) {
	case 0:
		mute := chatpb.Mute(m.rng.IntN(3))
		req.Mute, then = &mute, func() { p.mute[c] = mute }
	case 1:
		hide := m.rng.IntN(2) == 0
		req.Hidden, then = &hide, func() {
			if p.hidden[c] = 0; hide {
				p.hidden[c] = inbox
			}
		}
	default:
		req.Delete, then = true, func() { p.floor[c], p.hidden[c] = max(p.floor[c], seq), inbox }
	}
	m.did(p, "changes %+v", req)
	err := m.any(p).Call(idl.ActionUpdateConversation, req, nil)
	if inbox == 0 {
		return wants(err, idl.CodeNotFound)
	}
	if err == nil {
		then()
	}
	return err
}

func (m *messenger) join(p *person) error {
	m.did(p, "joins")
	head := int64(len(m.logs[m.group]))
	var rep grouppb.JoinGroupReply
	err := m.any(p).Call(idl.ActionJoinGroup, &grouppb.JoinGroupRequest{GroupId: m.id}, &rep)
	if p.banned {
		return wants(err, idl.CodePermissionDenied)
	}
	if err != nil || !rep.Joined {
		return fmt.Errorf("got %+v, %w", &rep, err)
	}
	if p.in {
		return nil
	}
	p.in, p.role = true, grouppb.GroupRole_GROUP_ROLE_MEMBER
	var info grouppb.GroupInfoReply
	if err := p.devices[0].Call(idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: m.id}, &info); err != nil {
		return err
	}
	p.after = info.Group.GetMe().GetFirstSeq() - 1
	if want := m.rules.floor(head); p.after != want {
		return fmt.Errorf("who comes in at %d reads from %d, want %d", head, p.after+1, want+1)
	}
	return nil
}

func (m *messenger) leave(p *person) error {
	m.did(p, "leaves")
	err := m.any(p).Call(idl.ActionLeaveGroup, &grouppb.LeaveGroupRequest{GroupId: m.id}, nil)
	switch {
	case p.role == grouppb.GroupRole_GROUP_ROLE_OWNER:
		return wants(err, idl.CodePermissionDenied)
	case !p.in:
		return wants(err, idl.CodePermissionDenied)
	case err == nil:
		p.goes()
	}
	return err
}

// ban has the owner put somebody out for good, or let him again.
func (m *messenger) ban(p *person) error {
	by := m.owner()
	if p == by {
		return nil
	}
	until := int64(0)
	if !p.banned {
		until = -1
	}
	m.did(by, "bans %d until %d", p.user-owner, until)
	err := m.any(by).Call(idl.ActionBanFromGroup, &grouppb.BanFromGroupRequest{GroupId: m.id, UserId: int64(p.user), UntilMs: until}, nil)
	if err == nil {
		if p.banned = !p.banned; p.banned {
			p.goes()
		}
	}
	return err
}

// reads compares an entry that p was given with what the model has.
func (m *messenger) reads(p *person, got *chatpb.Message) error {
	log := m.logs[im.ConversationID(got.ConversationId)]
	if got.Seq < 1 || got.Seq > int64(len(log)) {
		return fmt.Errorf("got %+v, the log has %d", got, len(log))
	}
	one := log[got.Seq-1]
	if got.Id != one.id || got.Event != one.event {
		return fmt.Errorf("got %+v, want %s %s", got, one.id, one.event)
	}
	if one.event != "" {
		return m.tells(one, got)
	}
	text, became, recalled := one.text, got.Became, one.recalled || m.over(one)
	if recalled {
		text = ""
	}
	if one.edits > 0 && !recalled && !m.sees(p, one.conversation, one.seq) && (one.conversation == m.group) {
		if !m.within(p, one.conversation) || one.seq <= p.after { // he may not read it any more: no text of what was edited
			text = ""
		}
	}
	if got.Text != text || became.GetRecalled() != recalled || got.SenderId != int64(one.sender) || got.ClientId != one.clientID {
		return fmt.Errorf("got %+v, want %q, recalled %t", got, text, recalled)
	}
	if !m.sees(p, one.conversation, one.seq) {
		return nil
	}
	for kind, people := range one.reactions {
		count := int64(0)
		for _, r := range became.GetReactions() {
			if r.Reaction == kind {
				count = r.Count
			}
		}
		if recalled {
			people = nil
		}
		if count != int64(len(people)) {
			return fmt.Errorf("%q has %d times %q, want %d", one.first, count, kind, len(people))
		}
	}
	return nil
}

// unread counts what p has not read of c: of what came to him, behind what he read, wrote, deleted, and where he came in.
func (m *messenger) unread(p *person, c im.ConversationID) (n, named int64) {
	seen, last, recalled := max(p.read[c], p.floor[c]), int64(0), map[int64]bool{}
	for _, e := range p.inbox {
		if e.conversation != c {
			continue
		}
		if e.seq > last+1 || last == 0 {
			seen = max(seen, e.seq-1)
		}
		last = e.seq
		if one := m.logs[c][e.seq-1]; one.sender == p.user && one.event == "" { // what he has happen there is nothing that he said
			seen = max(seen, e.seq)
		}
		recalled[e.recalls] = true
	}
	for _, e := range p.inbox {
		if e.conversation == c && e.seq > seen {
			if one := m.logs[c][e.seq-1]; one.event == "" && !recalled[e.seq] && !m.over(one) {
				if n++; slices.Contains(one.mentions, p.user) {
					named++
				}
			}
		}
	}
	return n, named
}

// list compares somebody's list of conversations with the model.
func (m *messenger) list(p *person) error {
	if err := m.sync(p, 1); err != nil {
		return err
	}
	m.did(p, "lists")
	got := map[im.ConversationID]*chatpb.Conversation{}
	for req := (&chatpb.ListConversationsRequest{Limit: int32(1 + m.rng.IntN(5)), Hidden: true}); ; {
		var rep chatpb.ListConversationsReply
		if err := m.any(p).Call(idl.ActionListConversations, req, &rep); err != nil {
			return err
		}
		for _, c := range rep.Conversations {
			if got[im.ConversationID(c.ConversationId)] != nil {
				return fmt.Errorf("%s is listed twice", c.ConversationId)
			}
			got[im.ConversationID(c.ConversationId)] = c
		}
		if req.Cursor = rep.Cursor; !rep.HasMore {
			break
		}
	}
	for _, c := range m.conversations() {
		seq, inbox := p.ends(c)
		l := got[c]
		if (l != nil) != (inbox > 0) {
			return fmt.Errorf("%s is listed %t, its place is %d", c, l != nil, inbox)
		}
		if l == nil {
			continue
		}
		n, named := m.unread(p, c)
		if l.Unread != n || l.Mentions != named || l.LastSeq != seq || l.ReadSeq != p.read[c] || l.Floor != p.floor[c] || l.Mute != p.mute[c] || l.Hidden != (inbox <= p.hidden[c]) {
			return fmt.Errorf("got %+v, want %d unread, %d named, last %d, read %d, floor %d, mute %v, hidden %t", l, n, named, seq, p.read[c], p.floor[c], p.mute[c], inbox <= p.hidden[c])
		}
	}
	return nil
}

// compare has everybody look at everything.
func (m *messenger) compare() error {
	for _, p := range m.people {
		for i := range p.devices {
			if err := m.sync(p, i); err != nil {
				return err
			}
		}
		if err := m.fresh(p); err != nil {
			return err
		}
		if err := m.heard(p); err != nil {
			return err
		}
		if err := m.list(p); err != nil {
			return err
		}
		for _, c := range m.conversations() {
			if m.within(p, c) || c == m.group {
				if err := errors.Join(m.history(p, c), m.find(p, &chatpb.SearchMessagesRequest{Text: "t", ConversationId: string(c)})); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

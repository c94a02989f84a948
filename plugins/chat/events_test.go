package chat_test

import (
	stdsql "database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// file has events filed in one transaction, which ends with end.
func file(t *testing.T, h *plugintest.Host, end error, events ...plugin.Event) {
	t.Helper()
	messages := messagesOf(h)
	tx, err := h.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if err := messages.File(t.Context(), tx, events...); err != nil {
		t.Fatal(err)
	}
	if end == nil {
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

func messagesOf(h *plugintest.Host) plugin.Messages {
	service, _ := h.Service(plugin.ServiceMessages)
	return service.(plugin.Messages)
}

// heard are the events in a person's inbox, as "actor name data".
func heard(t *testing.T, s *plugintest.Session) (all []string) {
	t.Helper()
	for after := int64(0); ; {
		var rep chatpb.SyncReply
		if err := s.Call(idl.ActionSync, &chatpb.SyncRequest{AfterSeq: after, Limit: 500}, &rep); err != nil {
			t.Fatal(err)
		}
		for _, e := range rep.Entries {
			if e.Message.Kind == chatpb.MessageKind_MESSAGE_KIND_EVENT {
				all = append(all, fmt.Sprint(e.Message.SenderId, " ", e.Message.Event, " ", e.Message.Data))
			}
			after = e.InboxSeq
		}
		if !rep.HasMore {
			return all
		}
	}
}

func left(t *testing.T, h *plugintest.Host) (n int) {
	t.Helper()
	if err := h.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM chat_events").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// What is filed and committed comes to everybody it is for, as a message of his own notices,
// pushed and in his inbox; what was undone never does.
func TestEvents(t *testing.T) {
	h := start(t, nil)
	alices, bobs, carols := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf), h.As(carol, "phone", idl.CodecJSON)
	file(t, h, errors.New("undone"), plugin.Event{Users: []im.UserID{alice}, Name: "test.undone"})
	file(t, h, nil, plugin.Event{Users: []im.UserID{alice, bob}, Actor: alice, Name: "test.first", Data: `{"a":"<ü>"}`},
		plugin.Event{Users: []im.UserID{bob}, Name: "test.second"})
	messagesOf(h).Deliver()
	want := map[*plugintest.Session][]string{
		alices: {`100001 test.first {"a":"<ü>"}`}, bobs: {`100001 test.first {"a":"<ü>"}`, "0 test.second "}, carols: nil}
	eventually(t, "all are told", func() bool { return left(t, h) == 0 })
	for s, events := range want {
		user := s.Identity().User
		if got := heard(t, s); !slices.Equal(got, events) {
			t.Errorf("%d was told %q, want %q", user, got, events)
		}
		pushed := entries(t, s)
		if len(pushed) != len(events) {
			t.Errorf("%d got %d pushes, want %d", user, len(pushed), len(events))
		}
		for i, e := range pushed {
			if m := e.Message; e.InboxSeq != int64(i)+1 || m.Seq != int64(i)+1 || m.ConversationId != string(im.NoticesOf(user)) || m.Text != "" {
				t.Errorf("%d got %+v", user, e)
			}
		}
	}
}

// Cores that file events in the same millisecond do not get in each other's way.
func TestEventsOfCoresAtOnce(t *testing.T) {
	dir := t.TempDir()
	var events []plugin.Event
	for range 2100 { // more than an ID's spins in which a millisecond begins
		events = append(events, plugin.Event{Users: []im.UserID{alice}, Name: "test.filed"})
	}
	for range 2 { // the clock of a test stands still
		h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory}, Dir: dir})
		file(t, h, nil, events...)
	}
}

// Without a word about it, what is old enough is told all the same; also by another core.
func TestEventsLeftBehind(t *testing.T) {
	dir, there := t.TempDir(), presence.NewMemory()
	run := func() *plugintest.Host {
		return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory}, Dir: dir, Presence: there})
	}
	h := run()
	file(t, h, nil, plugin.Event{Users: []im.UserID{alice}, Name: "test.left"})
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h = run()
	h.Advance(time.Second)
	alices := h.As(alice, "phone", idl.CodecJSON)
	eventually(t, "it is told", func() bool { return slices.Equal(heard(t, alices), []string{"0 test.left "}) })
	file(t, h, nil, plugin.Event{Users: []im.UserID{alice}, Name: "test.unasked"})
	h.Advance(time.Second)
	eventually(t, "it is told", func() bool { return slices.Equal(heard(t, alices), []string{"0 test.left ", "0 test.unasked "}) })
}

// Many events of many people at once: each is told once, those of one person in order.
func TestEventsInOrder(t *testing.T) {
	h := start(t, nil)
	people := []im.UserID{alice, bob, carol}
	const each = 200
	var filing sync.WaitGroup
	for _, u := range people { // each to himself, and every tenth to all
		filing.Go(func() {
			for i := range each {
				users := []im.UserID{u}
				if i%10 == 0 {
					users = people
				}
				file(t, h, nil, plugin.Event{Users: users, Actor: u, Name: "test.counted", Data: fmt.Sprintf(`{"i":%d}`, i)})
				messagesOf(h).Deliver()
			}
		})
	}
	filing.Wait()
	eventually(t, "all are told", func() bool { return left(t, h) == 0 })
	for _, u := range people {
		last := map[int64]int{}
		n := 0
		for _, text := range heard(t, h.As(u, "phone", idl.CodecJSON)) {
			var actor int64
			var i int
			if _, err := fmt.Sscanf(text, `%d test.counted {"i":%d}`, &actor, &i); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if was, any := last[actor]; any && i <= was {
				t.Errorf("%d heard %d of %d after %d", u, i, actor, was)
			}
			last[actor] = i
			n++
		}
		if want := each + 2*each/10; n != want {
			t.Errorf("%d heard %d events, want %d", u, n, want)
		}
	}
}

// However many events wait to be tried again, what follows one of them for the same person waits too.
func TestEventsWaitBehindLateOnes(t *testing.T) {
	h := start(t, nil)
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := h.DB().ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	insert := func(id string, u im.UserID, name string, after time.Duration, tries int) {
		t.Helper()
		exec("INSERT INTO chat_events (id, core, people, actor, name, data, after_ms, tries) VALUES (?, 'other', ?, 0, ?, '', ?, ?)",
			id, u.String(), name, h.Now().Add(after).UnixMilli(), tries)
	}
	for i := range 300 {
		insert(fmt.Sprint("2", i), im.UserID(200_000+i), "test.late", 30*time.Second, 1)
	}
	insert("3", alice, "test.first", 50*time.Second, 1)
	insert("4", bob, "test.due", 0, 0)
	alices, bobs, carols := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecJSON), h.As(carol, "phone", idl.CodecJSON)
	eventually(t, "what is due is told", func() bool { return len(heard(t, bobs)) == 1 }) // by a look that saw the late ones
	file(t, h, nil, plugin.Event{Users: []im.UserID{alice}, Name: "test.second"}, plugin.Event{Users: []im.UserID{carol}, Name: "test.other"})
	messagesOf(h).Deliver()
	eventually(t, "who waits for nothing is told", func() bool { return len(heard(t, carols)) == 1 })
	if got := heard(t, alices); got != nil {
		t.Fatalf("she was told %v", got)
	}
	exec("UPDATE chat_events SET after_ms = 0 WHERE name = 'test.first'")
	h.Advance(5 * time.Second) // the second is due on any core then
	eventually(t, "she is told", func() bool { return len(heard(t, alices)) == 2 })
	if got := heard(t, alices); got[0] != "0 test.first " {
		t.Errorf("she was told %v", got)
	}
}

// What can never be told is put aside, and holds nobody up.
func TestEventsThatCannotBeTold(t *testing.T) {
	h := start(t, nil)
	file(t, h, nil, plugin.Event{Users: []im.UserID{alice}, Name: "test.broken"}, plugin.Event{Users: []im.UserID{alice}, Name: "test.fine"})
	if _, err := h.DB().ExecContext(t.Context(), "UPDATE chat_events SET people = 'nobody' WHERE name = 'test.broken'"); err != nil {
		t.Fatal(err)
	}
	messagesOf(h).Deliver()
	alices := h.As(alice, "phone", idl.CodecJSON)
	eventually(t, "the other one is told", func() bool { return slices.Equal(heard(t, alices), []string{"0 test.fine "}) })
	eventually(t, "it is put aside", func() bool {
		var tries int
		err := h.DB().QueryRowContext(t.Context(), "SELECT tries FROM chat_events WHERE name = 'test.broken'").Scan(&tries)
		return err == nil && tries < 0 && left(t, h) == 1
	})
	if !strings.Contains(h.Logs(), "an event cannot be told") {
		t.Error("nobody was told")
	}
}

func TestEventsThatAreRefused(t *testing.T) {
	h := start(t, nil)
	good := plugin.Event{Users: []im.UserID{alice}, Name: "test.fine"}
	for name, change := range map[string]func(*plugin.Event){
		"for nobody":        func(e *plugin.Event) { e.Users = nil },
		"for too many":      func(e *plugin.Event) { e.Users = []im.UserID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11} },
		"twice for one":     func(e *plugin.Event) { e.Users = []im.UserID{alice, alice} },
		"for no user":       func(e *plugin.Event) { e.Users = []im.UserID{0} },
		"no name":           func(e *plugin.Event) { e.Name = "" },
		"no plugin":         func(e *plugin.Event) { e.Name = "fine" },
		"a long name":       func(e *plugin.Event) { e.Name = "test." + strings.Repeat("x", 60) },
		"a list as data":    func(e *plugin.Event) { e.Data = "[]" },
		"half an object":    func(e *plugin.Event) { e.Data = "{" },
		"blanks as data":    func(e *plugin.Event) { e.Data = " " },
		"too much data":     func(e *plugin.Event) { e.Data = `{"a":"` + strings.Repeat("x", 4096) + `"}` },
		"data not of UTF-8": func(e *plugin.Event) { e.Data = "{\"a\":\"\xff\"}" },
	} {
		t.Run(name, func(t *testing.T) {
			e := good
			change(&e)
			tx, err := h.DB().BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			if err := messagesOf(h).File(t.Context(), tx, good, e); err == nil {
				t.Error("it was filed")
			}
		})
	}
}

// Nobody writes where the server tells people, and each reads his own only.
func TestNotices(t *testing.T) {
	h := start(t, nil)
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	file(t, h, nil, plugin.Event{Users: []im.UserID{alice}, Name: "test.told"})
	messagesOf(h).Deliver()
	eventually(t, "it is told", func() bool { return left(t, h) == 0 })
	c := im.NoticesOf(alice)
	rep, _ := history(t, alices, &chatpb.HistoryRequest{ConversationId: string(c)})
	if len(rep.Messages) != 1 || rep.Messages[0].Event != "test.told" {
		t.Errorf("got %v", rep)
	}
	if err := alices.Call(idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: string(c), Seq: 1}, nil); err != nil {
		t.Error(err)
	}
	wantRefusal(t, bobs.Call(idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: string(c)}, nil), idl.CodePermissionDenied, "conversation_id")
	wantRefusal(t, bobs.Call(idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: string(c), Seq: 1}, nil), idl.CodePermissionDenied, "conversation_id")
	for _, s := range []*plugintest.Session{alices, bobs} {
		_, err := sendTo(s, c, "m1", "hi")
		wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	}
}

// A post is a message of its conversation like any other, once.
func TestPost(t *testing.T) {
	h, c := found(t, nil)
	alices, bobs, carols := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf), h.As(carol, "phone", idl.CodecJSON)
	p := plugin.Post{Conversation: "g_1", Actor: alice, ClientID: "~1", Name: "group.renamed", Data: `{"name":"all"}`}
	first, err := c.messages.Post(t.Context(), p)
	if err != nil || first.Seq != 1 || len(first.InboxSeqs) != 2 {
		t.Fatalf("got %+v, %v", first, err)
	}
	again, err := c.messages.Post(t.Context(), p)
	if err != nil || again.ID != first.ID || !again.Duplicate {
		t.Errorf("got %+v, %v", again, err)
	}
	p.Data = ""
	if _, err := c.messages.Post(t.Context(), p); im.CodeOf(err) != idl.CodeConflict {
		t.Errorf("another post under the same ID: %v", err)
	}
	p.ClientID, p.Actor, p.Name, p.Audience = "~2", 0, "group.left", []im.UserID{carol, bob}
	if _, err := c.messages.Post(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		s    *plugintest.Session
		want []string
	}{
		"the actor": {alices, []string{"group.renamed"}}, "a member": {bobs, []string{"group.renamed", "group.left"}}, "who left": {carols, []string{"group.left"}}} {
		var got []string
		for _, e := range entries(t, row.s) {
			got = append(got, e.Message.Event)
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s got %q, want %q", name, got, row.want)
		}
	}
	rep, _ := history(t, bobs, &chatpb.HistoryRequest{ConversationId: "g_1"})
	if len(rep.Messages) != 2 || rep.Messages[0].Event != "group.left" || rep.Messages[1].Data != `{"name":"all"}` || rep.Messages[1].Kind != chatpb.MessageKind_MESSAGE_KIND_EVENT {
		t.Errorf("history is %v", rep)
	}
	for name, bad := range map[string]plugin.Post{
		"to a chat":     {Conversation: im.ChatOf(alice, bob), ClientID: "~3", Name: "group.x"},
		"to a room":     {Conversation: "r_1", ClientID: "~3", Name: "group.x"},
		"without an ID": {Conversation: "g_1", Name: "group.x"},
		"of a bad name": {Conversation: "g_1", ClientID: "~3", Name: "x"},
	} {
		if _, err := c.messages.Post(t.Context(), bad); err == nil {
			t.Errorf("%s: it was posted", name)
		}
	}
}

// Every listing goes by an index.
func TestPlans(t *testing.T) {
	h := start(t, nil)
	for _, query := range chat.Listings {
		args := make([]any, strings.Count(query, "?"))
		for i := range args {
			args[i] = "1" // as a number it could not be looked up among texts
		}
		if strings.HasSuffix(query, "LIMIT ?") {
			args[len(args)-1] = 1
		}
		plan := explain(t, h, query, args...)
		if strings.Contains(plan, "SCAN") || strings.Contains(plan, "TEMP B-TREE") || strings.Contains(plan, "filesort") || strings.Contains(plan, " ALL ") {
			t.Errorf("%s\n%s", query, plan)
		}
	}
}

// What finds messages goes by an index, also where it changes them: a table that is read as a whole is locked as a whole.
func TestPlansOfSpans(t *testing.T) {
	h := start(t, nil)
	whole := regexp.MustCompile(`SCAN chat_| (ALL|index)  `) // in MySQL's words none of its keys is possible
	for _, n := range []struct{ alone, runs int }{{1, 0}, {2, 0}, {0, 1}, {0, 2}, {1, 1}, {2, 2}, {1, 3}} {
		for _, query := range chat.OfSpans(dialect(t, h), n.alone, n.runs) {
			args := make([]any, strings.Count(query, "?"))
			for i := range args {
				args[i] = "1"
			}
			if plan := explain(t, h, query, args...); whole.MatchString(plan) {
				t.Errorf("%d alone, %d runs: %s\n%s", n.alone, n.runs, query, plan)
			}
		}
	}
}

func dialect(t *testing.T, h *plugintest.Host) string {
	t.Helper()
	if _, err := h.DB().ExecContext(t.Context(), "SELECT sqlite_version()"); err != nil {
		return "mysql"
	}
	return "sqlite"
}

// explain is the plan of a query as text.
func explain(t *testing.T, h *plugintest.Host, query string, args ...any) string {
	t.Helper()
	how := "EXPLAIN QUERY PLAN "
	if dialect(t, h) == "mysql" {
		how = "EXPLAIN "
	}
	rows, err := h.DB().QueryContext(t.Context(), how+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var plan strings.Builder
	for rows.Next() {
		values := make([]stdsql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			plan.WriteString(v.String + " ")
		}
		plan.WriteString("\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}

package chat_test

import (
	"fmt"
	"slices"
	"strings"
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

func search(s *plugintest.Session, req *chatpb.SearchMessagesRequest) (*chatpb.SearchMessagesReply, error) {
	var rep chatpb.SearchMessagesReply
	err := s.Call(idl.ActionSearchMessages, req, &rep)
	return &rep, err
}

// hits are the texts that a search finds, all pages of it.
func hits(t *testing.T, s *plugintest.Session, req *chatpb.SearchMessagesRequest) (all []string) {
	t.Helper()
	for range 1000 {
		rep, err := search(s, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range rep.Messages {
			text := m.Text
			if text == "" {
				text = m.Media.GetName() + m.Place.GetName()
			}
			all = append(all, text)
		}
		if !rep.HasMore {
			if rep.Cursor != "" || rep.SearchedToMs != 0 {
				t.Errorf("at the end: %+v", rep)
			}
			return all
		}
		req.Cursor = rep.Cursor
	}
	t.Fatal("a search does not end")
	return nil
}

func words(text string) *chatpb.SearchMessagesRequest {
	return &chatpb.SearchMessagesRequest{Text: text}
}

// finding is a host with a company, rules that shadow spam, and few limits.
func finding(t *testing.T, change ...func(*chat.Config)) (*plugintest.Host, *company) {
	t.Helper()
	p, c := chat.New(), &company{members: []im.UserID{bob, alice}, reach: map[im.UserID]plugin.Reach{}}
	p.Config().(*chat.Config).SearchesPerMinute = 6000
	for _, set := range change {
		set(p.Config().(*chat.Config))
	}
	return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p, c}, Stubs: []plugintest.Stub{directory}, Scripts: map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) if c.text:find("spam", 1, true) then return im.shadow() end end, {name = "x", on_error = "closed"})`}}), c
}

// Whoever looks finds what he may read, as it reads now, by its words, and nothing else.
func TestSearch(t *testing.T) {
	h, c := finding(t)
	alices, bobs, carols := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf), h.As(carol, "phone", idl.CodecJSON)
	ab := im.ChatOf(alice, bob)
	send(t, alices, bob, "1", "The quick brown Fox")
	send(t, bobs, alice, "2", "我们明天去北京看长城")
	send(t, alices, bob, "3", "ＦＵＬＬ width, Straße")
	h.Advance(time.Hour)
	later := h.Now()
	sends(t, alices, &chatpb.SendRequest{ClientId: "4", ToUserId: int64(bob), Kind: chatpb.MessageKind_MESSAGE_KIND_FILE, Media: &chatpb.Media{File: "https://cdn.example/1", Name: "budget fox.pdf"}})
	sends(t, bobs, &chatpb.SendRequest{ClientId: "5", ToUserId: int64(alice), Kind: chatpb.MessageKind_MESSAGE_KIND_PLACE,
		Place: &chatpb.Place{Name: "天安门", Address: "Beijing, East Chang'an Avenue", Latitude: 39.9, Longitude: 116.4}})
	sends(t, alices, &chatpb.SendRequest{ClientId: "6", ToUserId: int64(bob), Kind: chatpb.MessageKind_MESSAGE_KIND_COMMAND, Payload: &chatpb.Payload{Name: "fox"}})
	gone, changed := send(t, alices, bob, "7", "a fox that is gone"), send(t, alices, bob, "8", "nothing yet")
	if _, err := recall(alices, gone); err != nil {
		t.Fatal(err)
	}
	if _, err := edit(alices, changed, "the Fox came back", 0); err != nil {
		t.Fatal(err)
	}
	send(t, carols, alice, "1", "carol's fox")
	if _, err := sendTo(bobs, "g_1", "g", "a fox in the group"); err != nil {
		t.Fatal(err)
	}
	send(t, alices, bob, "9", "a fox of spam")
	toldAll(t, h)

	for _, test := range []struct {
		name string
		by   *plugintest.Session
		req  *chatpb.SearchMessagesRequest
		want []string
	}{
		{"in capitals, of whatever kind, the newest first", alices, words("FOX"),
			[]string{"a fox of spam", "a fox in the group", "carol's fox", "the Fox came back", "budget fox.pdf", "The quick brown Fox"}},
		{"as another sees it", bobs, words("fox"), []string{"a fox in the group", "the Fox came back", "budget fox.pdf", "The quick brown Fox"}},
		{"as one who wrote one of them", carols, words("fox"), []string{"carol's fox"}},
		{"all words", alices, words("quick  FOX"), []string{"The quick brown Fox"}},
		{"Chinese", bobs, words("北京"), []string{"我们明天去北京看长城"}},
		{"two words of it", alices, words("长城 明天"), []string{"我们明天去北京看长城"}},
		{"one character", alices, words("门"), []string{"天安门"}},
		{"characters that do not follow each other", alices, words("明北"), nil},
		{"in another width", alices, words("full"), []string{"ＦＵＬＬ width, Straße"}},
		{"in that width", alices, words("ｗｉｄｔｈ"), []string{"ＦＵＬＬ width, Straße"}},
		{"an address", alices, words("chang'an"), []string{"天安门"}},
		{"how it was before", alices, words("nothing"), nil},
		{"what was recalled", alices, words("gone"), nil},
		{"in one conversation", alices, &chatpb.SearchMessagesRequest{Text: "fox", ConversationId: string(ab)},
			[]string{"a fox of spam", "the Fox came back", "budget fox.pdf", "The quick brown Fox"}},
		{"there, as another sees it", bobs, &chatpb.SearchMessagesRequest{Text: "fox", ConversationId: string(ab)}, []string{"the Fox came back", "budget fox.pdf", "The quick brown Fox"}},
		{"in a group", alices, &chatpb.SearchMessagesRequest{Text: "fox", ConversationId: "g_1"}, []string{"a fox in the group"}},
		{"by sender", alices, &chatpb.SearchMessagesRequest{Text: "fox", SenderId: int64(bob)}, []string{"a fox in the group"}},
		{"whatever he said", alices, &chatpb.SearchMessagesRequest{SenderId: int64(carol)}, []string{"carol's fox"}},
		{"by kind", alices, &chatpb.SearchMessagesRequest{Kinds: []chatpb.MessageKind{chatpb.MessageKind_MESSAGE_KIND_FILE, chatpb.MessageKind_MESSAGE_KIND_PLACE}}, []string{"天安门", "budget fox.pdf"}},
		{"until then", alices, &chatpb.SearchMessagesRequest{Text: "fox", UntilMs: later.UnixMilli()}, []string{"The quick brown Fox"}},
		{"until then, there", alices, &chatpb.SearchMessagesRequest{Text: "fox", UntilMs: later.UnixMilli(), ConversationId: string(ab)}, []string{"The quick brown Fox"}},
		{"since then, there", bobs, &chatpb.SearchMessagesRequest{Text: "fox", FromMs: later.UnixMilli(), ConversationId: string(ab)}, []string{"the Fox came back", "budget fox.pdf"}},
		{"since then", bobs, &chatpb.SearchMessagesRequest{Text: "fox", FromMs: later.UnixMilli()}, []string{"a fox in the group", "the Fox came back", "budget fox.pdf"}},
		{"in no time", bobs, &chatpb.SearchMessagesRequest{Text: "fox", FromMs: later.UnixMilli() + 1e9}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := hits(t, test.by, test.req); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			for _, limit := range []int32{1, 2} { // pages give the same
				req := *test.req
				req.Cursor, req.Limit = "", limit
				if got := hits(t, test.by, &req); !slices.Equal(got, test.want) {
					t.Errorf("in pages of %d: got %q, want %q", limit, got, test.want)
				}
			}
		})
	}

	// What one may not read any more, one does not find.
	if _, err := update(bobs, &chatpb.UpdateConversationRequest{ConversationId: string(ab), Delete: true}); err != nil {
		t.Fatal(err)
	}
	c.set(func() { c.members = []im.UserID{alice} })
	if got := hits(t, bobs, words("fox")); got != nil {
		t.Errorf("deleted, and put out: got %q", got)
	}
	if got := hits(t, bobs, &chatpb.SearchMessagesRequest{Text: "fox", ConversationId: string(ab)}); got != nil {
		t.Errorf("deleted: got %q", got)
	}
	c.set(func() { c.reach[bob] = plugin.Reach{After: 1} })
	if got := hits(t, bobs, words("fox")); got != nil {
		t.Errorf("back in the group, without what was: got %q", got)
	}
	if got := hits(t, bobs, &chatpb.SearchMessagesRequest{Text: "fox", ConversationId: "g_1"}); got != nil {
		t.Errorf("back in the group, there: got %q", got)
	}
	c.set(func() { c.reach[bob] = plugin.Reach{Through: 1} })
	if got := hits(t, bobs, &chatpb.SearchMessagesRequest{Text: "fox", ConversationId: "g_1"}); len(got) != 1 {
		t.Errorf("up to there: got %q", got)
	}
}

func TestSearchRefuses(t *testing.T) {
	h, c := finding(t)
	alices, carols := h.As(alice, "phone", idl.CodecJSON), h.As(carol, "phone", idl.CodecJSON)
	if _, err := sendTo(alices, "g_1", "g", "fox"); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		req   *chatpb.SearchMessagesRequest
		code  idl.Code
		field string
	}{
		"nothing to look for":        {&chatpb.SearchMessagesRequest{Text: " \t"}, idl.CodeInvalidArgument, "text"},
		"a conversation alone":       {&chatpb.SearchMessagesRequest{ConversationId: "c_100001_100003"}, idl.CodeInvalidArgument, "text"},
		"much":                       {words(strings.Repeat("x", 101)), idl.CodeInvalidArgument, "text"},
		"many words":                 {words("a b c d e f g h i"), idl.CodeInvalidArgument, "text"},
		"lines":                      {words("a\nb"), idl.CodeInvalidArgument, "text"},
		"another's chat":             {&chatpb.SearchMessagesRequest{Text: "fox", ConversationId: "c_100001_100002"}, idl.CodePermissionDenied, "conversation_id"},
		"another's group":            {&chatpb.SearchMessagesRequest{Text: "fox", ConversationId: "g_1"}, idl.CodePermissionDenied, "conversation_id"},
		"another's shadows":          {&chatpb.SearchMessagesRequest{Text: "fox", ConversationId: "c_100001_100003\x1f100001"}, idl.CodePermissionDenied, "conversation_id"},
		"a room":                     {&chatpb.SearchMessagesRequest{Text: "fox", ConversationId: "r_1"}, idl.CodePermissionDenied, "conversation_id"},
		"one's notices":              {&chatpb.SearchMessagesRequest{Text: "fox", ConversationId: "n_100003"}, idl.CodePermissionDenied, "conversation_id"},
		"another's notices":          {&chatpb.SearchMessagesRequest{Text: "fox", ConversationId: "n_100001"}, idl.CodePermissionDenied, "conversation_id"},
		"no user":                    {&chatpb.SearchMessagesRequest{Text: "fox", SenderId: -1}, idl.CodeInvalidArgument, "sender_id"},
		"commands":                   {&chatpb.SearchMessagesRequest{Kinds: []chatpb.MessageKind{chatpb.MessageKind_MESSAGE_KIND_COMMAND}}, idl.CodeInvalidArgument, "kinds"},
		"events":                     {&chatpb.SearchMessagesRequest{Kinds: []chatpb.MessageKind{chatpb.MessageKind_MESSAGE_KIND_EVENT}}, idl.CodeInvalidArgument, "kinds"},
		"kinds over and over":        {&chatpb.SearchMessagesRequest{Kinds: make([]chatpb.MessageKind, 100)}, idl.CodeInvalidArgument, "kinds"},
		"before all time":            {&chatpb.SearchMessagesRequest{Text: "fox", FromMs: -1}, idl.CodeInvalidArgument, "from_ms"},
		"until before all time":      {&chatpb.SearchMessagesRequest{Text: "fox", UntilMs: -1}, idl.CodeInvalidArgument, "until_ms"},
		"no time at all":             {&chatpb.SearchMessagesRequest{Text: "fox", FromMs: 5, UntilMs: 5}, idl.CodeInvalidArgument, "until_ms"},
		"a cursor of nobody's":       {&chatpb.SearchMessagesRequest{Text: "fox", Cursor: "x1"}, idl.CodeInvalidArgument, "cursor"},
		"a cursor of another kind":   {&chatpb.SearchMessagesRequest{Text: "fox", Cursor: "l1"}, idl.CodeInvalidArgument, "cursor"},
		"a cursor in another way":    {&chatpb.SearchMessagesRequest{Text: "fox", Cursor: "i01"}, idl.CodeInvalidArgument, "cursor"},
		"a cursor before everything": {&chatpb.SearchMessagesRequest{Text: "fox", Cursor: "i0"}, idl.CodeInvalidArgument, "cursor"},
		"a page of too many":         {&chatpb.SearchMessagesRequest{Text: "fox", Limit: 51}, idl.CodeInvalidArgument, "limit"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := search(carols, test.req)
			wantRefusal(t, err, test.code, test.field)
		})
	}
	if rep, err := search(carols, &chatpb.SearchMessagesRequest{Text: "fox", Cursor: fmt.Sprint("i", int64(1)<<62)}); err != nil || len(rep.Messages) != 0 {
		t.Errorf("a cursor beyond the end: got %+v, %v", rep, err)
	}
	c.set(func() { c.members = []im.UserID{alice} })
	// So many a minute.
	p := chat.New()
	p.Config().(*chat.Config).SearchesPerMinute = 2
	h = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{directory}})
	alices = h.As(alice, "phone", idl.CodecJSON)
	for i := range 3 {
		_, err := search(alices, words("fox"))
		if limited := im.CodeOf(err) == idl.CodeRateLimited; limited != (i == 2) {
			t.Errorf("search %d: got %v", i, err)
		}
	}
}

// One call looks at so many messages, and says how far it came; nothing is left out or found twice.
func TestSearchGoesOn(t *testing.T) {
	h, _ := finding(t, func(c *chat.Config) { c.SearchScan, c.PageBytes = 100, 1<<10 })
	alices := h.As(alice, "phone", idl.CodecJSON)
	var want []string
	for i := range 1300 {
		text := "hay " + fmt.Sprint(i)
		if i%100 == 7 {
			text = "needle " + fmt.Sprint(i) + strings.Repeat(" long", 60)
			want = append([]string{text}, want...)
		}
		say(t, h, im.ChatOf(alice, bob), alice, fmt.Sprint(i), text, alice, bob)
		if i%200 == 3 { // an end in the middle of these
			say(t, h, im.ChatOf(alice, bob).Shadow(alice), alice, fmt.Sprint("s", i), "needle unseen", alice)
		}
	}
	rep, err := search(alices, words("needle 7"))
	if err != nil || !rep.HasMore || rep.SearchedToMs == 0 {
		t.Fatalf("got %+v, %v", rep, err)
	}
	for _, conversation := range []string{"", string(im.ChatOf(alice, bob))} {
		got := hits(t, alices, &chatpb.SearchMessagesRequest{Text: "needle", ConversationId: conversation})
		got = slices.DeleteFunc(got, func(text string) bool { return text == "needle unseen" })
		if !slices.Equal(got, want) {
			t.Errorf("in %q: got %d, want %d", conversation, len(got), len(want))
		}
	}
}

// say commits a message as chat would.
func say(t testing.TB, h *plugintest.Host, c im.ConversationID, sender im.UserID, clientID, text string, people ...im.UserID) {
	t.Helper()
	content := chatpb.Content{Text: text}
	if of, shadow := c.Shadowed(); shadow {
		end, err := h.Timelines().Log(t.Context(), of, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		content.ShadowSeq = end.Head + 1
	}
	body, err := content.Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Timelines().Append(t.Context(), timeline.Draft{Conversation: c, Sender: sender, ClientID: clientID, Body: body, Inboxes: people}); err != nil {
		t.Fatal(err)
	}
}

// A search that finds nothing, in 5,000 messages of 50 characters, of 500 conversations and of one.
func BenchmarkSearch(b *testing.B) {
	p := chat.New()
	p.Config().(*chat.Config).SearchesPerMinute = 6000
	h := plugintest.New(b, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{directory}})
	alices := h.As(alice, "phone", idl.CodecProtobuf)
	for i := range 5000 {
		say(b, h, im.ChatOf(alice, im.UserID(200000+i%500)), alice, fmt.Sprint(i), strings.Repeat("我们明天去北京看", 6), alice)
	}
	for i := range 5000 {
		say(b, h, im.ChatOf(alice, bob), bob, fmt.Sprint(i), strings.Repeat("我们明天去北京看", 6), bob)
	}
	for name, req := range map[string]*chatpb.SearchMessagesRequest{"everywhere": words("上海"), "in one conversation": {Text: "上海", ConversationId: string(im.ChatOf(alice, bob))}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				h.Advance(time.Minute) // or it is too often
				rep, err := search(alices, req)
				if err != nil || len(rep.Messages) != 0 {
					b.Fatalf("got %+v, %v", rep, err)
				}
			}
		})
	}
}

package chat_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

const (
	kindText    = chatpb.MessageKind_MESSAGE_KIND_TEXT
	kindImage   = chatpb.MessageKind_MESSAGE_KIND_IMAGE
	kindPlace   = chatpb.MessageKind_MESSAGE_KIND_PLACE
	kindVideo   = chatpb.MessageKind_MESSAGE_KIND_VIDEO
	kindVoice   = chatpb.MessageKind_MESSAGE_KIND_VOICE
	kindFile    = chatpb.MessageKind_MESSAGE_KIND_FILE
	kindCommand = chatpb.MessageKind_MESSAGE_KIND_COMMAND
	kindCustom  = chatpb.MessageKind_MESSAGE_KIND_CUSTOM
)

// aFile is the address of a file that nobody has.
const aFile = "file:ABCDEFGHJKLMNPQRSTUVWXYZ23"

// sends sends any message; it must be accepted.
func sends(t *testing.T, from *plugintest.Session, req *chatpb.SendRequest) *chatpb.SendReply {
	t.Helper()
	var rep chatpb.SendReply
	if err := from.Call(idl.ActionMessage, req, &rep); err != nil {
		t.Fatal(err)
	}
	return &rep
}

// rows is a number that the directory gives.
func rows(t *testing.T, h *plugintest.Host, query string, args ...any) (n int) {
	t.Helper()
	if err := h.DB().QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Each kind has a body of its own and no other's; what a sender gave is what all get.
func TestKinds(t *testing.T) {
	media := func(change func(*chatpb.Media)) *chatpb.Media {
		m := &chatpb.Media{File: aFile}
		change(m)
		return m
	}
	nothing := func(*chatpb.Media) {}
	for _, row := range []struct {
		name  string
		req   *chatpb.SendRequest
		field string // empty: accepted
	}{
		{"image", &chatpb.SendRequest{Kind: kindImage, Text: "a caption", Media: media(func(m *chatpb.Media) {
			m.Name, m.Type, m.Size, m.Width, m.Height = "a.png", "image/png", 1<<40, 640, 65535
		})}, ""},
		{"image by URL", &chatpb.SendRequest{Kind: kindImage, Media: media(func(m *chatpb.Media) { m.File = "https://cdn.example/a.png?x=1" })}, ""},
		{"video", &chatpb.SendRequest{Kind: kindVideo, Media: media(func(m *chatpb.Media) {
			m.Cover, m.Type, m.DurationMs = aFile, "video/mp4", 86_400_000
		})}, ""},
		{"voice", &chatpb.SendRequest{Kind: kindVoice, Media: media(func(m *chatpb.Media) { m.Type, m.DurationMs = "audio/ogg", 1200 })}, ""},
		{"file", &chatpb.SendRequest{Kind: kindFile, Media: media(func(m *chatpb.Media) { m.Name, m.Type = "Bericht.pdf", "application/pdf" })}, ""},
		{"place", &chatpb.SendRequest{Kind: kindPlace, Place: &chatpb.Place{Name: "Домой", Address: "1 Road", Latitude: -90, Longitude: 180}}, ""},
		{"command", &chatpb.SendRequest{Kind: kindCommand, Payload: &chatpb.Payload{Name: "call.ring", Data: `{"room":"7"}`}}, ""},
		{"custom", &chatpb.SendRequest{Kind: kindCustom, Text: "an order", Payload: &chatpb.Payload{Name: "shop.order", Data: ` {"id":1}`}}, ""},

		{"kind below all", &chatpb.SendRequest{Kind: -1, Text: "x"}, "kind"},
		{"an event", &chatpb.SendRequest{Kind: 8, Text: "x"}, "kind"},
		{"text with media", &chatpb.SendRequest{Text: "x", Media: media(nothing)}, "media"},
		{"text with a place", &chatpb.SendRequest{Text: "x", Place: &chatpb.Place{}}, "place"},
		{"image of nothing", &chatpb.SendRequest{Kind: kindImage}, "media"},
		{"image with a payload", &chatpb.SendRequest{Kind: kindImage, Media: media(nothing), Payload: &chatpb.Payload{Name: "x"}}, "payload"},
		{"long caption", &chatpb.SendRequest{Kind: kindImage, Text: strings.Repeat("x", 5001), Media: media(nothing)}, "text"},
		{"no file", &chatpb.SendRequest{Kind: kindImage, Media: &chatpb.Media{}}, "media.file"},
		{"file without ID", &chatpb.SendRequest{Kind: kindImage, Media: &chatpb.Media{File: "file:"}}, "media.file"},
		{"file elsewhere", &chatpb.SendRequest{Kind: kindImage, Media: &chatpb.Media{File: "file:../x"}}, "media.file"},
		{"http", &chatpb.SendRequest{Kind: kindImage, Media: &chatpb.Media{File: "http://cdn.example/a"}}, "media.file"},
		{"javascript", &chatpb.SendRequest{Kind: kindImage, Media: &chatpb.Media{File: "javascript:alert(1)"}}, "media.file"},
		{"URL with a password", &chatpb.SendRequest{Kind: kindImage, Media: &chatpb.Media{File: "https://a:b@cdn.example/a"}}, "media.file"},
		{"long URL", &chatpb.SendRequest{Kind: kindImage, Media: &chatpb.Media{File: "https://cdn.example/" + strings.Repeat("a", 512)}}, "media.file"},
		{"image with a cover", &chatpb.SendRequest{Kind: kindImage, Media: media(func(m *chatpb.Media) { m.Cover = aFile })}, "media.cover"},
		{"bad cover", &chatpb.SendRequest{Kind: kindVideo, Media: media(func(m *chatpb.Media) { m.Cover = "x" })}, "media.cover"},
		{"name of two lines", &chatpb.SendRequest{Kind: kindImage, Media: media(func(m *chatpb.Media) { m.Name = "a\nb" })}, "media.name"},
		{"file without a name", &chatpb.SendRequest{Kind: kindFile, Media: media(nothing)}, "media.name"},
		{"type of nothing", &chatpb.SendRequest{Kind: kindFile, Media: media(func(m *chatpb.Media) { m.Name, m.Type = "a", "pdf" })}, "media.type"},
		{"image that is a page", &chatpb.SendRequest{Kind: kindImage, Media: media(func(m *chatpb.Media) { m.Type = "text/html" })}, "media.type"},
		{"size below nothing", &chatpb.SendRequest{Kind: kindImage, Media: media(func(m *chatpb.Media) { m.Size = -1 })}, "media.size"},
		{"too wide", &chatpb.SendRequest{Kind: kindImage, Media: media(func(m *chatpb.Media) { m.Width = 65536 })}, "media.width"},
		{"a voice's height", &chatpb.SendRequest{Kind: kindVoice, Media: media(func(m *chatpb.Media) { m.Height = 1 })}, "media.height"},
		{"an image's time", &chatpb.SendRequest{Kind: kindImage, Media: media(func(m *chatpb.Media) { m.DurationMs = 1 })}, "media.duration_ms"},
		{"place with a text", &chatpb.SendRequest{Kind: kindPlace, Text: "x", Place: &chatpb.Place{}}, "text"},
		{"place with a long name", &chatpb.SendRequest{Kind: kindPlace, Place: &chatpb.Place{Name: strings.Repeat("x", 101)}}, "place.name"},
		{"place with a long address", &chatpb.SendRequest{Kind: kindPlace, Place: &chatpb.Place{Address: strings.Repeat("x", 201)}}, "place.address"},
		{"beyond the pole", &chatpb.SendRequest{Kind: kindPlace, Place: &chatpb.Place{Latitude: 90.1}}, "place.latitude"},
		{"beyond the date line", &chatpb.SendRequest{Kind: kindPlace, Place: &chatpb.Place{Longitude: -181}}, "place.longitude"},
		{"command with a text", &chatpb.SendRequest{Kind: kindCommand, Text: "x", Payload: &chatpb.Payload{Name: "x"}}, "text"},
		{"command without a name", &chatpb.SendRequest{Kind: kindCommand, Payload: &chatpb.Payload{}}, "payload.name"},
		{"custom of a list", &chatpb.SendRequest{Kind: kindCustom, Payload: &chatpb.Payload{Name: "x", Data: "[]"}}, "payload.data"},
		{"custom too large", &chatpb.SendRequest{Kind: kindCustom, Payload: &chatpb.Payload{Name: "x", Data: `{"a":"` + strings.Repeat("x", 4096) + `"}`}}, "payload.data"},
	} {
		for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
			t.Run(row.name+" in "+codec.String(), func(t *testing.T) {
				h := start(t, nil)
				phone, bobs := h.As(alice, "phone", codec), h.As(bob, "tab", codec)
				req := new(*row.req)
				req.ClientId, req.ToUserId = "m1", int64(bob)
				if row.field != "" {
					wantRefusal(t, phone.Call(idl.ActionMessage, req, nil), idl.CodeInvalidArgument, row.field)
					return
				}
				first := sends(t, phone, req)
				if again := sends(t, phone, req); again.MessageId != first.MessageId || !again.Duplicate {
					t.Errorf("a resend got %+v", again)
				}
				m := entries(t, bobs)[0].Message
				page, _ := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)})
				for _, got := range []*chatpb.Message{m, page.Messages[0]} {
					want := fmt.Sprint(req.Kind, req.Text, req.Media, req.Place, req.Payload)
					if is := fmt.Sprint(got.Kind, got.Text, got.Media, got.Place, got.Payload); is != want {
						t.Errorf("got %s, want %s", is, want)
					}
				}
				req.Text = "another"
				if req.Kind != kindPlace && req.Kind != kindCommand {
					wantRefusal(t, phone.Call(idl.ActionMessage, req, nil), idl.CodeConflict, "client_id")
				}
			})
		}
	}
	// NaN comes by protobuf only.
	phone := start(t, nil).As(alice, "phone", idl.CodecProtobuf)
	wantRefusal(t, phone.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m", ToUserId: int64(bob), Kind: kindPlace,
		Place: &chatpb.Place{Latitude: math.NaN()}}, nil), idl.CodeInvalidArgument, "place.latitude")
}

// Where the operator says so, media are files of the server's only.
func TestMediaByFileOnly(t *testing.T) {
	p := chat.New()
	p.Config().(*chat.Config).MediaURLs = false
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{directory}})
	phone := h.As(alice, "phone", idl.CodecJSON)
	req := &chatpb.SendRequest{ClientId: "m", ToUserId: int64(bob), Kind: kindImage, Media: &chatpb.Media{File: "https://cdn.example/a"}}
	wantRefusal(t, phone.Call(idl.ActionMessage, req, nil), idl.CodeInvalidArgument, "media.file")
	req.Media.File = aFile
	sends(t, phone, req)
}

// A message that waits comes as whole as it was sent, and a resend of it is known.
func TestHeldKinds(t *testing.T) {
	r := reviewed(t, t.TempDir())
	phone, bobs := r.As(alice, "phone", idl.CodecJSON), r.As(bob, "tab", idl.CodecJSON)
	req := &chatpb.SendRequest{ClientId: "m", ToUserId: int64(bob), Kind: kindImage, Text: "wait for it", Media: &chatpb.Media{File: aFile, Width: 7}, Mentions: []int64{int64(bob)}}
	rep := sends(t, phone, req)
	if again := sends(t, phone, req); rep.HeldId == "" || again.HeldId != rep.HeldId {
		t.Errorf("got %+v, then %+v", rep, again)
	}
	sends(t, phone, &chatpb.SendRequest{ClientId: "n", ToUserId: int64(bob), Text: "plain, behind"})
	if code := r.ask(t, 1, url.Values{"id": {rep.HeldId}, "verdict": {"approve"}}, nil); code != http.StatusOK {
		t.Fatal(code)
	}
	var page *chatpb.HistoryReply
	eventually(t, "both come", func() bool {
		page, _ = history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)})
		return len(page.Messages) == 2
	})
	if m := page.Messages[1]; m.Kind != kindImage || m.Media.GetFile() != aFile || m.Media.Width != 7 || len(m.Mentions) != 1 {
		t.Errorf("got %+v", m)
	}
	if again := sends(t, phone, req); again.MessageId == "" || !again.Duplicate {
		t.Errorf("a resend got %+v", again)
	}
	if left := rows(t, r.Host, "SELECT COUNT(*) FROM chat_held_bodies"); left != 0 {
		t.Errorf("%d bodies are left", left)
	}
}

// A message may name people of its conversation, and in a group all, as its owner says; their lists
// count it until they have read, and what is for programs is not counted at all.
func TestMentions(t *testing.T) {
	h, c := found(t, nil)
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	many := make([]int64, 10_000)
	for i := range many {
		many[i] = int64(alice) + int64(i)
	}
	for name, row := range map[string]struct {
		req   *chatpb.SendRequest
		field string
	}{
		"10,000 people":    {&chatpb.SendRequest{ConversationId: "g_1", Mentions: many}, "mentions"},
		"somebody twice":   {&chatpb.SendRequest{ConversationId: "g_1", Mentions: []int64{int64(bob), int64(bob)}}, "mentions"},
		"nobody":           {&chatpb.SendRequest{ConversationId: "g_1", Mentions: []int64{0}}, "mentions"},
		"who is elsewhere": {&chatpb.SendRequest{ToUserId: int64(bob), Mentions: []int64{int64(carol)}}, "mentions"},
		"all of a chat":    {&chatpb.SendRequest{ToUserId: int64(bob), MentionsAll: true}, "mentions_all"},
	} {
		t.Run(name, func(t *testing.T) {
			row.req.ClientId, row.req.Text = "bad", "@"
			wantRefusal(t, alices.Call(idl.ActionMessage, row.req, nil), idl.CodeInvalidArgument, row.field)
		})
	}
	sends(t, alices, &chatpb.SendRequest{ClientId: "1", ConversationId: "g_1", Text: "@bob", Mentions: []int64{int64(bob)}})
	sends(t, alices, &chatpb.SendRequest{ClientId: "2", ConversationId: "g_1", Text: "@all", MentionsAll: true})
	sends(t, alices, &chatpb.SendRequest{ClientId: "3", ConversationId: "g_1", Text: "@me", Mentions: []int64{int64(alice)}})
	sends(t, alices, &chatpb.SendRequest{ClientId: "4", ConversationId: "g_1", Kind: kindCommand, Payload: &chatpb.Payload{Name: "x"}})
	if got := c.last(); len(got.Mentions) != 0 || got.Kind != "command" {
		t.Errorf("the owner was asked about %+v", got)
	}
	counts := func(s *plugintest.Session, unread, mentions int64) {
		t.Helper()
		if got := conversations(t, s, &chatpb.ListConversationsRequest{}).Conversations[0]; got.Unread != unread || got.Mentions != mentions || got.LastSeq != 4 {
			t.Errorf("got %+v, want %d unread, %d mentions", got, unread, mentions)
		}
	}
	counts(bobs, 3, 2)
	counts(alices, 0, 0)
	for seq, mentions := range []int64{2, 1, 0, 0} {
		if seq == 0 {
			continue
		}
		if _, err := read(bobs, "g_1", int64(seq)); err != nil {
			t.Fatal(err)
		}
		counts(bobs, 3-int64(seq), mentions)
	}
	if n := rows(t, h, "SELECT COUNT(*) FROM chat_marks"); n != 1 { // bob has not seen the command
		t.Errorf("%d rows of marks are left", n)
	}
	if got := entries(t, bobs); !got[1].Message.MentionsAll || len(got[0].Message.Mentions) != 1 {
		t.Errorf("got %v", got)
	}
}

// A reply names a message of its own conversation that its sender may read; who replied to what, and
// what it was, the server says.
func TestReply(t *testing.T) {
	h, c := found(t, map[string]string{"a.lua": holding})
	alices, bobs, carols := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf), h.As(carol, "phone", idl.CodecJSON)
	first, other := send(t, alices, bob, "m1", "hi"), send(t, alices, carol, "m2", "ho")
	reply := func(s *plugintest.Session, clientID string, to *chatpb.SendReply, c im.ConversationID) error {
		return s.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: clientID, ConversationId: string(c), Text: "a reply",
			ReplyTo: &chatpb.Reply{Seq: to.Seq, MessageId: to.MessageId, SenderId: 7, Kind: 3}}, nil)
	}
	entries(t, bobs)
	ab := im.ChatOf(alice, bob)
	for range 2 { // the second is a resend
		if err := reply(alices, "r1", first, ab); err != nil {
			t.Fatal(err)
		}
	}
	if got := entries(t, bobs)[0].Message.ReplyTo; got.GetMessageId() != first.MessageId || got.Seq != 1 || got.SenderId != int64(alice) || got.Kind != 0 {
		t.Errorf("got %+v", got)
	}
	wantRefusal(t, reply(alices, "r2", other, ab), idl.CodeNotFound, "reply_to") // of another conversation
	wantRefusal(t, reply(carols, "r3", first, ab), idl.CodePermissionDenied, "conversation_id")
	wantRefusal(t, reply(alices, "r4", &chatpb.SendReply{Seq: 0, MessageId: first.MessageId}, ab), idl.CodeInvalidArgument, "reply_to.seq")
	wantRefusal(t, reply(alices, "r5", &chatpb.SendReply{Seq: 1, MessageId: "x"}, ab), idl.CodeInvalidArgument, "reply_to.message_id")
	wantRefusal(t, reply(alices, "r6", &chatpb.SendReply{Seq: 9, MessageId: first.MessageId}, ab), idl.CodeNotFound, "reply_to")

	// What nobody else sees has a seq that another message has as well.
	shadow := send(t, alices, bob, "s1", "spam")
	if err := reply(alices, "r7", shadow, ab); err != nil {
		t.Error(err)
	}
	wantRefusal(t, reply(bobs, "r8", shadow, ab), idl.CodeNotFound, "reply_to")

	// Before one came, or what one has deleted, is nothing to reply to; nor is what nobody said.
	one, err := sendTo(alices, "g_1", "g1", "early")
	if err != nil {
		t.Fatal(err)
	}
	c.set(func() { c.members, c.reach[carol] = []im.UserID{alice, bob, carol}, plugin.Reach{After: 1} })
	wantRefusal(t, reply(carols, "r9", one, "g_1"), idl.CodeNotFound, "reply_to")
	done, err := c.messages.Post(t.Context(), plugin.Post{Conversation: "g_1", Actor: alice, ClientID: "~1", Name: "group.renamed"})
	if err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, reply(carols, "r10", &chatpb.SendReply{Seq: done.Seq, MessageId: done.ID.String()}, "g_1"), idl.CodeInvalidArgument, "reply_to")
	if _, err := update(alices, &chatpb.UpdateConversationRequest{ConversationId: string(ab), Delete: true}); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, reply(alices, "r11", first, ab), idl.CodeNotFound, "reply_to")
}

// A copy has the body of what it is a copy of and says whose it was, once; the rules judge it, and nobody
// forwards what he may not read.
func TestForward(t *testing.T) {
	h, c := found(t, map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c)
	if c.kind == "image" and c.text:find("nasty") and c.conversation_type == "group" then return im.deny("rejected", "no") end
end, {name = "nasty", on_error = "closed"})`})
	alices, bobs, carols := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf), h.As(carol, "phone", idl.CodecJSON)
	first := sends(t, carols, &chatpb.SendRequest{ClientId: "m", ToUserId: int64(alice), Kind: kindImage, Text: "nasty", Media: &chatpb.Media{File: aFile}, Mentions: []int64{int64(alice)}})
	forward := func(s *plugintest.Session, clientID string, m *chatpb.SendReply, to *chatpb.SendRequest) (*chatpb.SendReply, error) {
		var rep chatpb.SendReply
		to.ClientId, to.Forward = clientID, &chatpb.Source{ConversationId: m.ConversationId, Seq: m.Seq, MessageId: m.MessageId}
		err := s.Call(idl.ActionMessage, to, &rep)
		return &rep, err
	}
	var second *chatpb.SendReply
	for range 2 {
		rep, err := forward(alices, "f1", first, &chatpb.SendRequest{ToUserId: int64(bob)})
		if err != nil {
			t.Fatal(err)
		}
		second = rep
	}
	third, err := forward(bobs, "f2", second, &chatpb.SendRequest{ToUserId: int64(bob)})
	if err != nil {
		t.Fatal(err)
	}
	page, _ := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(bob)})
	for _, m := range append(page.Messages, entries(t, bobs)[0].Message) {
		if m.Kind != kindImage || m.Text != "nasty" || m.Media.GetFile() != aFile || len(m.Mentions) > 0 || m.Origin.GetSenderId() != int64(carol) || m.Origin.TimeMs != first.TimeMs {
			t.Errorf("got %+v", m)
		}
	}
	_, err = forward(alices, "f3", first, &chatpb.SendRequest{ConversationId: "g_1"})
	wantRefusal(t, err, idl.CodeRejected, "")
	_, err = forward(carols, "f4", second, &chatpb.SendRequest{ToUserId: int64(bob)}) // not hers to read
	wantRefusal(t, err, idl.CodePermissionDenied, "forward.conversation_id")
	_, err = forward(carols, "f5", third, &chatpb.SendRequest{ToUserId: int64(bob)})
	wantRefusal(t, err, idl.CodePermissionDenied, "forward.conversation_id")
	_, err = forward(alices, "f6", first, &chatpb.SendRequest{ToUserId: int64(bob), Text: "and more"})
	wantRefusal(t, err, idl.CodeInvalidArgument, "forward")
	_, err = forward(alices, "f1", second, &chatpb.SendRequest{ToUserId: int64(bob)})
	wantRefusal(t, err, idl.CodeConflict, "client_id")

	c.set(func() { c.members, c.reach[carol] = []im.UserID{alice, bob, carol}, plugin.Reach{After: 1} })
	one, err := sendTo(alices, "g_1", "g1", "early")
	if err != nil {
		t.Fatal(err)
	}
	_, err = forward(carols, "f7", one, &chatpb.SendRequest{ToUserId: int64(bob)})
	wantRefusal(t, err, idl.CodeNotFound, "forward")
	command := sends(t, alices, &chatpb.SendRequest{ClientId: "c", ToUserId: int64(bob), Kind: kindCommand, Payload: &chatpb.Payload{Name: "x"}})
	_, err = forward(alices, "f8", command, &chatpb.SendRequest{ToUserId: int64(carol)})
	wantRefusal(t, err, idl.CodeInvalidArgument, "forward")
}

// A rule that writes to every text stops no message that has none, and gives it none.
func TestRulesOfKindsWithoutText(t *testing.T) {
	h, _ := found(t, map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c)
	c.text = c.text:gsub("darn", "****")
	if c.kind == "command" then c.text = "word" end
end, {name = "words", on_error = "closed"})`})
	phone := h.As(alice, "phone", idl.CodecJSON)
	for i, req := range []*chatpb.SendRequest{
		{Kind: kindPlace, Place: &chatpb.Place{Latitude: 1}},
		{Kind: kindImage, Media: &chatpb.Media{File: aFile}},
		{Kind: kindCommand, Payload: &chatpb.Payload{Name: "x"}},
	} {
		req.ClientId, req.ToUserId = fmt.Sprint("m", i), int64(bob)
		if rep := sends(t, phone, req); rep.Rewritten || rep.Text != "" {
			t.Errorf("%v: got %+v", req.Kind, rep)
		}
	}
	if _, texts := history(t, phone, &chatpb.HistoryRequest{WithUserId: int64(bob)}); texts != "3 , 2 , 1 " {
		t.Errorf("history is %s", texts)
	}
}

// What a message of any kind is beside its text rules read in the request, also in a copy of another one.
func TestRulesReadKinds(t *testing.T) {
	h, _ := found(t, map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c)
	if c.kind == "command" then return end
	if c.req.place and c.req.place.name == "worse" and c.user ~= "100001" then return im.deny("rejected", "worse") end
	local media, place, payload = c.req.media, c.req.place, c.req.payload
	local said = {c.text}
	if media then said = {media.file, media.cover, media.name, media.type} end
	if place then said = {place.name, place.address} end
	if payload then said = {payload.name, payload.data} end
	for _, one in ipairs(said) do
		if one:find("bad", 1, true) then return im.deny("rejected", c.kind .. " " .. one) end
	end
end, {name = "kinds", on_error = "closed"})`})
	phone, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "tab", idl.CodecProtobuf)
	url := "https://cdn.example/"
	for i, row := range []struct {
		want string // the refusal; empty: none
		req  *chatpb.SendRequest
	}{
		{"", &chatpb.SendRequest{Kind: kindImage, Media: &chatpb.Media{File: url + "good"}}},
		{"image " + url + "bad", &chatpb.SendRequest{Kind: kindImage, Text: "fine", Media: &chatpb.Media{File: url + "bad"}}},
		{"video " + url + "badcover", &chatpb.SendRequest{Kind: kindVideo, Media: &chatpb.Media{File: url + "good", Cover: url + "badcover"}}},
		{"file bad.exe", &chatpb.SendRequest{Kind: kindFile, Media: &chatpb.Media{File: url + "good", Name: "bad.exe"}}},
		{"voice audio/bad", &chatpb.SendRequest{Kind: kindVoice, Media: &chatpb.Media{File: url + "good", Type: "audio/bad"}}},
		{"place bad bar", &chatpb.SendRequest{Kind: kindPlace, Place: &chatpb.Place{Name: "bad bar", Latitude: 1}}},
		{"place 1 bad street", &chatpb.SendRequest{Kind: kindPlace, Place: &chatpb.Place{Name: "bar", Address: "1 bad street", Latitude: 1}}},
		{"custom shop.bad", &chatpb.SendRequest{Kind: kindCustom, Payload: &chatpb.Payload{Name: "shop.bad"}}},
		{"", &chatpb.SendRequest{Kind: kindCommand, Payload: &chatpb.Payload{Name: "bad"}}},
	} {
		row.req.ClientId, row.req.ToUserId = fmt.Sprint("m", i), int64(bob)
		err := phone.Call(idl.ActionMessage, row.req, nil)
		refused, is := errors.AsType[*im.Error](err)
		if row.want == "" && err != nil || row.want != "" && (!is || refused.Code != idl.CodeRejected || refused.Reason != row.want) {
			t.Errorf("%d: got %v, want %q", i, err, row.want)
		}
	}
	// A copy is judged for what it is, and by who passes it on.
	m := sends(t, phone, &chatpb.SendRequest{ClientId: "old", ToUserId: int64(bob), Kind: kindPlace, Place: &chatpb.Place{Name: "worse", Latitude: 1}})
	err := bobs.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "f", ToUserId: int64(carol),
		Forward: &chatpb.Source{ConversationId: m.ConversationId, Seq: m.Seq, MessageId: m.MessageId}}, nil)
	wantRefusal(t, err, idl.CodeRejected, "")
}

// Pages of the list are bounded by all that last messages are.
func TestListPageBytes(t *testing.T) {
	h, _ := changingHost(t, nil, func(c *chat.Config) { c.PageBytes = 4096 })
	phone := h.As(alice, "phone", idl.CodecJSON)
	for _, peer := range []im.UserID{alice, bob, carol} {
		sends(t, phone, &chatpb.SendRequest{ClientId: fmt.Sprint("m", peer), ToUserId: int64(peer), Kind: kindCustom, Payload: &chatpb.Payload{Name: "x", Data: `{"a":"` + strings.Repeat("y", 3000) + `"}`}})
	}
	if page := conversations(t, phone, &chatpb.ListConversationsRequest{}); len(page.Conversations) != 1 || !page.HasMore || page.Cursor == "" {
		t.Errorf("got %d, %v", len(page.Conversations), page.HasMore)
	}
}

package chat_test

import (
	"encoding/json"
	"fmt"
	"os"
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

func recall(s *plugintest.Session, m *chatpb.SendReply) (*chatpb.Became, error) {
	var rep chatpb.RecallReply
	err := s.Call(idl.ActionRecall, &chatpb.RecallRequest{ConversationId: m.ConversationId, Seq: m.Seq, MessageId: m.MessageId}, &rep)
	return rep.Became, err
}

func edit(s *plugintest.Session, m *chatpb.SendReply, text string, version int32) (*chatpb.EditReply, error) {
	var rep chatpb.EditReply
	err := s.Call(idl.ActionEdit, &chatpb.EditRequest{ConversationId: m.ConversationId, Seq: m.Seq, MessageId: m.MessageId, Text: text, Version: version}, &rep)
	return &rep, err
}

func versions(s *plugintest.Session, m *chatpb.SendReply, after, limit int32) (string, error) {
	var rep chatpb.VersionsReply
	err := s.Call(idl.ActionVersions, &chatpb.VersionsRequest{ConversationId: m.ConversationId, Seq: m.Seq, MessageId: m.MessageId, AfterVersion: after, Limit: limit}, &rep)
	var out []string
	for _, v := range rep.Versions {
		out = append(out, fmt.Sprint(v.Version, " ", v.Text))
	}
	if rep.HasMore {
		out = append(out, "…")
	}
	return strings.Join(out, ", "), err
}

// toldAll waits until all that was filed is told.
func toldAll(t *testing.T, h *plugintest.Host) {
	t.Helper()
	eventually(t, "all are told", func() bool { return left(t, h) == 0 })
}

// everything is all that the server says to a person of his conversation with another, as text: history
// both ways, sync, lists, and a copy of what is kept of him.
func everything(t *testing.T, of plugin.Holdings, s *plugintest.Session, c im.ConversationID) string {
	t.Helper()
	var all []any
	for _, req := range []*chatpb.HistoryRequest{{ConversationId: string(c)}, {ConversationId: string(c), AfterSeq: 1}} {
		page, _ := history(t, s, req)
		all = append(all, page)
	}
	var synced chatpb.SyncReply
	if err := s.Call(idl.ActionSync, &chatpb.SyncRequest{}, &synced); err != nil {
		t.Fatal(err)
	}
	kept, err := of.Export(t.Context(), s.Identity().User)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := update(s, &chatpb.UpdateConversationRequest{ConversationId: string(c), Draft: new("")})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(append(all, &synced, conversations(t, s, &chatpb.ListConversationsRequest{Hidden: true}), kept, changed))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// changing is a host in which people are kept copies of.
func changingHost(t *testing.T, scripts map[string]string, change ...func(*chat.Config)) (*plugintest.Host, plugin.Holdings) {
	t.Helper()
	p := chat.New()
	for _, set := range change {
		set(p.Config().(*chat.Config))
	}
	people := plugintest.NewPeople(alice, bob, carol)
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: people.Stubs(), Scripts: scripts})
	return h, people.Holdings()["chat"]
}

// A recalled message leaves its place and nothing else, wherever anybody looks, and all devices are told once.
func TestRecall(t *testing.T) {
	h, of := changingHost(t, map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) c.text = c.text:gsub("darn", "secret") end, {name = "x", on_error = "closed"})`})
	phone, desk, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(alice, "desk", idl.CodecProtobuf), h.As(bob, "tab", idl.CodecJSON)
	req := &chatpb.SendRequest{ClientId: "m1", ToUserId: int64(bob), Kind: kindImage, Text: "darn", Media: &chatpb.Media{File: "https://cdn.example/secret"}, Mentions: []int64{int64(bob)}}
	first := sends(t, phone, req)
	second := send(t, phone, bob, "m2", "stays")
	if _, err := edit(phone, first, "the secret, edited", 0); err != nil {
		t.Fatal(err)
	}
	toldAll(t, h)
	ab := im.ChatOf(alice, bob)
	wantList(t, bobs, "c_100001_100002 2 stays")
	if got := everything(t, of, bobs, ab); !strings.Contains(got, "the secret, edited") {
		t.Fatalf("got %s", got)
	}
	entries(t, bobs)
	entries(t, desk)

	_, err := recall(bobs, first)
	wantRefusal(t, err, idl.CodePermissionDenied, "message_id")
	_, err = recall(h.As(carol, "phone", idl.CodecJSON), first)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	now, err := recall(phone, first)
	if err != nil || !now.Recalled || now.RecalledBy != int64(alice) || now.RecalledMs == 0 {
		t.Fatalf("got %+v, %v", now, err)
	}
	if again, err := recall(desk, first); err != nil || again.Revision != now.Revision || again.RecalledMs != now.RecalledMs {
		t.Errorf("again: got %+v, %v; first %+v", again, err, now)
	}
	toldAll(t, h)
	for name, s := range map[string]*plugintest.Session{"bob": bobs, "the sender's other device": desk} {
		got := entries(t, s)
		if len(got) != 1 || got[0].Message.Event != "chat.recalled" || got[0].Message.About.GetMessageId() != first.MessageId || got[0].Message.About.Seq != 1 ||
			!got[0].Message.Became.GetRecalled() || got[0].Message.SenderId != int64(alice) {
			t.Errorf("%s got %+v", name, got)
		}
	}
	page, texts := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice), AfterSeq: 0})
	if texts != "4 , 3 , 2 stays, 1 " {
		t.Errorf("history is %s", texts)
	}
	if m := page.Messages[3]; m.Id != first.MessageId || m.Kind != kindImage || m.SenderId != int64(alice) || !m.Became.GetRecalled() || m.Media != nil || len(m.Mentions) > 0 {
		t.Errorf("its place is %+v", m)
	}
	for _, s := range []*plugintest.Session{phone, desk, bobs} {
		if got := everything(t, of, s, ab); strings.Contains(got, "secret") {
			t.Errorf("%d is told %s", s.Identity().User, got)
		}
	}
	wantList(t, bobs, "c_100001_100002 1 stays")
	if c := conversations(t, bobs, &chatpb.ListConversationsRequest{}).Conversations[0]; c.Mentions != 0 || c.LastSeq != 4 {
		t.Errorf("got %+v", c)
	}
	if again := sends(t, phone, req); again.MessageId != first.MessageId || again.Text != "" {
		t.Errorf("a resend got %+v", again)
	}
	_, err = edit(phone, first, "the secret again", 0)
	wantRefusal(t, err, idl.CodeNotFound, "message_id")
	_, err = versions(phone, first, 0, 0)
	wantRefusal(t, err, idl.CodeNotFound, "message_id")
	err = phone.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "f", ToUserId: int64(carol), Forward: &chatpb.Source{ConversationId: string(ab), Seq: 1, MessageId: first.MessageId}}, nil)
	wantRefusal(t, err, idl.CodeNotFound, "forward")
	if n := rows(t, h, "SELECT COUNT(*) FROM chat_versions"); n != 0 {
		t.Errorf("%d versions are left", n)
	}

	// Too late, and what is no message of anybody's.
	h.Advance(5 * time.Minute)
	_, err = recall(phone, second)
	wantRefusal(t, err, idl.CodePermissionDenied, "message_id")
	for field, bad := range map[string]*chatpb.RecallRequest{
		"seq":             {ConversationId: string(ab), MessageId: first.MessageId},
		"message_id":      {ConversationId: string(ab), Seq: 1, MessageId: "x"},
		"conversation_id": {Seq: 1, MessageId: first.MessageId},
		"held_id":         {HeldId: first.MessageId, Seq: 1},
	} {
		wantRefusal(t, phone.Call(idl.ActionRecall, bad, nil), idl.CodeInvalidArgument, field)
	}
	event := page.Messages[0]
	_, err = recall(phone, &chatpb.SendReply{ConversationId: string(ab), Seq: event.Seq, MessageId: event.Id})
	wantRefusal(t, err, idl.CodeInvalidArgument, "message_id")
	_, err = recall(phone, &chatpb.SendReply{ConversationId: string(ab), Seq: 2, MessageId: first.MessageId})
	wantRefusal(t, err, idl.CodeNotFound, "message_id")
}

// An edited message reads so from then on, for everybody; how it read is told to whom the operator lets know.
func TestEdit(t *testing.T) {
	for _, who := range []string{"all", "sender", "nobody"} {
		t.Run("versions for "+who, func(t *testing.T) {
			h, _ := changingHost(t, nil, func(c *chat.Config) { c.Versions = who })
			phone, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "tab", idl.CodecProtobuf)
			m := send(t, phone, bob, "m1", "one")
			for _, text := range []string{"two", "three"} {
				rep, err := edit(phone, m, text, 0)
				if err != nil || rep.Became.Text != text || rep.Rewritten {
					t.Fatalf("got %+v, %v", rep, err)
				}
			}
			allowed := map[string][]*plugintest.Session{"all": {phone, bobs}, "sender": {phone}}[who]
			for _, s := range []*plugintest.Session{phone, bobs} {
				got, err := versions(s, m, 0, 0)
				if !slices.Contains(allowed, s) {
					wantRefusal(t, err, idl.CodePermissionDenied, "message_id")
					continue
				}
				rest, _ := versions(s, m, 1, 1)
				if err != nil || got != "1 one, 2 two, 3 three" || rest != "2 two, …" {
					t.Errorf("got %q and %q, %v", got, rest, err)
				}
			}
		})
	}
	h, of := changingHost(t, nil)
	phone, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "tab", idl.CodecProtobuf)
	m := send(t, phone, bob, "m1", "one")
	entries(t, bobs)
	for range 2 { // the second is a resend
		if rep, err := edit(phone, m, "two", 1); err != nil || rep.Became.Version != 2 {
			t.Fatalf("got %+v, %v", rep, err)
		}
	}
	_, err := edit(phone, m, "three", 1)
	wantRefusal(t, err, idl.CodeConflict, "version")
	toldAll(t, h)
	got := entries(t, bobs)
	if len(got) != 1 || got[0].Message.Event != "chat.edited" || got[0].Message.Became.GetText() != "" || got[0].Message.Became.GetVersion() != 2 || got[0].Message.About.GetSeq() != 1 {
		t.Errorf("bob got %+v", got)
	}
	if page, texts := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)}); texts != "2 , 1 two" || page.Messages[1].Became.GetVersion() != 2 {
		t.Errorf("history is %s", texts)
	}
	wantList(t, bobs, "c_100001_100002 1 two")
	for _, s := range []*plugintest.Session{phone, bobs} {
		if got := everything(t, of, s, im.ChatOf(alice, bob)); strings.Contains(got, "one") {
			t.Errorf("got %s", got)
		}
	}
	// What is forwarded is as it reads, and stays as it is.
	copied := sends(t, phone, &chatpb.SendRequest{ClientId: "f", ToUserId: int64(carol), Forward: &chatpb.Source{ConversationId: m.ConversationId, Seq: 1, MessageId: m.MessageId}})
	if _, texts := history(t, phone, &chatpb.HistoryRequest{WithUserId: int64(carol)}); texts != "1 two" {
		t.Errorf("the copy is %s", texts)
	}
	_, err = edit(phone, copied, "what he never said", 0)
	wantRefusal(t, err, idl.CodePermissionDenied, "message_id")

	place := sends(t, phone, &chatpb.SendRequest{ClientId: "p", ToUserId: int64(bob), Kind: kindPlace, Place: &chatpb.Place{}})
	image := sends(t, phone, &chatpb.SendRequest{ClientId: "i", ToUserId: int64(bob), Kind: kindImage, Text: "a", Media: &chatpb.Media{File: aFile}})
	for _, row := range []struct {
		s     *plugintest.Session
		m     *chatpb.SendReply
		text  string
		code  idl.Code
		field string
	}{
		{bobs, m, "his", idl.CodePermissionDenied, "message_id"},
		{phone, m, "", idl.CodeInvalidArgument, "text"},
		{phone, m, strings.Repeat("x", 5001), idl.CodeInvalidArgument, "text"},
		{phone, m, "\x1b", idl.CodeInvalidArgument, "text"},
		{phone, place, "x", idl.CodeInvalidArgument, "message_id"},
		{phone, &chatpb.SendReply{ConversationId: m.ConversationId, Seq: 99, MessageId: m.MessageId}, "x", idl.CodeNotFound, "message_id"},
	} {
		_, err := edit(row.s, row.m, row.text, 0)
		wantRefusal(t, err, row.code, row.field)
	}
	if rep, err := edit(phone, image, "", 0); err != nil || rep.Became.Version != 2 {
		t.Errorf("a caption taken away: %+v, %v", rep, err)
	}
	h.Advance(24 * time.Hour)
	_, err = edit(phone, m, "too late", 0)
	wantRefusal(t, err, idl.CodePermissionDenied, "message_id")
}

// The rules judge an edit as they do a message: what may not be said may not be edited in.
func TestRulesOfEdits(t *testing.T) {
	h, _ := changingHost(t, map[string]string{"a.lua": holding + `
im.on_message(function(c)
	assert(c.kind == "text" and c.conversation == "c_100001_100002" and c.conversation_type == "chat")
	if c.text == "word" then return im.deny("rejected", c.action) end
	c.text = c.text:gsub("darn", "****")
end, {name = "words", on_error = "closed"})`})
	phone := h.As(alice, "phone", idl.CodecJSON)
	m := send(t, phone, bob, "m1", "fine")
	_, err := edit(phone, m, "word", 0)
	wantRefusal(t, err, idl.CodeRejected, "")
	if err.Error() != "CODE_REJECTED: chat.edit" {
		t.Errorf("got %v", err)
	}
	for _, text := range []string{"spam", "wait", "less of it"} {
		_, err := edit(phone, m, text, 0)
		wantRefusal(t, err, idl.CodeRejected, "text")
	}
	if rep, err := edit(phone, m, "darn", 0); err != nil || !rep.Rewritten || rep.Became.Text != "****" {
		t.Errorf("got %+v, %v", rep, err)
	}
	if _, texts := history(t, phone, &chatpb.HistoryRequest{WithUserId: int64(bob), BeforeSeq: 2}); texts != "1 ****" {
		t.Errorf("history is %s", texts)
	}
}

// What waits is recalled by its ID, and never comes; what nobody else sees is recalled and edited for its sender.
func TestRecallHeldAndShadowed(t *testing.T) {
	h, of := changingHost(t, map[string]string{"a.lua": holding})
	phone, desk, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(alice, "desk", idl.CodecJSON), h.As(bob, "tab", idl.CodecProtobuf)
	shadow := send(t, phone, bob, "s", "spam")
	one := send(t, bobs, alice, "b", "hello")
	if shadow.Seq != one.Seq {
		t.Fatalf("got %+v and %+v", shadow, one)
	}
	entries(t, bobs)
	entries(t, desk)
	if rep, err := edit(phone, shadow, "less of it", 0); err == nil {
		t.Errorf("got %+v", rep)
	}
	if rep, err := edit(phone, shadow, "other", 0); err != nil || rep.Became.Version != 2 {
		t.Errorf("got %+v, %v", rep, err)
	}
	if _, texts := history(t, phone, &chatpb.HistoryRequest{WithUserId: int64(bob)}); !strings.Contains(texts, "1 other") || !strings.Contains(texts, "1 hello") {
		t.Errorf("history is %s", texts)
	}
	if _, err := recall(desk, shadow); err != nil {
		t.Error(err)
	}
	_, err := recall(bobs, shadow)
	wantRefusal(t, err, idl.CodeNotFound, "message_id")
	toldAll(t, h)
	if got := entries(t, bobs); len(got) > 0 {
		t.Errorf("bob is told %+v", got)
	}
	if got := entries(t, desk); len(got) != 2 || got[1].Message.About.GetMessageId() != shadow.MessageId || !got[1].Message.Became.GetRecalled() {
		t.Errorf("the other device is told %+v", got)
	}
	if got := everything(t, of, phone, im.ChatOf(alice, bob)); strings.Contains(got, "other") || strings.Contains(got, "spam") {
		t.Errorf("got %s", got)
	}
	if _, texts := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)}); texts != "1 hello" {
		t.Errorf("bob's history is %s", texts)
	}

	first, behind := send(t, phone, bob, "h1", "wait"), send(t, phone, bob, "h2", "behind it")
	withdraw := func(s *plugintest.Session, id string) error {
		return s.Call(idl.ActionRecall, &chatpb.RecallRequest{HeldId: id}, nil)
	}
	wantRefusal(t, withdraw(bobs, first.HeldId), idl.CodeNotFound, "held_id")
	wantRefusal(t, withdraw(phone, shadow.MessageId), idl.CodeNotFound, "held_id")
	for range 2 {
		for _, id := range []string{behind.HeldId, first.HeldId} {
			if err := withdraw(desk, id); err != nil {
				t.Error(err)
			}
		}
	}
	send(t, phone, bob, "h3", "free")
	eventually(t, "the line moves on", func() bool {
		_, texts := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)})
		return texts == "2 free, 1 hello"
	})
}

// In a group its owner says who else may recall; who was removed, or has deleted the conversation, may nothing.
func TestChangesInGroups(t *testing.T) {
	h, c := found(t, nil)
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "tab", idl.CodecProtobuf)
	one, err := sendTo(bobs, "g_1", "m1", "one")
	if err != nil {
		t.Fatal(err)
	}
	two, _ := sendTo(bobs, "g_1", "m2", "two")
	three, _ := sendTo(bobs, "g_1", "m3", "three")
	_, err = recall(alices, one)
	wantRefusal(t, err, idl.CodePermissionDenied, "message_id")
	c.set(func() { c.admin = alice })
	h.Advance(time.Hour)
	entries(t, alices)
	entries(t, bobs)
	if now, err := recall(alices, one); err != nil || now.RecalledBy != int64(alice) {
		t.Errorf("got %+v, %v", now, err)
	}
	toldAll(t, h)
	for _, s := range []*plugintest.Session{alices, bobs} {
		if got := entries(t, s); len(got) != 1 || got[0].Message.Seq != 4 || got[0].Message.SenderId != int64(alice) || got[0].Message.Became.GetRecalledBy() != int64(alice) {
			t.Errorf("%d got %+v", s.Identity().User, got)
		}
	}
	_, err = recall(bobs, two)
	wantRefusal(t, err, idl.CodePermissionDenied, "message_id") // too late for its sender

	// An edit is asked of the owner like a message.
	if _, err := edit(bobs, two, "too", 0); err != nil {
		t.Error(err)
	}
	if got := c.last(); got.Kind != "edit" {
		t.Errorf("the owner was asked about %+v", got)
	}
	c.set(func() { c.members, c.reach[bob] = []im.UserID{alice}, plugin.Reach{} })
	_, err = edit(bobs, three, "muted", 0)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	_, err = react(bobs, three, "x", false)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	if got := c.last(); got.Kind != "reaction" {
		t.Errorf("the owner was asked about %+v", got)
	}
	if _, err = react(bobs, three, "x", true); err != nil { // what he said he may take away
		t.Error(err)
	}
	c.set(func() { delete(c.reach, bob) })
	for _, try := range []func() error{
		func() error { _, err := recall(bobs, three); return err },
		func() error { _, err := edit(bobs, three, "gone", 0); return err },
		func() error { _, err := versions(bobs, two, 0, 0); return err },
	} {
		wantRefusal(t, try(), idl.CodePermissionDenied, "conversation_id")
	}
	if _, err := update(alices, &chatpb.UpdateConversationRequest{ConversationId: "g_1", Delete: true}); err != nil {
		t.Fatal(err)
	}
	_, err = recall(alices, three)
	wantRefusal(t, err, idl.CodeNotFound, "message_id")
}

// An event tells of a message that it became something, and not what: some who get it may not read the message. Who was
// removed, or came in again, keeps what he had, and learns of it nothing but that it was recalled.
func TestChangesOfWhatMayNotBeRead(t *testing.T) {
	h, c := found(t, nil)
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "tab", idl.CodecProtobuf)
	var sent []*chatpb.SendReply
	for i := range 3 {
		m, err := sendTo(alices, "g_1", fmt.Sprint("m", i), "one")
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, m)
	}
	c.set(func() { c.reach[bob] = plugin.Reach{After: 3} }) // he came in again
	entries(t, bobs)
	if _, err := edit(alices, sent[0], "secret", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := react(alices, sent[1], "psst", false); err != nil {
		t.Fatal(err)
	}
	toldAll(t, h)
	reads := func(s *plugintest.Session) string {
		t.Helper()
		var all []any
		var synced chatpb.SyncReply
		var page chatpb.HistoryReply
		if err := s.Call(idl.ActionSync, &chatpb.SyncRequest{}, &synced); err != nil {
			t.Fatal(err)
		}
		if err := s.Call(idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: "g_1"}, &page); err != nil {
			wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
		}
		for _, e := range synced.Entries {
			if e.Message.About == nil { // the event tells what its person said, once
				all = append(all, e.Message)
			} else {
				all = append(all, e.Message.Became)
			}
		}
		for _, m := range page.Messages {
			all = append(all, m.Text, m.Became)
		}
		text, err := json.Marshal(append(all, conversations(t, s, &chatpb.ListConversationsRequest{}).Conversations))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	pushed, err := json.Marshal(entries(t, bobs))
	if err != nil || !strings.Contains(string(pushed), "chat.edited") || strings.Contains(string(pushed), "secret") || strings.Contains(string(pushed), `"count"`) {
		t.Errorf("pushed are %s, %v", pushed, err)
	}
	if got := reads(alices); !strings.Contains(got, "secret") || !strings.Contains(got, "psst") {
		t.Errorf("alice reads %s", got)
	}
	if got := reads(bobs); strings.Contains(got, "secret") || strings.Contains(got, "psst") {
		t.Errorf("bob reads %s", got)
	}
	c.set(func() { c.members = []im.UserID{alice}; delete(c.reach, bob) }) // he is removed
	if _, err := edit(alices, sent[2], "secret", 0); err != nil {
		t.Fatal(err)
	}
	if got := reads(bobs); strings.Contains(got, "secret") || strings.Contains(got, "psst") || strings.Contains(got, `"recalled"`) {
		t.Errorf("bob reads %s", got)
	}
	if _, err := recall(alices, sent[1]); err != nil {
		t.Fatal(err)
	}
	if got := reads(bobs); !strings.Contains(got, `"recalled":true`) {
		t.Errorf("bob reads %s", got)
	}
}

// Who left while a message that names him waited is named no more: it comes all the same.
func TestHeldMentionsOfWhoLeft(t *testing.T) {
	h, c := found(t, map[string]string{"a.lua": holding})
	alices := h.As(alice, "phone", idl.CodecJSON)
	sends(t, alices, &chatpb.SendRequest{ClientId: "m", ConversationId: "g_1", Text: "late one", Mentions: []int64{int64(alice), int64(bob)}})
	c.set(func() { c.members = []im.UserID{alice} })
	h.Advance(2*time.Hour + time.Minute)
	eventually(t, "it is committed", func() bool {
		page, texts := history(t, alices, &chatpb.HistoryRequest{ConversationId: "g_1"})
		return texts == "1 late one" && slices.Equal(page.Messages[0].Mentions, []int64{int64(alice)})
	})
	if got := c.last(); len(got.Mentions) != 1 {
		t.Errorf("the owner was asked about %+v", got)
	}
}

// Who is blocked, and may not know, edits for nobody; a recall works.
func TestChangesToWhoBlocks(t *testing.T) {
	h, c := found(t, nil)
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "tab", idl.CodecProtobuf)
	m := send(t, alices, bob, "m", "one")
	for _, says := range []error{plugin.ErrUnseen, &im.Error{Code: idl.CodePermissionDenied, Field: "to_user_id"}} {
		c.set(func() { c.guard = func(_, _ im.UserID) error { return says } })
		rep, err := edit(alices, m, "two", 0)
		if says != plugin.ErrUnseen { // what a guard says openly is said of edits and reactions too
			wantRefusal(t, err, idl.CodePermissionDenied, "to_user_id")
			_, err = react(alices, m, "x", false)
			wantRefusal(t, err, idl.CodePermissionDenied, "to_user_id")
		} else if err != nil || rep.Became.Version != 2 || rep.Became.Text != "two" || rep.Became.Revision != 1 {
			t.Errorf("got %+v, %v", rep, err)
		} else {
			_, err = edit(alices, m, "three", 7)
			wantRefusal(t, err, idl.CodeConflict, "version")
			if got, err := react(alices, m, "x", false); err != nil || got != "x1*" {
				t.Errorf("got %q, %v", got, err)
			}
		}
		if _, texts := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)}); texts != "1 one" {
			t.Errorf("bob's history is %s", texts)
		}
	}
	if _, err := recall(alices, m); err != nil {
		t.Error(err)
	}
	toldAll(t, h)
	if _, texts := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)}); texts != "2 , 1 " {
		t.Errorf("bob's history is %s", texts)
	}
}

// Recalls and edits at once, on two cores: whatever wins, a message that was recalled stays so, versions have
// no gaps, and each change is told once.
func TestChangesRace(t *testing.T) {
	dir, there := t.TempDir(), presence.NewMemory()
	core := func() *plugintest.Host {
		return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory}, Dir: dir, Presence: there})
	}
	cores := []*plugintest.Host{core(), core()}
	if os.Getenv(plugintest.Stores) != "production" { // cores of the embedded stores share no timelines
		cores[1] = cores[0]
	}
	phones := []*plugintest.Session{cores[0].As(alice, "phone", idl.CodecJSON), cores[1].As(alice, "desk", idl.CodecProtobuf)}
	for round := range 10 {
		m := send(t, phones[0], bob, fmt.Sprint("m", round), "0")
		var mu sync.Mutex
		edits, refused := 0, 0
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if i == 3 {
					if _, err := recall(phones[i%2], m); err != nil {
						t.Error(err)
					}
					return
				}
				_, err := edit(phones[i%2], m, fmt.Sprint("edit ", i), 0)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					edits++
				case im.CodeOf(err) == idl.CodeNotFound:
					refused++
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		toldAll(t, cores[0])
		page, _ := history(t, phones[0], &chatpb.HistoryRequest{WithUserId: int64(bob)})
		i := slices.IndexFunc(page.Messages, func(one *chatpb.Message) bool { return one.Id == m.MessageId })
		got := page.Messages[i]
		if !got.Became.GetRecalled() || got.Text != "" || got.Became.Version != int32(1+edits) || got.Became.Revision != int64(2+edits-1) || edits+refused != 5 || i != edits+1 {
			t.Errorf("round %d: %d edits, %d refused, %d events, then %+v", round, edits, refused, i, got)
		}
	}
}

// Nobody changes messages without end.
func TestChangesBounds(t *testing.T) {
	h, _ := changingHost(t, nil, func(c *chat.Config) { c.ChangesPerMinute = 3 })
	phone := h.As(alice, "phone", idl.CodecJSON)
	m := send(t, phone, bob, "m", "0")
	for i := range 4 {
		_, err := edit(phone, m, fmt.Sprint(i+1), 0)
		if i < 3 && err != nil || i == 3 && im.CodeOf(err) != idl.CodeRateLimited {
			t.Errorf("edit %d: %v", i, err)
		}
	}
	h, _ = changingHost(t, nil, func(c *chat.Config) { c.ChangesPerMinute = 6000 })
	phone = h.As(alice, "phone", idl.CodecJSON)
	m = send(t, phone, bob, "m", "0")
	for i := range 101 {
		_, err := edit(phone, m, fmt.Sprint(i+1), 0)
		if i < 100 && err != nil || i == 100 && im.CodeOf(err) != idl.CodeLimitExceeded {
			t.Fatalf("edit %d: %v", i, err)
		}
	}
	for name, change := range map[string]func(*chat.Config){
		"recall before it was sent": func(c *chat.Config) { c.RecallWindow = -1 },
		"edit for ever":             func(c *chat.Config) { c.EditWindow = 1 << 62 },
		"versions for somebody":     func(c *chat.Config) { c.Versions = "some" },
		"no changes":                func(c *chat.Config) { c.ChangesPerMinute = 0 },
		"no looks":                  func(c *chat.Config) { c.LooksPerMinute = 0 },
	} {
		p := chat.New()
		change(p.Config().(*chat.Config))
		if _, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{directory}}); im.CodeOf(err) != idl.CodeInvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

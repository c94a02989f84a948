package plugins_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/chat"
	"freeim/plugins/group"
)

const hiding = `local im = require("im")
im.on_message(function(c)
	if c.text:sub(1, 4) == "wait" then return im.hold("newcomers", {deadline = "1h", otherwise = "allow"}) end
	if c.text:sub(1, 4) == "spam" then return im.shadow() end
end, {name = "hide", on_error = "closed"})`

// newRuledSite is a core with rules that hold and shadow, and a large group.
func newRuledSite(t *testing.T) *site {
	t.Helper()
	g := group.New()
	c := g.Config().(*group.Config)
	c.WriteDiffusion, c.MaxMembers, c.ChangesPerMinute = 2, 200_000, 0
	s := &site{t: t, cores: []*plugintest.Host{plugintest.New(t, plugintest.Options{Scripts: map[string]string{"a.lua": hiding},
		Plugins: []plugin.Plugin{chat.New(), g}, Stubs: plugintest.NewPeople(owner, owner+1, owner+2, owner+3).Stubs()})}}
	var rep grouppb.CreateGroupReply
	s.must(s.as(0, owner), idl.ActionCreateGroup, &grouppb.CreateGroupRequest{ClientId: "one", Name: "Town", Policy: grouppb.GroupPolicy_GROUP_POLICY_OPEN}, &rep)
	s.group = rep.Group.GroupId
	for _, u := range []im.UserID{owner + 1, owner + 2, owner + 3} {
		if err := s.join(0, u); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestShadowLooksAlike: whoever is shadowed in a large group gets the answers, and his other device the pushes, of who is not.
func TestShadowLooksAlike(t *testing.T) {
	s := newRuledSite(t)
	const bob, carol = owner + 1, owner + 2
	other := s.cores[0].As(bob, "other", idl.CodecProtobuf)
	s.must(other, idl.ActionSync, &chatpb.SyncRequest{}, nil)
	other.Pushes()
	seen := func() (actions []idl.Action) {
		for _, p := range other.Pushes() {
			actions = append(actions, p.Action)
		}
		return actions
	}
	plain, err := s.say(0, bob, "hello")
	if err != nil {
		t.Fatal(err)
	}
	if got := seen(); len(got) != 1 || got[0] != idl.ActionSync {
		t.Errorf("a message pushes %v", got)
	}
	for i := range 2 {
		rep, err := s.say(0, bob, "spam and ham")
		if err != nil {
			t.Fatal(err)
		}
		if rep.InboxSeq != plain.InboxSeq || rep.Seq != plain.Seq+1 || rep.Duplicate != (i > 0) {
			t.Errorf("a shadowed message answers %+v, another one %+v", rep, plain)
		}
		if got := seen(); i == 0 && (len(got) != 1 || got[0] != idl.ActionSync) {
			t.Errorf("a shadowed message pushes %v", got)
		}
	}
	s.wantTexts("the sender", &device{session: s.as(0, bob)}, 0, "hello", "spam and ham")
	s.wantTexts("another", &device{session: s.as(0, carol)}, 0, "hello")

	// However much waits for him, it comes before what is shadowed then; and what becomes of that is pushed as of others.
	const waiting = 501
	for i := range waiting {
		s.says(fmt.Sprint("text ", i))
	}
	rep, err := s.say(0, bob, "spam again")
	if err != nil {
		t.Fatal(err)
	}
	d := &device{session: s.as(0, bob)}
	if err := d.sync(0); err != nil {
		t.Fatal(err)
	}
	if all := d.texts(s.conversation()); len(all) != 2+waiting+1 || all[len(all)-1] != "spam again" {
		t.Errorf("%d messages, the last is %q", len(all), all[len(all)-1])
	}
	seen()
	s.must(s.as(0, bob), idl.ActionEdit, &chatpb.EditRequest{ConversationId: string(s.conversation()), Seq: rep.Seq, MessageId: rep.MessageId, Text: "better at last"}, nil)
	var told []idl.Action
	for deadline := time.Now().Add(time.Minute); len(told) == 0; told = seen() {
		if time.Now().After(deadline) {
			t.Fatal("the edit is pushed to nobody")
		}
		<-time.After(20 * time.Millisecond)
	}
	if slices.Contains(told, idl.ActionMessage) {
		t.Errorf("an edit pushes %v", told)
	}
}

// TestHeldMentions: a held message that names somebody who has gone meanwhile is committed, and names those who are there.
func TestHeldMentions(t *testing.T) {
	s := newRuledSite(t)
	const bob, carol, dave = owner + 1, owner + 2, owner + 3
	rep := new(chatpb.SendReply)
	req := &chatpb.SendRequest{ClientId: "m", ConversationId: string(s.conversation()), Text: "wait for it", Mentions: []int64{int64(carol), int64(dave)}}
	s.must(s.as(0, bob), idl.ActionMessage, req, rep)
	if rep.HeldId == "" {
		t.Fatalf("got %+v", rep)
	}
	s.must(s.as(0, carol), idl.ActionLeaveGroup, &grouppb.LeaveGroupRequest{GroupId: s.group}, nil)
	s.cores[0].Advance(2 * time.Hour)
	d := &device{session: s.as(0, dave)}
	for deadline := time.Now().Add(time.Minute); len(d.texts(s.conversation())) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("it is not committed")
		}
		<-time.After(20 * time.Millisecond)
		if err := d.sync(0); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range d.got {
		if m := e.Message; strings.HasPrefix(m.Text, "wait") && (len(m.Mentions) != 1 || m.Mentions[0] != int64(dave)) {
			t.Errorf("it names %v", m.Mentions)
		}
	}
}

// TestFewInALargeGroup: in a group whose messages are in its log alone, but whose members are few, it is told who types and
// who has read, as in any other.
func TestFewInALargeGroup(t *testing.T) {
	s := newRuledSite(t)
	const bob, carol = owner + 1, owner + 2
	hears := s.as(0, carol)
	s.must(hears, idl.ActionSync, &chatpb.SyncRequest{}, nil)
	hears.Pushes()
	s.must(s.as(0, bob), idl.ActionTyping, &chatpb.TypingRequest{ConversationId: string(s.conversation())}, nil)
	if got := hears.Pushes(); len(got) != 1 || got[0].Action != idl.ActionTyping {
		t.Errorf("typing pushes %v", got)
	}
	at, err := s.say(0, bob, "hello")
	if err != nil {
		t.Fatal(err)
	}
	s.must(hears, idl.ActionRead, &chatpb.ReadRequest{ConversationId: string(s.conversation()), Seq: at.Seq}, nil)
	var rep chatpb.ReadersReply
	s.must(s.as(0, owner), idl.ActionReaders, &chatpb.ReadersRequest{ConversationId: string(s.conversation()), Seq: at.Seq}, &rep)
	if rep.Of != 3 || !slices.Equal(rep.UserIds, []int64{int64(carol)}) {
		t.Errorf("read by %v", &rep)
	}
}

package plugins_test

import (
	"fmt"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/account"
	"freeim/plugins/chat"
	"freeim/plugins/group"
)

// TestAuthOfLargeGroups has a client sync only when Auth says that its inbox has more than it knows: it gets what was
// written in a large group, and hears of more. Whoever is in none is told what there is.
func TestAuthOfLargeGroups(t *testing.T) {
	groups := group.New()
	groups.Config().(*group.Config).WriteDiffusion = 2
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{account.New(), chat.New(), groups}})
	connect := func(name string) (*plugintest.Session, *accountpb.AuthReply) {
		t.Helper()
		s := h.Connect(idl.CodecProtobuf)
		var in accountpb.SignInReply
		var rep accountpb.AuthReply
		if err := s.Call(idl.ActionSignIn, &accountpb.SignInRequest{Account: name, Password: "correct horse", Device: &accountpb.Device{Id: "phone", Type: idl.DeviceMobile}}, &in); err != nil {
			t.Fatal(err)
		}
		if err := s.Call(idl.ActionAuth, &accountpb.AuthRequest{Token: in.Token}, &rep); err != nil {
			t.Fatal(err)
		}
		return s, &rep
	}
	var all []*plugintest.Session
	for _, name := range []string{"alice", "bob", "carol", "dave"} {
		if err := h.Connect(idl.CodecProtobuf).Call(idl.ActionSignUp, &accountpb.SignUpRequest{Account: name, Password: "correct horse"}, nil); err != nil {
			t.Fatal(err)
		}
		s, rep := connect(name)
		if rep.InboxHead != 0 {
			t.Errorf("the inbox of %s ends at %d", name, rep.InboxHead)
		}
		all = append(all, s)
	}
	var made grouppb.CreateGroupReply
	if err := all[0].Call(idl.ActionCreateGroup, &grouppb.CreateGroupRequest{ClientId: "one", Name: "Town", Policy: grouppb.GroupPolicy_GROUP_POLICY_OPEN}, &made); err != nil {
		t.Fatal(err)
	}
	for _, s := range all[1:3] {
		if err := s.Call(idl.ActionJoinGroup, &grouppb.JoinGroupRequest{GroupId: made.Group.GroupId}, nil); err != nil {
			t.Fatal(err)
		}
	}
	log := im.ConversationID(fmt.Sprint("g_", made.Group.GroupId))

	bob, rep := connect("bob")
	var page chatpb.SyncReply
	for cursor := int64(0); rep.InboxHead > cursor; rep.InboxHead = page.Head {
		if err := bob.Call(idl.ActionSync, &chatpb.SyncRequest{AfterSeq: cursor, Limit: 500}, &page); err != nil || page.HasMore {
			t.Fatal(&page, err)
		}
		cursor = page.Head
	}
	if got := bob.Follows(); len(got) != 1 || got[0].Log != log {
		t.Fatalf("bob follows %v", got)
	}

	if err := all[0].Call(idl.ActionMessage, &chatpb.SendRequest{ConversationId: string(log), ClientId: "1", Text: "one"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, again := connect("bob"); again.InboxHead <= page.Head {
		t.Errorf("the log has grown; bob's inbox ends at %d, and he is told %d", page.Head, again.InboxHead)
	}
	if _, rep := connect("dave"); rep.InboxHead != 0 {
		t.Errorf("dave is in no group, and is told of %d", rep.InboxHead)
	}
}

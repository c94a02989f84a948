package room_test

import (
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

const (
	mute    = roompb.ModerationVerb_MODERATION_MUTE
	unmute  = roompb.ModerationVerb_MODERATION_UNMUTE
	remove  = roompb.ModerationVerb_MODERATION_REMOVE
	ban     = roompb.ModerationVerb_MODERATION_BAN
	unban   = roompb.ModerationVerb_MODERATION_UNBAN
	setRole = roompb.ModerationVerb_MODERATION_SET_ROLE

	admin  = roompb.RoomRole_ROOM_ROLE_ADMIN
	member = roompb.RoomRole_ROOM_ROLE_MEMBER
)

// create makes a room; it must be let.
func create(t *testing.T, s *plugintest.Session, name string) *roompb.RoomInfo {
	t.Helper()
	var rep roompb.CreateRoomReply
	if err := s.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: name}, &rep); err != nil {
		t.Fatal(err)
	}
	return rep.Info
}

func moderated(s *plugintest.Session, name string, m roompb.Moderation) (int64, error) {
	var rep roompb.ModerateRoomReply
	err := s.Call(idl.ActionModerateRoom, &roompb.ModerateRoomRequest{Room: name, Moderation: &m}, &rep)
	return rep.Seq, err
}

// do moderates; it must be let.
func do(t *testing.T, s *plugintest.Session, name string, m roompb.Moderation) int64 {
	t.Helper()
	seq, err := moderated(s, name, m)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// leftOf decodes the one frame that tells a session that it was put out.
func leftOf(t *testing.T, s *plugintest.Session) *roompb.RoomLeft {
	t.Helper()
	var all []*roompb.RoomLeft
	for _, p := range s.Pushes() {
		if p.Action == idl.ActionLeaveRoom {
			left := new(roompb.RoomLeft)
			if err := p.Decode(left); err != nil {
				t.Fatal(err)
			}
			all = append(all, left)
		}
	}
	if len(all) != 1 {
		t.Fatalf("the session was told %d times that it is out", len(all))
	}
	return all[0]
}

func TestMute(t *testing.T) {
	h := start(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "web", idl.CodecJSON)
	create(t, a, "club")
	join(t, a, "club")
	join(t, b, "club")
	until := h.Now().Add(time.Minute).UnixMilli()
	seq := do(t, a, "club", roompb.Moderation{Verb: mute, UserId: int64(bob), UntilMs: until, Reason: "loud", Role: admin})
	got := heard(t, b)
	if len(got) != 1 || got[0].Seq != seq || got[0].Kind != roompb.RoomKind_ROOM_KIND_MODERATION || got[0].SenderId != int64(alice) ||
		got[0].Nickname != "nick-100001" || *got[0].Moderation != (roompb.Moderation{Verb: mute, UserId: int64(bob), UntilMs: until, Reason: "loud"}) {
		t.Errorf("bob heard %+v", got)
	}
	if sent, _ := lastTold(t, h); !sent.Important || sent.Seq != seq {
		t.Errorf("it went as %+v", sent)
	}
	_, err := said(b, &roompb.RoomSendRequest{Room: "club", ClientId: "m1", Text: "x"})
	wantRefusal(t, err, idl.CodePermissionDenied, "room")
	if rep := join(t, b, "club"); rep.MutedUntilMs != until {
		t.Errorf("joining again says muted until %d", rep.MutedUntilMs)
	}
	h.Advance(time.Minute)
	say(t, b, "club", "m1", "over")
	do(t, a, "club", roompb.Moderation{Verb: mute, UserId: int64(bob)})
	h.Advance(24 * 365 * time.Hour)
	_, err = said(b, &roompb.RoomSendRequest{Room: "club", ClientId: "m2", Text: "x"})
	wantRefusal(t, err, idl.CodePermissionDenied, "room")
	if rep := join(t, b, "club"); rep.MutedUntilMs != -1 {
		t.Errorf("joining again says muted until %d", rep.MutedUntilMs)
	}
	// What was sent before is answered as it was.
	if again := say(t, b, "club", "m1", "over"); !again.Duplicate {
		t.Error("a resend is not a duplicate")
	}
	do(t, a, "club", roompb.Moderation{Verb: unmute, UserId: int64(bob)})
	say(t, b, "club", "m2", "x")
}

func TestRemoveAndBan(t *testing.T) {
	h := start(t, nil)
	a, b, web := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "phone", idl.CodecJSON), h.As(bob, "web", idl.CodecProtobuf)
	create(t, a, "club")
	for _, s := range []*plugintest.Session{a, b, web} {
		join(t, s, "club")
	}
	do(t, a, "club", roompb.Moderation{Verb: remove, UserId: int64(bob), Reason: "go"})
	for _, s := range []*plugintest.Session{b, web} {
		if left := leftOf(t, s); left.Room != "club" || left.Reason != roompb.RoomLeftReason_ROOM_LEFT_REMOVED || left.Message != "go" || len(s.Rooms()) != 0 {
			t.Errorf("got %+v, in rooms %v", left, s.Rooms())
		}
		join(t, s, "club")
	}
	until := h.Now().Add(time.Hour).UnixMilli()
	do(t, a, "club", roompb.Moderation{Verb: ban, UserId: int64(bob), UntilMs: until})
	for _, s := range []*plugintest.Session{b, web} {
		if left := leftOf(t, s); left.Reason != roompb.RoomLeftReason_ROOM_LEFT_BANNED || left.UntilMs != until {
			t.Errorf("got %+v", left)
		}
		_, err := joined(s, &roompb.JoinRoomRequest{Room: "club"})
		wantRefusal(t, err, idl.CodePermissionDenied, "room")
		wantRefusal(t, s.Call(idl.ActionRoomHistory, &roompb.RoomHistoryRequest{Room: "club"}, nil), idl.CodePermissionDenied, "room")
	}
	h.Advance(time.Hour)
	join(t, b, "club")
	do(t, a, "club", roompb.Moderation{Verb: ban, UserId: int64(bob)})
	_, err := joined(b, &roompb.JoinRoomRequest{Room: "club"})
	wantRefusal(t, err, idl.CodePermissionDenied, "room")
	do(t, a, "club", roompb.Moderation{Verb: unban, UserId: int64(bob)})
	join(t, b, "club")
}

// TestRanks: owner over admins over members, operators over all, nobody over himself
// or above.
func TestRanks(t *testing.T) {
	const dave im.UserID = 100004
	h := start(t, nil)
	sessions := map[im.UserID]*plugintest.Session{}
	for _, u := range []im.UserID{alice, bob, carol, dave, root} {
		sessions[u] = h.As(u, "phone", idl.CodecProtobuf)
	}
	create(t, sessions[alice], "club")
	for _, u := range []im.UserID{bob, carol} { // admins
		do(t, sessions[alice], "club", roompb.Moderation{Verb: setRole, UserId: int64(u), Role: admin})
	}
	for _, row := range []struct {
		name   string
		by, to im.UserID
		verb   roompb.ModerationVerb
		field  string // "ok": let
	}{
		{"owner, admin", alice, bob, mute, "ok"},
		{"owner, member", alice, dave, mute, "ok"},
		{"admin, member", bob, dave, unmute, "ok"},
		{"admin, admin", bob, carol, mute, "moderation.user_id"},
		{"admin, owner", bob, alice, ban, "moderation.user_id"},
		{"admin, himself", bob, bob, unmute, "moderation.user_id"},
		{"owner, himself", alice, alice, remove, "moderation.user_id"},
		{"owner, operator", alice, root, ban, "moderation.user_id"},
		{"operator, owner", root, alice, mute, "ok"},
		{"operator, himself", root, root, mute, "moderation.user_id"},
		{"member, member", dave, dave, mute, ""},
		{"member, owner", dave, alice, mute, ""},
		{"admin names an admin", bob, dave, setRole, ""},
		{"owner takes a role", alice, carol, setRole, "ok"},
		{"who was an admin", carol, dave, mute, ""},
		{"operator names an admin", root, dave, setRole, "ok"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := roompb.Moderation{Verb: row.verb, UserId: int64(row.to)}
			_, err := moderated(sessions[row.by], "club", m)
			if row.field != "ok" {
				wantRefusal(t, err, idl.CodePermissionDenied, row.field)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBanTakesTheRole: an admin that is banned is none any more.
func TestBanTakesTheRole(t *testing.T) {
	h := start(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "phone", idl.CodecProtobuf)
	create(t, a, "club")
	do(t, a, "club", roompb.Moderation{Verb: setRole, UserId: int64(bob), Role: admin})
	if rep := join(t, b, "club"); rep.Role != admin {
		t.Errorf("bob is %v", rep.Role)
	}
	do(t, a, "club", roompb.Moderation{Verb: ban, UserId: int64(bob)})
	_, err := moderated(b, "club", roompb.Moderation{Verb: unban, UserId: int64(bob)})
	wantRefusal(t, err, idl.CodePermissionDenied, "")
	do(t, a, "club", roompb.Moderation{Verb: unban, UserId: int64(bob)})
	if rep := join(t, b, "club"); rep.Role != member {
		t.Errorf("bob is %v", rep.Role)
	}
}

// TestNobodysRoom: who made a room by joining it has no say in it; operators have.
func TestNobodysRoom(t *testing.T) {
	h := start(t, nil)
	a, b, o := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "phone", idl.CodecProtobuf), h.As(root, "phone", idl.CodecProtobuf)
	join(t, a, "lobby")
	join(t, b, "lobby")
	if rep := join(t, o, "lobby"); rep.Role != roompb.RoomRole_ROOM_ROLE_OWNER {
		t.Errorf("the operator is %v", rep.Role)
	}
	_, err := moderated(a, "lobby", roompb.Moderation{Verb: mute, UserId: int64(bob)})
	wantRefusal(t, err, idl.CodePermissionDenied, "")
	wantRefusal(t, a.Call(idl.ActionUpdateRoom, &roompb.UpdateRoomRequest{Room: "lobby", Fields: []string{"muted"}, Muted: true}, nil), idl.CodePermissionDenied, "")
	wantRefusal(t, a.Call(idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: "lobby"}, nil), idl.CodePermissionDenied, "")
	do(t, o, "lobby", roompb.Moderation{Verb: ban, UserId: int64(bob)})
	leftOf(t, b)
	if err := o.Call(idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: "lobby"}, nil); err != nil {
		t.Error(err)
	}
}

func TestModerateRefusals(t *testing.T) {
	h := start(t, nil)
	a := h.As(alice, "phone", idl.CodecProtobuf)
	create(t, a, "club")
	for _, row := range []struct {
		name, room, field string
		code              idl.Code
		m                 *roompb.Moderation
	}{
		{"no such room", "other", "room", idl.CodeNotFound, &roompb.Moderation{Verb: mute, UserId: int64(bob)}},
		{"no name", "", "room", idl.CodeInvalidArgument, &roompb.Moderation{Verb: mute, UserId: int64(bob)}},
		{"nothing", "club", "moderation", idl.CodeInvalidArgument, nil},
		{"nobody", "club", "moderation.user_id", idl.CodeInvalidArgument, &roompb.Moderation{Verb: mute}},
		{"no such user", "club", "moderation.user_id", idl.CodeNotFound, &roompb.Moderation{Verb: mute, UserId: 5}},
		{"no verb", "club", "moderation.verb", idl.CodeInvalidArgument, &roompb.Moderation{UserId: int64(bob)}},
		{"a verb of the server's", "club", "moderation.verb", idl.CodeInvalidArgument, &roompb.Moderation{Verb: roompb.ModerationVerb_MODERATION_CLOSE, UserId: int64(bob)}},
		{"a verb that is not known", "club", "moderation.verb", idl.CodeInvalidArgument, &roompb.Moderation{Verb: 99, UserId: int64(bob)}},
		{"until the past", "club", "moderation.until_ms", idl.CodeInvalidArgument, &roompb.Moderation{Verb: ban, UserId: int64(bob), UntilMs: 1}},
		{"until before all times", "club", "moderation.until_ms", idl.CodeInvalidArgument, &roompb.Moderation{Verb: ban, UserId: int64(bob), UntilMs: -1}},
		{"another owner", "club", "moderation.role", idl.CodeInvalidArgument, &roompb.Moderation{Verb: setRole, UserId: int64(bob), Role: roompb.RoomRole_ROOM_ROLE_OWNER}},
		{"a long reason", "club", "moderation.reason", idl.CodeInvalidArgument, &roompb.Moderation{Verb: mute, UserId: int64(bob), Reason: strings.Repeat("界", 201)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			wantRefusal(t, a.Call(idl.ActionModerateRoom, &roompb.ModerateRoomRequest{Room: row.room, Moderation: row.m}, nil), row.code, row.field)
		})
	}
}

func TestRoles(t *testing.T) {
	h := start(t, nil)
	a, b, c := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "phone", idl.CodecProtobuf), h.As(carol, "web", idl.CodecJSON)
	create(t, a, "club")
	do(t, a, "club", roompb.Moderation{Verb: setRole, UserId: int64(bob), Role: admin})
	soon := h.Now().Add(time.Minute).UnixMilli()
	for u := im.UserID(200); u < 205; u++ {
		do(t, a, "club", roompb.Moderation{Verb: ban, UserId: int64(u)})
	}
	do(t, b, "club", roompb.Moderation{Verb: mute, UserId: 205, UntilMs: soon})
	list := func(s *plugintest.Session, after int64, limit int32) (*roompb.ListRolesReply, error) {
		rep := new(roompb.ListRolesReply)
		return rep, s.Call(idl.ActionRoomRoles, &roompb.ListRolesRequest{Room: "club", AfterUserId: after, Limit: limit}, rep)
	}
	var all []*roompb.RoleInfo
	for after := int64(0); ; {
		rep, err := list(b, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, rep.People...); !rep.HasMore {
			break
		}
		after = all[len(all)-1].UserId
	}
	if len(all) != 7 || *all[0] != (roompb.RoleInfo{UserId: 200, BannedUntilMs: -1}) || *all[5] != (roompb.RoleInfo{UserId: 205, MutedUntilMs: soon}) ||
		*all[6] != (roompb.RoleInfo{UserId: int64(bob), Role: admin}) {
		t.Errorf("got %+v", all)
	}
	_, err := list(c, 0, 0)
	wantRefusal(t, err, idl.CodePermissionDenied, "room")
	join(t, c, "club")
	if rep, err := list(c, 0, 0); err != nil || len(rep.People) != 1 || *rep.People[0] != (roompb.RoleInfo{UserId: int64(bob), Role: admin}) {
		t.Errorf("a member is told %+v, %v", rep, err)
	}
	h.Advance(time.Hour)
	if rep, err := list(a, 204, 0); err != nil || len(rep.People) != 1 {
		t.Errorf("when the mute is over: got %+v, %v", rep, err)
	}
	for field, req := range map[string]*roompb.ListRolesRequest{
		"limit": {Room: "club", Limit: 201}, "after_user_id": {Room: "club", AfterUserId: -1}, "room": {},
	} {
		wantRefusal(t, a.Call(idl.ActionRoomRoles, req, nil), idl.CodeInvalidArgument, field)
	}
	wantRefusal(t, a.Call(idl.ActionRoomRoles, &roompb.ListRolesRequest{Room: "other"}, nil), idl.CodeNotFound, "room")
}

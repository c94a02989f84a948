package social_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
	"freeim/plugins/social"
)

// The people of these tests. Nobody else exists, but for the friends of benchmarks.
const (
	alice im.UserID = 100001
	bob   im.UserID = 100002
	carol im.UserID = 100003
	dave  im.UserID = 100004
)

// world is a host with the plugin, the fakes it works with, and a session of each person.
type world struct {
	*plugintest.Host
	t        testing.TB
	social   *social.Social
	messages *plugintest.Messages
	people   *plugintest.People
	sessions map[im.UserID]*plugintest.Session
}

func start(t testing.TB, changes ...func(*social.Config)) *world {
	t.Helper()
	return startWith(t, plugintest.Options{}, changes...)
}

func startWith(t testing.TB, o plugintest.Options, changes ...func(*social.Config)) *world {
	t.Helper()
	w := &world{t: t, social: social.New(), messages: &plugintest.Messages{}, people: plugintest.NewPeople(alice, bob, carol, dave), sessions: map[im.UserID]*plugintest.Session{}}
	c := w.social.Config().(*social.Config)
	c.PresencePoll, c.ApplicationsPerHour = time.Minute, 0 // rounds are the tests' own
	for _, change := range changes {
		change(c)
	}
	o.Plugins, o.Stubs = []plugin.Plugin{w.social}, append(w.people.Stubs(), w.messages.Stub())
	w.Host = plugintest.New(t, o)
	return w
}

// as is the session of one person's.
func (w *world) as(u im.UserID) *plugintest.Session {
	s := w.sessions[u]
	if s == nil {
		s = w.As(u, "phone", []idl.Codec{idl.CodecJSON, idl.CodecProtobuf}[u%2])
		w.sessions[u] = s
	}
	return s
}

// call makes a call that must succeed.
func (w *world) call(u im.UserID, a idl.Action, req, rep idl.Message) {
	w.t.Helper()
	if err := w.as(u).Call(a, req, rep); err != nil {
		w.t.Fatalf("%v by %d: %v", a, u, err)
	}
}

func (w *world) apply(u, to im.UserID) *socialpb.ApplyReply {
	w.t.Helper()
	rep := &socialpb.ApplyReply{}
	w.call(u, idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(to), Remark: "hello"}, rep)
	return rep
}

// befriend makes friends of both.
func (w *world) befriend(a, b im.UserID) {
	w.t.Helper()
	w.apply(a, b)
	w.call(b, idl.ActionAccept, &socialpb.AcceptRequest{UserId: int64(a)}, nil)
}

// filed gives, and forgets, what was told: names and whom.
func (w *world) filed() (told []string) {
	w.t.Helper()
	for _, e := range w.messages.Filed(w.t) {
		var text strings.Builder
		text.WriteString(e.Name + " by " + name(e.Actor) + " to")
		for _, u := range e.Users {
			text.WriteString(" " + name(u))
		}
		told = append(told, text.String())
	}
	return told
}

func name(u im.UserID) string {
	switch u {
	case 0:
		return "server"
	case alice:
		return "alice"
	case bob:
		return "bob"
	case carol:
		return "carol"
	case dave:
		return "dave"
	}
	return u.String()
}

func (w *world) wantFiled(want ...string) {
	w.t.Helper()
	if got := w.filed(); strings.Join(got, "; ") != strings.Join(want, "; ") {
		w.t.Errorf("told %q, want %q", got, want)
	}
}

// friends are the names in somebody's list.
func (w *world) friends(u im.UserID) string {
	w.t.Helper()
	rep := &socialpb.FriendsReply{}
	w.call(u, idl.ActionFriends, &socialpb.FriendsRequest{}, rep)
	var names []string
	for _, f := range rep.Friends {
		names = append(names, name(im.UserID(f.Person.UserId)))
	}
	if int(rep.Total) != len(names) {
		w.t.Errorf("%d in the list, which says it has %d", len(names), rep.Total)
	}
	return strings.Join(names, " ")
}

// pending are the people whose applications somebody sees as pending.
func (w *world) pending(u im.UserID, outgoing bool) string {
	w.t.Helper()
	rep := &socialpb.ApplicationsReply{}
	w.call(u, idl.ActionApplications, &socialpb.ApplicationsRequest{Outgoing: outgoing}, rep)
	var names []string
	for _, a := range rep.Applications {
		if a.State == socialpb.ApplicationState_APPLICATION_STATE_PENDING {
			names = append(names, name(im.UserID(a.Person.UserId)))
		}
	}
	return strings.Join(names, " ")
}

func wantRefusal(t testing.TB, err error, code idl.Code, field string) {
	t.Helper()
	refused, ok := errors.AsType[*im.Error](err)
	if !ok || refused.Code != code || refused.Field != field {
		t.Errorf("got %v, want %v of field %q", err, code, field)
	}
}

func TestConformance(t *testing.T) {
	messages := &plugintest.Messages{}
	plugintest.Conform(t, func() plugin.Plugin { return social.New() }, append(plugintest.NewPeople(alice, bob).Stubs(), messages.Stub())...)
}

func TestConfigurationIsChecked(t *testing.T) {
	for field, change := range map[string]func(*social.Config){
		"social.max_friends":           func(c *social.Config) { c.MaxFriends = 0 },
		"social.max_sent":              func(c *social.Config) { c.MaxSent = 0 },
		"social.max_received":          func(c *social.Config) { c.MaxReceived = 1 << 30 },
		"social.max_groups":            func(c *social.Config) { c.MaxGroups = 0 },
		"social.max_blocks":            func(c *social.Config) { c.MaxBlocks = 0 },
		"social.applications_per_hour": func(c *social.Config) { c.ApplicationsPerHour = -1 },
		"social.application_time":      func(c *social.Config) { c.ApplicationTime = 0 },
		"social.application_pause":     func(c *social.Config) { c.ApplicationPause = -1 },
		"social.blocked":               func(c *social.Config) { c.Blocked = "ignored" },
		"social.cache":                 func(c *social.Config) { c.Cache = time.Hour },
		"social.presence_poll":         func(c *social.Config) { c.PresencePoll = 0 },
		"social.presence_grace":        func(c *social.Config) { c.PresenceGrace = -1 },
		"social.presence_lease":        func(c *social.Config) { c.PresenceLease = 0 },
	} {
		t.Run(field, func(t *testing.T) {
			p := social.New()
			change(p.Config().(*social.Config))
			wantRefusal(t, p.Validate(), idl.CodeInvalidArgument, field)
		})
	}
}

// long is a text of n characters.
func long(n int) string { return strings.Repeat("é", n) }

func TestBadInput(t *testing.T) {
	w := start(t)
	w.befriend(alice, carol)
	for _, row := range []struct {
		name   string
		action idl.Action
		req    idl.Message
		code   idl.Code
		field  string
	}{
		{"apply to oneself", idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(alice)}, idl.CodeInvalidArgument, "user_id"},
		{"apply to nobody", idl.ActionApply, &socialpb.ApplyRequest{}, idl.CodeInvalidArgument, "user_id"},
		{"apply to a negative ID", idl.ActionApply, &socialpb.ApplyRequest{UserId: -1}, idl.CodeInvalidArgument, "user_id"},
		{"apply to a huge ID", idl.ActionApply, &socialpb.ApplyRequest{UserId: 1 << 53}, idl.CodeMalformedBody, "user_id"},
		{"apply to a stranger to the server", idl.ActionApply, &socialpb.ApplyRequest{UserId: 5}, idl.CodeNotFound, "user_id"},
		{"apply to a friend", idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(carol)}, idl.CodeAlreadyExists, "user_id"},
		{"a remark of 201", idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(bob), Remark: long(201)}, idl.CodeInvalidArgument, "remark"},
		{"a remark of 10,000", idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(bob), Remark: long(10_000)}, idl.CodeInvalidArgument, "remark"},
		{"a control character", idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(bob), Remark: "a\x07b"}, idl.CodeInvalidArgument, "remark"},
		{"an override of direction", idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(bob), Remark: "a\u202eb"}, idl.CodeInvalidArgument, "remark"},
		{"an answer of 201", idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(bob), Answer: long(201)}, idl.CodeInvalidArgument, "answer"},
		{"accept oneself", idl.ActionAccept, &socialpb.AcceptRequest{UserId: int64(alice)}, idl.CodeInvalidArgument, "user_id"},
		{"accept who has not applied", idl.ActionAccept, &socialpb.AcceptRequest{UserId: int64(bob)}, idl.CodeNotFound, "user_id"},
		{"accept nobody", idl.ActionAccept, &socialpb.AcceptRequest{UserId: 5}, idl.CodeNotFound, "user_id"},
		{"refuse who has not applied", idl.ActionRefuse, &socialpb.RefuseRequest{UserId: int64(bob)}, idl.CodeNotFound, "user_id"},
		{"withdraw nothing", idl.ActionWithdraw, &socialpb.WithdrawRequest{UserId: int64(bob)}, idl.CodeNotFound, "user_id"},
		{"delete no friend", idl.ActionDeleteFriend, &socialpb.DeleteRequest{UserId: int64(bob)}, idl.CodeNotFound, "user_id"},
		{"delete oneself", idl.ActionDeleteFriend, &socialpb.DeleteRequest{UserId: int64(alice)}, idl.CodeInvalidArgument, "user_id"},
		{"an alias of no friend", idl.ActionSetAlias, &socialpb.SetAliasRequest{UserId: int64(bob), Alias: "b"}, idl.CodeNotFound, "user_id"},
		{"an alias of 65", idl.ActionSetAlias, &socialpb.SetAliasRequest{UserId: int64(carol), Alias: long(65)}, idl.CodeInvalidArgument, "alias"},
		{"an alias of two lines", idl.ActionSetAlias, &socialpb.SetAliasRequest{UserId: int64(carol), Alias: "a\nb"}, idl.CodeInvalidArgument, "alias"},
		{"block oneself", idl.ActionBlock, &socialpb.BlockRequest{UserId: int64(alice)}, idl.CodeInvalidArgument, "user_id"},
		{"block nobody", idl.ActionBlock, &socialpb.BlockRequest{UserId: 5}, idl.CodeNotFound, "user_id"},
		{"unblock oneself", idl.ActionUnblock, &socialpb.UnblockRequest{UserId: int64(alice)}, idl.CodeInvalidArgument, "user_id"},
		{"a page of 501", idl.ActionFriends, &socialpb.FriendsRequest{Limit: 501}, idl.CodeInvalidArgument, "limit"},
		{"a cursor of nothing", idl.ActionFriends, &socialpb.FriendsRequest{Cursor: "x"}, idl.CodeInvalidArgument, "cursor"},
		{"a cursor of another user", idl.ActionFriends, &socialpb.FriendsRequest{Cursor: "f.100002.5.0"}, idl.CodeInvalidArgument, "cursor"},
		{"a cursor of another list", idl.ActionFriends, &socialpb.FriendsRequest{Cursor: "b.100001.5.0"}, idl.CodeInvalidArgument, "cursor"},
		{"changes for another user", idl.ActionFriends, &socialpb.FriendsRequest{Since: "v.100002.5.0"}, idl.CodeInvalidArgument, "since"},
		{"cursor and since", idl.ActionFriends, &socialpb.FriendsRequest{Cursor: "f.100001.5.0", Since: "v.100001.5.0"}, idl.CodeInvalidArgument, "since"},
		{"another's applications", idl.ActionApplications, &socialpb.ApplicationsRequest{Cursor: "i.100002.5.5"}, idl.CodeInvalidArgument, "cursor"},
		{"another's blocks", idl.ActionBlocks, &socialpb.BlocksRequest{Cursor: "b.100002.5.0"}, idl.CodeInvalidArgument, "cursor"},
		{"51 suggestions", idl.ActionSuggestions, &socialpb.SuggestionsRequest{Limit: 51}, idl.CodeInvalidArgument, "limit"},
		{"watch 201", idl.ActionPresence, &socialpb.PresenceRequest{UserIds: make([]int64, 201)}, idl.CodeInvalidArgument, "user_ids"},
		{"watch nobody", idl.ActionPresence, &socialpb.PresenceRequest{UserIds: []int64{0}}, idl.CodeInvalidArgument, "user_ids"},
		{"a group without a name", idl.ActionCreateFriendGroup, &socialpb.CreateGroupRequest{Name: " "}, idl.CodeInvalidArgument, "name"},
		{"a group of control characters", idl.ActionCreateFriendGroup, &socialpb.CreateGroupRequest{Name: "\x00\x01"}, idl.CodeInvalidArgument, "name"},
		{"a group's name of 33", idl.ActionCreateFriendGroup, &socialpb.CreateGroupRequest{Name: long(33)}, idl.CodeInvalidArgument, "name"},
		{"rename no group", idl.ActionRenameFriendGroup, &socialpb.RenameGroupRequest{GroupId: 9, Name: "x"}, idl.CodeNotFound, "group_id"},
		{"delete no group", idl.ActionDeleteFriendGroup, &socialpb.DeleteGroupRequest{GroupId: 9}, idl.CodeNotFound, "group_id"},
		{"order groups that are none", idl.ActionOrderFriendGroups, &socialpb.OrderGroupsRequest{GroupIds: []int64{9}}, idl.CodeInvalidArgument, "group_ids"},
		{"move to no group", idl.ActionMoveFriends, &socialpb.MoveFriendsRequest{GroupId: 9, UserIds: []int64{int64(carol)}}, idl.CodeNotFound, "group_id"},
		{"move nobody", idl.ActionMoveFriends, &socialpb.MoveFriendsRequest{}, idl.CodeInvalidArgument, "user_ids"},
		{"move 101", idl.ActionMoveFriends, &socialpb.MoveFriendsRequest{UserIds: make([]int64, 101)}, idl.CodeInvalidArgument, "user_ids"},
		{"move one who is no friend", idl.ActionMoveFriends, &socialpb.MoveFriendsRequest{UserIds: []int64{int64(carol), int64(bob)}}, idl.CodeNotFound, "user_ids"},
		{"set nothing", idl.ActionUpdateSocialSettings, &socialpb.UpdateSettingsRequest{}, idl.CodeInvalidArgument, "fields"},
		{"set what is not there", idl.ActionUpdateSocialSettings, &socialpb.UpdateSettingsRequest{Fields: []string{"user_id"}}, idl.CodeInvalidArgument, "fields"},
		{"a setting that is none", idl.ActionUpdateSocialSettings, &socialpb.UpdateSettingsRequest{Fields: []string{"apply"}, Apply: 9}, idl.CodeInvalidArgument, "apply"},
		{"a question that is none", idl.ActionUpdateSocialSettings, &socialpb.UpdateSettingsRequest{Fields: []string{"apply"}, Apply: 1}, idl.CodeInvalidArgument, "question"},
		{"a question of 201", idl.ActionUpdateSocialSettings, &socialpb.UpdateSettingsRequest{Fields: []string{"question"}, Question: long(201)}, idl.CodeInvalidArgument, "question"},
		{"the relation to oneself", idl.ActionRelation, &socialpb.RelationRequest{UserId: int64(alice)}, idl.CodeInvalidArgument, "user_id"},
		{"the relation to nobody", idl.ActionRelation, &socialpb.RelationRequest{UserId: 5}, idl.CodeNotFound, "user_id"},
	} {
		t.Run(row.name, func(t *testing.T) {
			wantRefusal(t, w.as(alice).Call(row.action, row.req, nil), row.code, row.field)
		})
	}
	w.filed()
	if w.friends(alice) != "carol" || w.pending(alice, true) != "" || w.pending(bob, false) != "" {
		t.Errorf("something is half done: %s, %s", w.friends(alice), w.pending(alice, true))
	}
}

// FuzzCursor: what is read is written the same, and nothing panics.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "f.7.1.2", "f.8.1.2", "b.7.1.2", "f.7.1.2.3", "f.7.-1.2", "f.07.1.2", "é.7.1.2", "f.7.99999999999999999999.2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		again, err := social.ParseCursor(text)
		if err == nil && again != text {
			t.Errorf("%q is read, and written as %q", text, again)
		}
	})
}

package group_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/group"
)

// The people of these tests.
const (
	alice im.UserID = 100001
	bob   im.UserID = 100002
	carol im.UserID = 100003
	dave  im.UserID = 100004
	erin  im.UserID = 100005
)

// friends is a "social.relations" by pairs.
type friends struct {
	friends [][2]im.UserID
	blocks  [][2]im.UserID // by, whom
}

func (f friends) Friends(_ context.Context, u im.UserID) (all []im.UserID, err error) {
	for _, pair := range f.friends {
		switch u {
		case pair[0]:
			all = append(all, pair[1])
		case pair[1]:
			all = append(all, pair[0])
		}
	}
	slices.Sort(all)
	return all, nil
}

func (f friends) Friend(ctx context.Context, a, b im.UserID) (bool, error) {
	all, err := f.Friends(ctx, a)
	return slices.Contains(all, b), err
}

func (f friends) Blocks(_ context.Context, by, whom im.UserID) (bool, error) {
	return slices.Contains(f.blocks, [2]im.UserID{by, whom}), nil
}

func (f friends) Blocked(context.Context, im.UserID) ([]im.UserID, error) { return nil, nil }

// relations are those of the tests: alice is a friend of bob and carol, and erin blocks her.
var relations = friends{friends: [][2]im.UserID{{alice, bob}, {alice, carol}}, blocks: [][2]im.UserID{{erin, alice}}}

// world is a host with the plugin and what stands for the others.
type world struct {
	*plugintest.Host
	messages *plugintest.Messages
	people   *plugintest.People
}

func start(t testing.TB, change ...func(*group.Config)) *world {
	t.Helper()
	return startIn(t, plugintest.Options{}, change...)
}

func startIn(t testing.TB, o plugintest.Options, change ...func(*group.Config)) *world {
	t.Helper()
	w := &world{messages: &plugintest.Messages{}, people: plugintest.NewPeople(alice, bob, carol, dave, erin)}
	p := group.New()
	c := p.Config().(*group.Config)
	c.ChangesPerMinute, c.ApplicationsPerHour = 0, 0
	for _, set := range change {
		set(c)
	}
	o.Plugins = []plugin.Plugin{p}
	o.Stubs = append(append(o.Stubs, w.people.Stubs()...), w.messages.Stub(), plugintest.Stub{Name: "social.relations", Service: relations})
	w.Host = plugintest.New(t, o)
	return w
}

func TestConformance(t *testing.T) {
	stubs := append(plugintest.NewPeople(alice).Stubs(), (&plugintest.Messages{}).Stub())
	plugintest.Conform(t, func() plugin.Plugin { return group.New() }, stubs...)
}

func TestConfigurationIsChecked(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*group.Config)
		field  string
	}{
		{"nobody but oneself", func(c *group.Config) { c.MaxMembers = 1 }, "group.max_members"},
		{"more than anybody has", func(c *group.Config) { c.MaxMembers = 200_001 }, "group.max_members"},
		{"more than write diffusion bears", func(c *group.Config) { c.WriteDiffusion = 2001 }, "group.write_diffusion"},
		{"in no group", func(c *group.Config) { c.MaxGroups = 0 }, "group.max_groups"},
		{"inviting whom", func(c *group.Config) { c.Invite = "all" }, "group.invite"},
		{"confirming when", func(c *group.Config) { c.Confirm = "" }, "group.confirm"},
		{"requests of a second", func(c *group.Config) { c.RequestLife = 1e9 }, "group.request_life"},
		{"none may wait", func(c *group.Config) { c.PendingOfGroup = 0 }, "group.pending_of_group"},
		{"none of a person's", func(c *group.Config) { c.PendingOfUser = 0 }, "group.pending_of_user"},
		{"negative creations", func(c *group.Config) { c.CreationsPerHour = -1 }, "group.creations_per_hour"},
		{"negative changes", func(c *group.Config) { c.ChangesPerMinute = -1 }, "group.changes_per_minute"},
		{"negative looks", func(c *group.Config) { c.LooksPerMinute = -1 }, "group.looks_per_minute"},
		{"negative answers", func(c *group.Config) { c.AnswersPerHour = -1 }, "group.answers_per_hour"},
		{"negative applications", func(c *group.Config) { c.ApplicationsPerHour = -1 }, "group.applications_per_hour"},
		{"no memory", func(c *group.Config) { c.CacheMembers = 0 }, "group.cache_members"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := group.New()
			test.change(p.Config().(*group.Config))
			_, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{p},
				Stubs: append(plugintest.NewPeople().Stubs(), (&plugintest.Messages{}).Stub())})
			if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Field != test.field {
				t.Errorf("got %v, want a refusal of %s", err, test.field)
			}
		})
	}
}

// TestFriendsOnlyTakesFriends has the plugin refuse to start where nobody knows who they are.
func TestFriendsOnlyTakesFriends(t *testing.T) {
	p := group.New()
	p.Config().(*group.Config).Invite = "friends"
	_, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: append(plugintest.NewPeople().Stubs(), (&plugintest.Messages{}).Stub())})
	if err == nil {
		t.Error("it started")
	}
}

func (w *world) as(u im.UserID) *plugintest.Session { return w.As(u, "device", idl.CodecProtobuf) }

// ask makes a call that must succeed.
func ask[Rep any, P interface {
	*Rep
	idl.Message
}](t testing.TB, w *world, u im.UserID, action idl.Action, req idl.Message) *Rep {
	t.Helper()
	rep := new(Rep)
	if err := w.as(u).Call(action, req, P(rep)); err != nil {
		t.Fatalf("%v by %d: %v", action, u, err)
	}
	return rep
}

// refuse makes a call that must be refused.
func refuse(t testing.TB, w *world, u im.UserID, action idl.Action, req idl.Message, code idl.Code, field string) {
	t.Helper()
	wantRefusal(t, w.as(u).Call(action, req, nil), code, field)
}

func wantRefusal(t testing.TB, err error, code idl.Code, field string) {
	t.Helper()
	refused, ok := errors.AsType[*im.Error](err)
	if !ok || refused.Code != code || refused.Field != field {
		t.Errorf("got %v, want %v of field %q", err, code, field)
	}
}

// create makes a group of alice's with some of her friends.
func create(t testing.TB, w *world, members ...im.UserID) int64 {
	t.Helper()
	return createBy(t, w, &grouppb.CreateGroupRequest{ClientId: "one", Name: "Climbing", UserIds: ids(members...)})
}

func createBy(t testing.TB, w *world, req *grouppb.CreateGroupRequest) int64 {
	t.Helper()
	return ask[grouppb.CreateGroupReply](t, w, alice, idl.ActionCreateGroup, req).Group.GroupId
}

func ids(users ...im.UserID) (all []int64) {
	for _, u := range users {
		all = append(all, int64(u))
	}
	return all
}

func conv(id int64) im.ConversationID { return im.ConversationID("g_" + im.UserID(id).String()) }

// send is what the chat plugin asks before somebody's message is committed.
func (w *world) send(u im.UserID, id int64) (plugin.Audience, error) {
	return w.messages.Owner(im.Group).Send(context.Background(), conv(id), u, plugin.Outgoing{Kind: "text"})
}

func (w *world) read(u im.UserID, id int64) (plugin.Reach, error) {
	return w.messages.Owner(im.Group).Read(context.Background(), conv(id), u)
}

// told are the names of what was posted since the first n.
func (w *world) told(n int) (names []string) {
	for _, p := range w.messages.Posts()[n:] {
		names = append(names, p.Name)
	}
	return names
}

// lastPost is the last event with its facts.
func (w *world) lastPost(t testing.TB) (plugin.Post, map[string]any) {
	t.Helper()
	all := w.messages.Posts()
	if len(all) == 0 {
		t.Fatal("nothing was posted")
	}
	p := all[len(all)-1]
	return p, factsOf(t, p.Data)
}

func factsOf(t testing.TB, data string) map[string]any {
	t.Helper()
	var f map[string]any
	if err := json.Unmarshal([]byte(data), &f); err != nil {
		t.Fatalf("data %q: %v", data, err)
	}
	return f
}

// filed are the notices since the last call, as "name: users".
func (w *world) filed(t testing.TB) map[string][]im.UserID {
	t.Helper()
	all := map[string][]im.UserID{}
	for _, e := range w.messages.Filed(t) {
		all[e.Name] = append(all[e.Name], e.Users...)
	}
	return all
}

func (w *world) members(t testing.TB, u im.UserID, id int64) (all []im.UserID) {
	t.Helper()
	for _, m := range ask[grouppb.GroupMembersReply](t, w, u, idl.ActionGroupMembers, &grouppb.GroupMembersRequest{GroupId: id}).Members {
		all = append(all, im.UserID(m.UserId))
	}
	return all
}

func wantEqual[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func personOf(u im.UserID) plugin.Person {
	return plugin.Person{User: u, Handle: "user" + u.String(), Nickname: "User " + u.String()}
}

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: did not happen", what)
		}
		pause, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		<-pause.Done()
		cancel()
	}
}

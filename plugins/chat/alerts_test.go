package chat_test

import (
	"context"
	"errors"
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
	"freeim/plugins/chat"
)

// phones stands for the account plugin: who has a phone that can be told.
type phones []im.UserID

func (p phones) PushTokens(_ context.Context, users []im.UserID, fn func(im.UserID, im.DeviceID, idl.DeviceType, string, string)) error {
	for _, u := range users {
		if slices.Contains(p, u) {
			fn(u, "phone", idl.DeviceMobile, "apns", "token of "+u.String())
		}
	}
	return nil
}

// quiet is a company whose members say how much they want to hear.
type quiet struct {
	*company
	levels map[im.UserID]plugin.Level
}

func (q *quiet) Provision(ctx context.Context, h plugin.Host) (err error) {
	if q.messages, err = plugin.Need[plugin.Messages](h, plugin.ServiceMessages); err == nil {
		q.messages.Own(im.Group, q)
		q.messages.Guard(q)
	}
	return err
}

func (q *quiet) Levels(_ context.Context, _ im.ConversationID, users []im.UserID) (map[im.UserID]plugin.Level, error) {
	found := map[im.UserID]plugin.Level{}
	for _, u := range users {
		if l := q.levels[u]; l > 0 {
			found[u] = l
		}
	}
	return found, nil
}

func (q *quiet) Silenced(_ context.Context, u im.UserID) ([]im.ConversationID, error) {
	if q.levels[u] == plugin.LevelNone {
		return []im.ConversationID{"g_1"}, nil
	}
	return nil, nil
}

// alerting is a host with a group, and everybody's phone.
type alerting struct {
	*plugintest.Host
	feeder               *feeder
	quiet                *quiet
	alices, bobs, carols *plugintest.Session
	service              plugin.Alerts
}

func newAlerting(t *testing.T) *alerting {
	t.Helper()
	a := &alerting{feeder: &feeder{}, quiet: &quiet{&company{members: []im.UserID{alice, bob, carol}, reach: map[im.UserID]plugin.Reach{}}, map[im.UserID]plugin.Level{}}}
	stubs := append(plugintest.NewPeople(alice, bob, carol).Stubs(), plugintest.Stub{Name: plugin.ServicePush, Service: phones{alice, bob}})
	a.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), a.quiet, a.feeder}, Stubs: stubs})
	a.alices, a.bobs, a.carols = a.As(alice, "phone", idl.CodecJSON), a.As(bob, "phone", idl.CodecProtobuf), a.As(carol, "phone", idl.CodecJSON)
	service, _ := a.Service(plugin.ServiceAlerts)
	a.service = service.(plugin.Alerts)
	return a
}

// all are the alerts about everything in a conversation's feed, as text.
func (a *alerting) all(t *testing.T, c im.ConversationID) []string {
	t.Helper()
	toldAll(t, a.Host)
	page, err := a.feeder.outbox.Fed(t.Context(), im.FeedOf(c), 0, 500)
	if err != nil {
		t.Fatal(err)
	}
	found, covered, err := a.service.Alerts(t.Context(), page.Items)
	if err != nil || covered != len(page.Items) {
		t.Fatalf("%d of %d items, %v", covered, len(page.Items), err)
	}
	out := []string{}
	for _, one := range found {
		text := fmt.Sprintf("%d %d %s %q badge %d", one.User, one.Seq, one.Kind, one.Text, one.Badge)
		if one.Silent {
			text += " silent"
		}
		if one.ExpiresMs > 0 {
			text += fmt.Sprintf(" for %d", one.ExpiresMs-one.TimeMs)
		}
		if one.Mention {
			text += " named"
		}
		if one.CollapseKey != string(c) || one.Conversation != c || one.Name != "User "+one.Sender.String() || page.Items[one.Position-1].ID.String() != one.MessageID ||
			len(one.Devices) != 1 || one.Devices[0] != (plugin.AlertDevice{Device: "phone", Type: "mobile", Provider: "apns", Token: "token of " + one.User.String()}) {
			t.Errorf("got %+v", one)
		}
		out = append(out, text)
	}
	return out
}

func (a *alerting) want(t *testing.T, c im.ConversationID, want ...string) {
	t.Helper()
	if got := a.all(t, c); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Who has not acknowledged, and may hear of it, is told of the newest; nobody else is.
func TestAlerts(t *testing.T) {
	ab := im.ChatOf(alice, bob)
	for name, test := range map[string]struct {
		do   func(t *testing.T, a *alerting)
		in   im.ConversationID // ab unless it says
		want []string
	}{
		"one for all that came, with what is unread": {func(t *testing.T, a *alerting) {
			send(t, a.alices, bob, "m1", "one")
			send(t, a.alices, bob, "m2", strings.Repeat("中", 300))
			send(t, a.carols, bob, "m1", "of another")
		}, "", []string{`100002 2 text "` + strings.Repeat("中", 200) + `…" badge 3`}},
		"not who has no device for it": {func(t *testing.T, a *alerting) { send(t, a.alices, carol, "m", "hi") }, im.ChatOf(alice, carol), nil},
		"not who wrote himself since": {func(t *testing.T, a *alerting) {
			send(t, a.alices, bob, "m1", "one")
			send(t, a.bobs, alice, "m", "yes")
		}, "", []string{`100001 2 text "yes" badge 1`}},
		"not what a device holds": {func(t *testing.T, a *alerting) {
			m := send(t, a.alices, bob, "m", "hi")
			must(t, a.bobs, idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: m.ConversationId, Seq: m.Seq})
		}, "", nil},
		"what came behind that": {func(t *testing.T, a *alerting) {
			m := send(t, a.alices, bob, "m", "hi")
			send(t, a.alices, bob, "m2", "more")
			must(t, a.bobs, idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: m.ConversationId, Seq: m.Seq})
		}, "", []string{`100002 2 text "more" badge 2`}},
		"not what was read": {func(t *testing.T, a *alerting) {
			m := send(t, a.alices, bob, "m", "hi")
			must(t, a.bobs, idl.ActionRead, &chatpb.ReadRequest{ConversationId: m.ConversationId, Seq: m.Seq})
		}, "", nil},
		"not what was recalled": {func(t *testing.T, a *alerting) {
			m := send(t, a.alices, bob, "m1", "stays")
			_ = m
			if _, err := recall(a.alices, send(t, a.alices, bob, "m2", "gone")); err != nil {
				t.Fatal(err)
			}
		}, "", []string{`100002 1 text "stays" badge 1`}},
		"not what has disappeared": {func(t *testing.T, a *alerting) {
			send(t, a.alices, bob, "m1", "stays")
			if _, err := settle(a.alices, ab, time.Minute); err != nil {
				t.Fatal(err)
			}
			send(t, a.alices, bob, "m2", "gone")
			a.Advance(time.Minute)
		}, "", []string{`100002 1 text "stays" badge 1`}},
		"when it disappears": {func(t *testing.T, a *alerting) {
			if _, err := settle(a.alices, ab, time.Minute); err != nil {
				t.Fatal(err)
			}
			toldAll(t, a.Host)
			send(t, a.alices, bob, "m", "hi")
		}, "", []string{`100002 2 text "hi" badge 1 for 60000`}},
		"how it reads now": {func(t *testing.T, a *alerting) {
			if _, err := edit(a.alices, send(t, a.alices, bob, "m", "before"), "after", 0); err != nil {
				t.Fatal(err)
			}
		}, "", []string{`100002 1 text "after" badge 1`}},
		"not what he deleted": {func(t *testing.T, a *alerting) {
			if _, err := update(a.bobs, &chatpb.UpdateConversationRequest{ConversationId: send(t, a.alices, bob, "m", "hi").ConversationId, Delete: true}); err != nil {
				t.Fatal(err)
			}
		}, "", nil},
		"muted without a sound": {func(t *testing.T, a *alerting) {
			if _, err := update(a.bobs, &chatpb.UpdateConversationRequest{ConversationId: send(t, a.alices, bob, "m", "hi").ConversationId, Mute: new(chatpb.Mute_MUTE_SILENT)}); err != nil {
				t.Fatal(err)
			}
		}, "", []string{`100002 1 text "hi" badge 1 silent`}},
		"muted, but named": {func(t *testing.T, a *alerting) {
			m := sends(t, a.alices, &chatpb.SendRequest{ClientId: "m", ToUserId: int64(bob), Text: "hi", Mentions: []int64{int64(bob)}})
			send(t, a.alices, bob, "m2", "more")
			if _, err := update(a.bobs, &chatpb.UpdateConversationRequest{ConversationId: m.ConversationId, Mute: new(chatpb.Mute_MUTE_SILENT)}); err != nil {
				t.Fatal(err)
			}
		}, "", []string{`100002 2 text "more" badge 2 named`}},
		"muted altogether": {func(t *testing.T, a *alerting) {
			m := sends(t, a.alices, &chatpb.SendRequest{ClientId: "m", ToUserId: int64(bob), Text: "hi", Mentions: []int64{int64(bob)}})
			if _, err := update(a.bobs, &chatpb.UpdateConversationRequest{ConversationId: m.ConversationId, Mute: new(chatpb.Mute_MUTE_NONE)}); err != nil {
				t.Fatal(err)
			}
		}, "", nil},
		"what is muted altogether is in no badge": {func(t *testing.T, a *alerting) {
			if _, err := update(a.bobs, &chatpb.UpdateConversationRequest{ConversationId: send(t, a.carols, bob, "m", "hi").ConversationId, Mute: new(chatpb.Mute_MUTE_NONE)}); err != nil {
				t.Fatal(err)
			}
			if _, err := sendTo(a.alices, "g_1", "g", "in the group"); err != nil {
				t.Fatal(err)
			}
			a.quiet.levels[bob] = plugin.LevelNone
			send(t, a.alices, bob, "m", "hi")
		}, "", []string{`100002 1 text "hi" badge 1`}},
		"what is hidden is in no badge": {func(t *testing.T, a *alerting) {
			if _, err := update(a.bobs, &chatpb.UpdateConversationRequest{ConversationId: send(t, a.carols, bob, "m", "hi").ConversationId, Hidden: new(true)}); err != nil {
				t.Fatal(err)
			}
			send(t, a.alices, bob, "m", "hi")
		}, "", []string{`100002 1 text "hi" badge 1`}},
		"not what a block keeps from him": {func(t *testing.T, a *alerting) {
			a.quiet.set(func() {
				a.quiet.guard = func(_, to im.UserID) error { return map[im.UserID]error{bob: plugin.ErrUnseen}[to] }
			})
			send(t, a.alices, bob, "m", "hi")
		}, "", nil},
		"nor of whom he blocked since": {func(t *testing.T, a *alerting) {
			send(t, a.alices, bob, "m", "hi")
			a.quiet.set(func() { a.quiet.guard = func(_, to im.UserID) error { return errOut } })
		}, "", nil},
		"commands are for programs": {func(t *testing.T, a *alerting) {
			sends(t, a.alices, &chatpb.SendRequest{ClientId: "m", ToUserId: int64(bob), Kind: chatpb.MessageKind_MESSAGE_KIND_COMMAND, Payload: &chatpb.Payload{Name: "x"}})
		}, "", nil},
		"a group": {func(t *testing.T, a *alerting) {
			if _, err := sendTo(a.carols, "g_1", "g", "to all"); err != nil {
				t.Fatal(err)
			}
			a.quiet.levels[alice] = plugin.LevelSilent
		}, "g_1", []string{`100001 1 text "to all" badge 1 silent`, `100002 1 text "to all" badge 1`}},
		"of a group nobody who left, or came later": {func(t *testing.T, a *alerting) {
			if _, err := sendTo(a.carols, "g_1", "g", "to all"); err != nil {
				t.Fatal(err)
			}
			a.quiet.set(func() { a.quiet.members, a.quiet.reach[bob] = []im.UserID{bob, carol}, plugin.Reach{After: 1} })
		}, "g_1", nil},
		"in a group that is quiet to him": {func(t *testing.T, a *alerting) {
			if _, err := sendTo(a.alices, "g_1", "g", "to all"); err != nil {
				t.Fatal(err)
			}
			a.quiet.levels[bob] = plugin.LevelNone
		}, "g_1", nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAlerting(t)
			test.do(t, a)
			in := test.in
			if in == "" {
				in = ab
			}
			a.want(t, in, test.want...)
		})
	}
}

// crowd is a company whose members are too many for inboxes.
type crowd struct{ *quiet }

func (c crowd) Provision(_ context.Context, h plugin.Host) (err error) {
	if c.messages, err = plugin.Need[plugin.Messages](h, plugin.ServiceMessages); err == nil {
		c.messages.Own(im.Group, c)
	}
	return err
}

func (c crowd) Members(context.Context, im.ConversationID) (plugin.Audience, error) {
	return plugin.Audience{Log: true}, nil
}

// shrunk is a crowd that has few members again.
type shrunk struct{ crowd }

func (c shrunk) Provision(_ context.Context, h plugin.Host) (err error) {
	if c.messages, err = plugin.Need[plugin.Messages](h, plugin.ServiceMessages); err == nil {
		c.messages.Own(im.Group, c)
	}
	return err
}

func (c shrunk) Few(context.Context, im.ConversationID) ([]im.UserID, bool, error) {
	return []im.UserID{alice, bob, carol}, true, nil
}

// In a group that was too large, and has few members again, all hear.
func TestAlertsOfFewMembersAgain(t *testing.T) {
	c := shrunk{crowd{&quiet{&company{members: []im.UserID{alice, bob, carol}, reach: map[im.UserID]plugin.Reach{}}, map[im.UserID]plugin.Level{}}}}
	f := &feeder{}
	stubs := append(plugintest.NewPeople(alice, bob, carol).Stubs(), plugintest.Stub{Name: plugin.ServicePush, Service: phones{alice, bob}})
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), c, f}, Stubs: stubs})
	sends(t, h.As(carol, "phone", idl.CodecJSON), &chatpb.SendRequest{ClientId: "m", ConversationId: "g_1", Text: "hi"})
	page, err := f.outbox.Fed(t.Context(), im.FeedOf("g_1"), 0, 500)
	if err != nil {
		t.Fatal(err)
	}
	service, _ := h.Service(plugin.ServiceAlerts)
	found, _, err := service.(plugin.Alerts).Alerts(t.Context(), page.Items)
	if err != nil || len(found) != 2 || found[0].User != alice || found[1].User != bob {
		t.Errorf("got %+v, %v", found, err)
	}
}

// In a group that is too large only those hear whom messages name, whichever of them does.
func TestAlertsOfManyMembers(t *testing.T) {
	c := crowd{&quiet{&company{members: []im.UserID{alice, bob, carol}, reach: map[im.UserID]plugin.Reach{}}, map[im.UserID]plugin.Level{}}}
	f := &feeder{}
	stubs := append(plugintest.NewPeople(alice, bob, carol).Stubs(), plugintest.Stub{Name: plugin.ServicePush, Service: phones{alice, bob}})
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), c, f}, Stubs: stubs})
	carols := h.As(carol, "phone", idl.CodecJSON)
	for i, mentions := range [][]int64{nil, {int64(alice)}, nil, {int64(bob), int64(alice)}, nil} {
		sends(t, carols, &chatpb.SendRequest{ClientId: fmt.Sprint("m", i), ConversationId: "g_1", Text: "hi", Mentions: mentions})
	}
	page, err := f.outbox.Fed(t.Context(), im.FeedOf("g_1"), 0, 500)
	if err != nil {
		t.Fatal(err)
	}
	service, _ := h.Service(plugin.ServiceAlerts)
	found, _, err := service.(plugin.Alerts).Alerts(t.Context(), page.Items)
	if err != nil || len(found) != 2 || found[0].User != alice || found[1].User != bob || !found[0].Mention || !found[1].Mention {
		t.Errorf("got %+v, %v", found, err)
	}
}

// must makes a call that must be accepted.
func must(t *testing.T, s *plugintest.Session, action idl.Action, req idl.Message) {
	t.Helper()
	if err := s.Call(action, req, nil); err != nil {
		t.Fatal(err)
	}
}

// One call looks at so many recipients, and says how far it came.
func TestAlertsAreBounded(t *testing.T) {
	a := newAlerting(t)
	members := []im.UserID{alice, bob}
	for u := im.UserID(200000); len(members) < 1500; u++ {
		members = append(members, u)
	}
	a.quiet.set(func() { a.quiet.members = members })
	var items []plugin.Fed
	for _, c := range []im.ConversationID{"g_1", "g_2", "g_3"} {
		if _, err := sendTo(a.alices, c, string(c), "to all"); err != nil {
			t.Fatal(err)
		}
		page, err := a.feeder.outbox.Fed(t.Context(), im.FeedOf(c), 0, 500)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, page.Items[len(page.Items)-1])
	}
	for left := items; len(left) > 0; {
		found, covered, err := a.service.Alerts(t.Context(), left)
		if err != nil || covered != 1 || len(found) != 1 || found[0].User != bob {
			t.Fatalf("got %+v, %d items, %v", found, covered, err)
		}
		left = left[covered:]
	}
	if found, covered, err := a.service.Alerts(t.Context(), nil); len(found) != 0 || covered != 0 || err != nil {
		t.Errorf("got %v, %d, %v", found, covered, err)
	}
}

// TestBadgesOfManyUnread: however long somebody was away, an alert takes one step with his list, and the next one another.
func TestBadgesOfManyUnread(t *testing.T) {
	a := newAlerting(t)
	const many = 1100
	for i := range many {
		send(t, a.alices, bob, fmt.Sprint(i), "hi")
	}
	page, err := a.feeder.outbox.Fed(t.Context(), im.FeedOf(im.ChatOf(alice, bob)), many-1, 5)
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("got %d items, %v", len(page.Items), err)
	}
	for _, want := range []int64{500, 1000, many, many} {
		found, _, err := a.service.Alerts(t.Context(), page.Items)
		if err != nil || len(found) != 1 || found[0].Badge != want {
			t.Fatalf("got %+v, %v, want a badge of %d", found, err, want)
		}
	}
}

// Where nobody knows devices there is nothing to do; a store that fails fails the call.
func TestAlertsWithout(t *testing.T) {
	f := &feeder{}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), f}, Stubs: []plugintest.Stub{directory}})
	send(t, h.As(alice, "phone", idl.CodecJSON), bob, "m", "hi")
	page, err := f.outbox.Fed(t.Context(), im.FeedOf(im.ChatOf(alice, bob)), 0, 5)
	if err != nil {
		t.Fatal(err)
	}
	service, _ := h.Service(plugin.ServiceAlerts)
	if found, covered, err := service.(plugin.Alerts).Alerts(t.Context(), page.Items); len(found) != 0 || covered != 1 || err != nil {
		t.Errorf("got %v, %d, %v", found, covered, err)
	}
	a := newAlerting(t)
	send(t, a.alices, bob, "m", "hi")
	if page, err = a.feeder.outbox.Fed(t.Context(), im.FeedOf(im.ChatOf(alice, bob)), 0, 5); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := a.service.Alerts(ctx, page.Items); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"freeim/bench/cluster"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
)

// TestAccounts is a person's account in every form, over two edges: a profile that is changed
// on one device and told to the other, the search for people, a new password, a copy of
// what is kept, leaving and coming back.
func TestAccounts(t *testing.T) {
	c, err := cluster.Start(t.Context(), cluster.Options{Dir: t.TempDir(), Edges: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	for i, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			a := &accountStory{t: t, ctx: ctx, name: fmt.Sprint("alice", i), here: form.options(c.Edges[0]), there: form.options(c.Edges[1])}
			a.run()
		})
	}
}

type accountStory struct {
	t           *testing.T
	ctx         context.Context
	name        string
	here, there client.Options
}

func (a *accountStory) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// on signs a device in and passes Auth; the names of its events come by the channel.
func (a *accountStory) on(o client.Options, secret, device string, kind idl.DeviceType) (*client.Client, <-chan string) {
	a.t.Helper()
	told := make(chan string, 64)
	o.OnPush = func(p client.Push) {
		var entry chatpb.InboxEntry
		if p.Action == idl.ActionMessage && p.Decode(&entry) == nil {
			told <- entry.Message.GetEvent()
		}
	}
	conn, err := client.Dial(a.ctx, o)
	a.must(err)
	a.t.Cleanup(func() { conn.Close() })
	in, err := conn.SignIn(a.ctx, a.name, secret, &accountpb.Device{Id: device, Type: kind, Client: "story 1"})
	a.must(err)
	_, err = conn.Auth(a.ctx, in.Token)
	a.must(err)
	return conn, told
}

// event waits for one.
func (a *accountStory) event(told <-chan string, want string) {
	a.t.Helper()
	for {
		select {
		case name := <-told:
			if name == want {
				return
			}
		case <-a.ctx.Done():
			a.t.Fatalf("no event %s", want)
		}
	}
}

func (a *accountStory) run() {
	const next = "battery staple"
	one, err := signUp(a.ctx, a.here, a.name)
	a.must(err)
	phone, _ := a.on(a.here, password, "phone", idl.DeviceMobile)
	desk, told := a.on(a.there, password, "desk", idl.DeviceDesktop)

	changed, err := phone.UpdateProfile(a.ctx, &accountpb.UpdateProfileRequest{Nickname: new("Zoë 🦊"), Handle: new("h." + a.name), City: new("Oslo")})
	a.must(err)
	a.event(told, "account.profile")
	seen, err := desk.Profiles(a.ctx, one.id)
	a.must(err)
	if changed.Nickname != "Zoë 🦊" || len(seen) != 1 || seen[0].City != "Oslo" || seen[0].Birthday != "" {
		a.t.Errorf("changed to %+v, others see %+v", changed, seen)
	}
	if _, err := phone.UpdateProfile(a.ctx, &accountpb.UpdateProfileRequest{Birthday: new("2999-01-01")}); client.CodeOf(err) != idl.CodeInvalidArgument {
		a.t.Errorf("born in the future: %v", err)
	}
	for _, query := range []string{"h." + a.name, a.name, "zoe\u0308"} {
		found, err := desk.SearchUsers(a.ctx, &accountpb.SearchRequest{Query: query, Limit: 50})
		a.must(err)
		if len(found.People) == 0 || query != "zoe\u0308" && found.People[0].UserId != one.id {
			a.t.Errorf("search for %q: %+v", query, found.People)
		}
	}

	ended, err := phone.ChangePassword(a.ctx, password, next, false)
	a.must(err)
	if len(ended) != 1 || ended[0] != "desk" {
		a.t.Errorf("ended %q", ended)
	}
	select {
	case <-desk.Done():
	case <-a.ctx.Done():
		a.t.Fatal("the other device stays")
	}
	a.must(phone.SetPushToken(a.ctx, "apns", a.name))
	devices, err := phone.Devices(a.ctx)
	a.must(err)
	if len(devices) != 1 || devices[0].Device.Client != "story 1" || devices[0].Address == "" || !devices[0].Push {
		a.t.Errorf("devices: %+v", devices)
	}
	kept, err := phone.Export(a.ctx)
	a.must(err)
	var own struct {
		Account, Nickname string
	}
	if err := json.Unmarshal(kept["account"], &own); err != nil || own.Account != a.name || own.Nickname != "Zoë 🦊" {
		a.t.Errorf("the copy has %s, %v", kept["account"], err)
	}

	at, err := phone.DeleteAccount(a.ctx, &accountpb.DeleteRequest{Password: next})
	a.must(err)
	if at == 0 {
		a.t.Error("nothing says when")
	}
	back, _ := a.on(a.there, next, "desk", idl.DeviceDesktop)
	if profile, err := back.Profile(a.ctx); err != nil || profile.Nickname != "Zoë 🦊" {
		a.t.Errorf("back: %+v, %v", profile, err)
	}
}

package account_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

// hoard is another plugin's Holdings.
type hoard struct {
	mu     sync.Mutex
	erased []im.UserID
	fail   error
	panics bool
	keeps  any
	asked  chan chan struct{} // nil, or gets what each Export then waits for
}

func (h *hoard) Export(ctx context.Context, _ im.UserID) (any, error) {
	if h.asked != nil {
		goOn := make(chan struct{})
		h.asked <- goOn
		select {
		case <-goOn:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return h.keeps, h.fail
}

func (h *hoard) Erase(_ context.Context, u im.UserID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.panics {
		panic("planted fault")
	}
	if h.fail == nil {
		h.erased = append(h.erased, u)
	}
	return h.fail
}

// hold gives the host's holdings another plugin's.
func hold(t *testing.T, h *plugintest.Host, of *hoard) {
	t.Helper()
	service, _ := h.Service(plugin.ServiceHoldings)
	service.(plugin.HoldingsOf).Hold("other", of)
}

func leave(s *plugintest.Session, secret string, deactivate bool) (*accountpb.DeleteReply, error) {
	rep := &accountpb.DeleteReply{}
	return rep, s.Call(idl.ActionDeleteAccount, &accountpb.DeleteRequest{Password: secret, Deactivate: deactivate}, rep)
}

// seen says whether bob finds and sees alice.
func seen(t *testing.T, bob *plugintest.Session, alice im.UserID) bool {
	t.Helper()
	var rep accountpb.ProfileReply
	if err := bob.Call(idl.ActionProfile, &accountpb.ProfileRequest{UserIds: []int64{int64(alice)}}, &rep); err != nil {
		t.Fatal(err)
	}
	found := len(pages(t, bob, "alice", 5)) == 1
	err := bob.Call(idl.ActionFindUser, &accountpb.FindUserRequest{Account: "alice"}, nil)
	if found != (len(rep.Profiles) == 1) || found != (err == nil) {
		t.Errorf("found %v, profiles %v, find_user %v", found, rep.Profiles, err)
	}
	return found
}

func TestLeaving(t *testing.T) {
	const grace = 30 * 24 * time.Hour
	for _, test := range []struct {
		name       string
		deactivate bool
		after      time.Duration // until the next sign-in
		erased     bool          // by then
	}{
		{"deactivated, back at once", true, 0, false},
		{"deactivated, back after years", true, 10 * 365 * 24 * time.Hour, false},
		{"deleted, back at once", false, 0, false},
		{"deleted, back in time", false, grace - time.Millisecond, false},
		{"deleted, back too late", false, grace, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, others := account.Cheap(), &hoard{}
			h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}})
			hold(t, h, others)
			alice, bob := signUp(t, h, "alice"), h.As(signUp(t, h, "bob"), "b", idl.CodecJSON)
			phone, desk := online(t, h, "alice", "phone", idl.DeviceMobile), online(t, h, "alice", "desk", idl.DeviceDesktop)
			rep, err := leave(phone, password, test.deactivate)
			if err != nil {
				t.Fatal(err)
			}
			if want := h.Now().Add(grace).UnixMilli(); !test.deactivate && rep.EraseMs != want || test.deactivate && rep.EraseMs != 0 {
				t.Errorf("erased at %d, want %d", rep.EraseMs, want)
			}
			wantClosed(t, "phone", phone, idl.CloseSignedOut)
			wantClosed(t, "desk", desk, idl.CloseSignedOut)
			if seen(t, bob, alice) {
				t.Error("one who has left is seen")
			}
			h.Advance(test.after)
			if err := p.EraseDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := len(others.erased) == 1 && others.erased[0] == alice; got != test.erased {
				t.Errorf("erased %v, want %v", others.erased, test.erased)
			}
			_, err = signIn(h, "alice", "web", idl.DeviceWeb)
			if test.erased {
				wantRefusal(t, err, idl.CodeBadCredentials, "")
				return
			}
			if err != nil {
				t.Fatalf("back: %v", err)
			}
			if !seen(t, bob, alice) {
				t.Error("one who came back is not seen")
			}
			h.Advance(2 * grace)
			if err := p.EraseDue(t.Context()); err != nil || len(others.erased) > 0 {
				t.Errorf("erased %v though he came back, %v", others.erased, err)
			}
		})
	}
}

func TestDeleteRefusals(t *testing.T) {
	h := start(t, func(c *account.Config) { c.FailuresPerMinute = 2 })
	signUp(t, h, "alice")
	phone := online(t, h, "alice", "phone", idl.DeviceMobile)
	_, err := leave(phone, "", false)
	wantRefusal(t, err, idl.CodeInvalidArgument, "password")
	for range 2 {
		_, err = leave(phone, "wrong horse", true)
		wantRefusal(t, err, idl.CodeBadCredentials, "")
	}
	_, err = leave(phone, password, false)
	if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Code != idl.CodeRateLimited || refused.RetryAfter <= 0 {
		t.Errorf("got %v, want to be told when to try again", err)
	}
	wantClosed(t, "phone", phone, 0)
}

// TestErasedPeople: nothing of them is left but the ID, and their names are kept for a while.
func TestErasedPeople(t *testing.T) {
	p := account.Cheap(func(c *account.Config) { c.NameReserved = 24 * time.Hour })
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}})
	alice := signUp(t, h, "alice")
	phone := online(t, h, "alice", "phone", idl.DeviceMobile)
	if _, err := update(phone, &accountpb.UpdateProfileRequest{Nickname: new("Al"), Handle: new("foxy"), City: new("Oslo")}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(phone.Call(idl.ActionExport, &accountpb.ExportRequest{}, nil), setPush(phone, "apns", "aa")); err != nil {
		t.Fatal(err)
	}
	if _, err := leave(phone, password, false); err != nil {
		t.Fatal(err)
	}
	h.Advance(30 * 24 * time.Hour)
	if err := p.EraseDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string]int{"account_profiles": 0, "account_devices": 0, "account_exports": 0, "account_reserved": 2, "account_users": 1} {
		if n := count(t, h, "SELECT count(*) FROM "+table); n != want {
			t.Errorf("%s has %d rows, want %d", table, n, want)
		}
	}
	if n := count(t, h, "SELECT count(*) FROM account_users WHERE name LIKE '%alice%' OR nickname <> '' OR password <> ''"); n != 0 {
		t.Error("the row says who it was")
	}
	service, _ := h.Service(plugin.ServicePeople)
	if got, err := service.(plugin.People).People(t.Context(), []im.UserID{alice}); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
	late := h.As(alice, "late", idl.CodecJSON) // a session that has not heard yet
	_, err := update(late, &accountpb.UpdateProfileRequest{Handle: new("ghost")})
	wantRefusal(t, err, idl.CodeNotFound, "")
	bob := h.As(signUp(t, h, "bob"), "b", idl.CodecJSON)
	var profiles accountpb.ProfileReply
	if err := bob.Call(idl.ActionProfile, &accountpb.ProfileRequest{UserIds: []int64{int64(alice)}}, &profiles); err != nil || len(profiles.Profiles) != 0 {
		t.Errorf("got %v, %v", profiles.Profiles, err)
	}
	wantRefusal(t, bob.Call(idl.ActionFindUser, &accountpb.FindUserRequest{UserId: int64(alice)}, nil), idl.CodeNotFound, "")
	try := func(name string) error {
		return h.Connect(idl.CodecJSON).Call(idl.ActionSignUp, &accountpb.SignUpRequest{Account: name, Password: password}, nil)
	}
	wantRefusal(t, try("alice"), idl.CodeAlreadyExists, "account")
	wantRefusal(t, try("foxy"), idl.CodeAlreadyExists, "account")
	h.Advance(24 * time.Hour)
	if err := p.EraseDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, h, "SELECT count(*) FROM account_reserved"); n != 0 {
		t.Errorf("%d names are kept after their time", n)
	}
	if again := signUp(t, h, "alice"); again == alice {
		t.Error("the user ID was given again")
	}
}

// TestPluginsThatCannotErase are asked again, and meanwhile nothing takes it back.
func TestPluginsThatCannotErase(t *testing.T) {
	for _, test := range []struct {
		name  string
		hoard *hoard
	}{{"an error", &hoard{fail: errors.New("away")}}, {"a panic", &hoard{panics: true}}} {
		t.Run(test.name, func(t *testing.T) {
			p := account.Cheap(func(c *account.Config) { c.DeleteGrace = 0 })
			h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}})
			hold(t, h, test.hoard)
			alice := signUp(t, h, "alice")
			if _, err := leave(online(t, h, "alice", "phone", idl.DeviceMobile), password, false); err != nil {
				t.Fatal(err)
			}
			erase := func() {
				t.Helper()
				if err := p.EraseDue(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			erase()
			_, err := signIn(h, "alice", "web", idl.DeviceWeb)
			wantRefusal(t, err, idl.CodeBadCredentials, "")
			test.hoard.fail, test.hoard.panics = nil, false
			erase()
			if len(test.hoard.erased) != 0 {
				t.Error("asked again at once, as another core might be busy with it")
			}
			h.Advance(10 * time.Minute)
			erase()
			erase()
			if !reflect.DeepEqual(test.hoard.erased, []im.UserID{alice}) {
				t.Errorf("erased %v", test.hoard.erased)
			}
		})
	}
}

// TestComingBackRacesTheEraser: either he is back, or he is erased.
func TestComingBackRacesTheEraser(t *testing.T) {
	p, others := account.Cheap(func(c *account.Config) { c.DeleteGrace, c.FailuresPerMinute = 0, 100 }), &hoard{}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}})
	hold(t, h, others)
	for round := range 20 {
		name := "alice" + string(rune('a'+round))
		signUp(t, h, name)
		if _, err := leave(online(t, h, name, "phone", idl.DeviceMobile), password, false); err != nil {
			t.Fatal(err)
		}
		before := len(others.erased)
		var wg sync.WaitGroup
		var eraseErr, backErr error
		wg.Go(func() { eraseErr = p.EraseDue(t.Context()) })
		wg.Go(func() { _, backErr = signIn(h, name, "web", idl.DeviceWeb) })
		wg.Wait()
		erased := len(others.erased) > before
		if eraseErr != nil || erased == (backErr == nil) {
			t.Fatalf("round %d: erased %v (%v), sign-in %v", round, erased, eraseErr, backErr)
		}
	}
}

// TestExportsAtOnce: copies, which are in memory whole, are made two at a time.
func TestExportsAtOnce(t *testing.T) {
	h, others := start(t), &hoard{asked: make(chan chan struct{})}
	hold(t, h, others)
	var made []chan error
	var goOn []chan struct{}
	for _, name := range []string{"alice", "bob"} {
		s, done := h.As(signUp(t, h, name), "phone", idl.CodecJSON), make(chan error, 1)
		go func() { done <- s.Call(idl.ActionExport, &accountpb.ExportRequest{}, nil) }()
		goOn, made = append(goOn, <-others.asked), append(made, done)
	}
	carol := h.As(signUp(t, h, "carol"), "phone", idl.CodecJSON)
	for range 5 { // and they cost carol nothing
		wantRefusal(t, carol.Call(idl.ActionExport, &accountpb.ExportRequest{}, nil), idl.CodeUnavailable, "")
	}
	for i, done := range made {
		close(goOn[i])
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	go func() { close(<-others.asked) }()
	if err := carol.Call(idl.ActionExport, &accountpb.ExportRequest{}, nil); err != nil {
		t.Errorf("behind them: %v", err)
	}
}

func TestExport(t *testing.T) {
	h := start(t)
	long := strings.Repeat("长🦊\"", 20_000)
	others := &hoard{keeps: map[string]string{"text": long}}
	hold(t, h, others)
	alice := signUp(t, h, "alice")
	s := online(t, h, "alice", "phone", idl.DeviceMobile)
	ask := func(req *accountpb.ExportRequest) *accountpb.ExportReply {
		t.Helper()
		rep := &accountpb.ExportReply{}
		if err := s.Call(idl.ActionExport, req, rep); err != nil {
			t.Fatal(err)
		}
		return rep
	}
	contents := ask(&accountpb.ExportRequest{})
	kept := map[string]string{}
	for _, c := range contents.Contents {
		for part := range c.Parts {
			text := ask(&accountpb.ExportRequest{MadeMs: contents.MadeMs, Plugin: c.Plugin, Part: part}).Json
			if len(text) > 16<<10 {
				t.Errorf("a part of %d octets", len(text))
			}
			kept[c.Plugin] += text
		}
		if len(kept[c.Plugin]) != int(c.Octets) {
			t.Errorf("%s has %d octets, the contents say %d", c.Plugin, len(kept[c.Plugin]), c.Octets)
		}
	}
	var own struct {
		UserID  int64 `json:"user_id"`
		Account string
		Devices []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(kept["account"]), &own); err != nil || own.UserID != int64(alice) || own.Account != "alice" || len(own.Devices) != 1 {
		t.Errorf("got %s, %v", kept["account"], err)
	}
	var other map[string]string
	if err := json.Unmarshal([]byte(kept["other"]), &other); err != nil || other["text"] != long {
		t.Errorf("the other plugin's: %v", err)
	}
	for _, secret := range []string{"token", "argon2", "password\":\""} {
		if strings.Contains(kept["account"], secret) {
			t.Errorf("the copy has a secret: %s", secret)
		}
	}

	others.keeps = "new"
	h.Advance(24*time.Hour - time.Millisecond)
	if again := ask(&accountpb.ExportRequest{}); again.MadeMs != contents.MadeMs {
		t.Error("another copy was made within a day")
	}
	h.Advance(time.Millisecond)
	if again := ask(&accountpb.ExportRequest{}); again.MadeMs == contents.MadeMs || again.Contents[1].Octets != int64(len(`"new"`)) {
		t.Errorf("got %+v", again)
	}

	bob := h.As(signUp(t, h, "bob"), "b", idl.CodecJSON)
	for _, test := range []struct {
		name  string
		req   *accountpb.ExportRequest
		code  idl.Code
		field string
	}{
		{"another person's copy", &accountpb.ExportRequest{MadeMs: contents.MadeMs, Plugin: "account"}, idl.CodeNotFound, ""},
		{"no plugin", &accountpb.ExportRequest{MadeMs: contents.MadeMs}, idl.CodeInvalidArgument, "plugin"},
		{"no such part", &accountpb.ExportRequest{Plugin: "account", Part: 9}, idl.CodeNotFound, ""},
	} {
		t.Run(test.name, func(t *testing.T) { wantRefusal(t, bob.Call(idl.ActionExport, test.req, nil), test.code, test.field) })
	}
	others.fail = errors.New("away")
	for range 4 {
		wantRefusal(t, bob.Call(idl.ActionExport, &accountpb.ExportRequest{}, nil), idl.CodeUnavailable, "")
	}
	err := bob.Call(idl.ActionExport, &accountpb.ExportRequest{}, nil)
	if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Code != idl.CodeRateLimited || refused.RetryAfter <= 0 {
		t.Errorf("got %v, want to be told when to try again", err)
	}
}

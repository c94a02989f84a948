package account_test

import (
	"context"
	"database/sql"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

// told is a Messages that keeps the events whose transactions were committed, as far as
// the test says.
type told struct {
	plugin.Messages // of which no more is called

	mu        sync.Mutex
	events    []plugin.Event
	delivered int
	fail      error
}

func (*told) Own(im.ConversationType, plugin.ConversationOwner) {}
func (*told) Guard(plugin.ChatGuard)                            {}
func (*told) Follows(context.Context, im.UserID) (bool, error)  { return false, nil }

func (*told) Post(context.Context, plugin.Post) (timeline.Committed, error) {
	return timeline.Committed{}, errors.New("not expected")
}

func (t *told) File(_ context.Context, _ *sql.Tx, events ...plugin.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, events...)
	return t.fail
}

func (t *told) Deliver() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.delivered++
}

// withMessages is start with a stub for the chat plugin's service.
func withMessages(t *testing.T, changes ...func(*account.Config)) (*plugintest.Host, *told) {
	t.Helper()
	messages := &told{}
	return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{account.Cheap(changes...)},
		Stubs: []plugintest.Stub{{Name: plugin.ServiceMessages, Service: messages}}}), messages
}

func own(t *testing.T, s *plugintest.Session) *accountpb.Profile {
	t.Helper()
	var rep accountpb.ProfileReply
	if err := s.Call(idl.ActionProfile, &accountpb.ProfileRequest{}, &rep); err != nil || len(rep.Profiles) != 1 {
		t.Fatalf("own profile: got %v, %v", rep.Profiles, err)
	}
	return rep.Profiles[0]
}

func update(s *plugintest.Session, req *accountpb.UpdateProfileRequest) (*accountpb.Profile, error) {
	var rep accountpb.UpdateProfileReply
	err := s.Call(idl.ActionUpdateProfile, req, &rep)
	return rep.Profile, err
}

func TestProfileOfANewPerson(t *testing.T) {
	h := start(t)
	alice := signUp(t, h, "alice")
	want := &accountpb.Profile{UserId: int64(alice), Account: "alice", Nickname: "alice", CreatedMs: h.Now().UnixMilli(),
		FoundByHandle: true, FoundByAccount: true, FoundByNickname: true}
	if got := own(t, h.As(alice, "phone", idl.CodecJSON)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestUpdateProfileFields(t *testing.T) {
	long := strings.Repeat("长", 201)
	for _, test := range []struct {
		name  string
		req   *accountpb.UpdateProfileRequest
		field string // that is refused
		want  func(*accountpb.Profile)
	}{
		{"nothing", &accountpb.UpdateProfileRequest{}, "", func(*accountpb.Profile) {}},
		{"nickname", &accountpb.UpdateProfileRequest{Nickname: new("  Zoe\u0308 🦊 ")}, "", func(p *accountpb.Profile) { p.Nickname = "Zo\u00eb 🦊" }},
		{"right to left", &accountpb.UpdateProfileRequest{Nickname: new("أليس")}, "", func(p *accountpb.Profile) { p.Nickname = "أليس" }},
		{"empty nickname", &accountpb.UpdateProfileRequest{Nickname: new("")}, "nickname", nil},
		{"blank nickname", &accountpb.UpdateProfileRequest{Nickname: new(" \u3000 ")}, "nickname", nil},
		{"64 characters", &accountpb.UpdateProfileRequest{Nickname: new(long[:3*64])}, "", func(p *accountpb.Profile) { p.Nickname = long[:3*64] }},
		{"65 characters", &accountpb.UpdateProfileRequest{Nickname: new(long[:3*65])}, "nickname", nil},
		{"10,000 characters", &accountpb.UpdateProfileRequest{Nickname: new(strings.Repeat("x", 10_000))}, "nickname", nil},
		{"control in a nickname", &accountpb.UpdateProfileRequest{Nickname: new("a\x1b[2J")}, "nickname", nil},
		{"override of direction", &accountpb.UpdateProfileRequest{Nickname: new("a\u202eb")}, "nickname", nil},
		{"avatar", &accountpb.UpdateProfileRequest{Avatar: new("https://pics.example/a.png?s=1")}, "", func(p *accountpb.Profile) { p.Avatar = "https://pics.example/a.png?s=1" }},
		{"no file's ID as avatar", &accountpb.UpdateProfileRequest{Avatar: new("file:7Q2")}, "avatar", nil},
		{"a file where there are none", &accountpb.UpdateProfileRequest{Avatar: new("file:ABCDEFGHJKLMNPQRSTUVWXYZ23")}, "avatar", nil},
		{"no avatar", &accountpb.UpdateProfileRequest{Avatar: new("")}, "", func(p *accountpb.Profile) { p.Avatar = "" }},
		{"script as avatar", &accountpb.UpdateProfileRequest{Avatar: new("javascript:alert(1)")}, "avatar", nil},
		{"local file as avatar", &accountpb.UpdateProfileRequest{Avatar: new("file:///etc/passwd")}, "avatar", nil},
		{"file without ID", &accountpb.UpdateProfileRequest{Avatar: new("file:")}, "avatar", nil},
		{"data as avatar", &accountpb.UpdateProfileRequest{Avatar: new("data:image/png;base64,AAAA")}, "avatar", nil},
		{"no host", &accountpb.UpdateProfileRequest{Avatar: new("https:///a.png")}, "avatar", nil},
		{"password in the avatar", &accountpb.UpdateProfileRequest{Avatar: new("https://u:p@pics.example/a")}, "avatar", nil},
		{"markup in the avatar", &accountpb.UpdateProfileRequest{Avatar: new(`https://pics.example/"onload="x`)}, "avatar", nil},
		{"long avatar", &accountpb.UpdateProfileRequest{Avatar: new("https://pics.example/" + strings.Repeat("a", 500))}, "avatar", nil},
		{"gender", &accountpb.UpdateProfileRequest{Gender: new(accountpb.Gender_GENDER_OTHER)}, "", func(p *accountpb.Profile) { p.Gender = 3 }},
		{"no such gender", &accountpb.UpdateProfileRequest{Gender: new(accountpb.Gender(4))}, "gender", nil},
		{"birthday", &accountpb.UpdateProfileRequest{Birthday: new("2000-02-29")}, "", func(p *accountpb.Profile) { p.Birthday = "2000-02-29" }},
		{"today in Kiribati", &accountpb.UpdateProfileRequest{Birthday: new("2026-01-01")}, "", func(p *accountpb.Profile) { p.Birthday = "2026-01-01" }},
		{"no such day", &accountpb.UpdateProfileRequest{Birthday: new("2001-02-29")}, "birthday", nil},
		{"tomorrow", &accountpb.UpdateProfileRequest{Birthday: new("2026-01-02")}, "birthday", nil},
		{"long ago", &accountpb.UpdateProfileRequest{Birthday: new("1899-12-31")}, "birthday", nil},
		{"another form", &accountpb.UpdateProfileRequest{Birthday: new("1/2/2001")}, "birthday", nil},
		{"signature", &accountpb.UpdateProfileRequest{Signature: new(long[:600])}, "", func(p *accountpb.Profile) { p.Signature = long[:600] }},
		{"long signature", &accountpb.UpdateProfileRequest{Signature: new(long)}, "signature", nil},
		{"signature of two lines", &accountpb.UpdateProfileRequest{Signature: new("a\nb")}, "signature", nil},
		{"city", &accountpb.UpdateProfileRequest{City: new("上海")}, "", func(p *accountpb.Profile) { p.City = "上海" }},
		{"long city", &accountpb.UpdateProfileRequest{City: new(long[:3*65])}, "city", nil},
		{"language", &accountpb.UpdateProfileRequest{Language: new("ZH-hans-cn")}, "", func(p *accountpb.Profile) { p.Language = "zh-Hans-CN" }},
		{"no language", &accountpb.UpdateProfileRequest{Language: new("Elvish!")}, "language", nil},
		{"long language", &accountpb.UpdateProfileRequest{Language: new("en-" + strings.Repeat("x-", 40))}, "language", nil},
		{"handle", &accountpb.UpdateProfileRequest{Handle: new("@Alice_9.x")}, "", func(p *accountpb.Profile) {
			p.Handle, p.HandleChangeMs = "alice_9.x", time.Date(2026, 1, 8, 0, 0, 0, 0, time.UTC).UnixMilli()
		}},
		{"short handle", &accountpb.UpdateProfileRequest{Handle: new("al")}, "handle", nil},
		{"handle that begins with a digit", &accountpb.UpdateProfileRequest{Handle: new("9alice")}, "handle", nil},
		{"hyphen in a handle", &accountpb.UpdateProfileRequest{Handle: new("al-ice")}, "handle", nil},
		{"Cyrillic а", &accountpb.UpdateProfileRequest{Handle: new("аlice")}, "handle", nil},
		{"not to be found", &accountpb.UpdateProfileRequest{FoundByNickname: new(false), FoundByHandle: new(true)}, "", func(p *accountpb.Profile) { p.FoundByNickname = false }},
		{"one good, one bad", &accountpb.UpdateProfileRequest{Nickname: new("New"), City: new("a\x00")}, "city", nil},
	} {
		for _, codec := range codecs {
			t.Run(test.name+" in "+codec.String(), func(t *testing.T) {
				h, messages := withMessages(t)
				s := h.As(signUp(t, h, "alice"), "phone", codec)
				before := own(t, s)
				got, err := update(s, test.req)
				if test.field != "" {
					wantRefusal(t, err, idl.CodeInvalidArgument, test.field)
					if after := own(t, s); !reflect.DeepEqual(after, before) || len(messages.events) > 0 {
						t.Errorf("after the refusal: %+v, told %v", after, messages.events)
					}
					return
				}
				test.want(before)
				if err != nil || !reflect.DeepEqual(got, before) || !reflect.DeepEqual(own(t, s), before) {
					t.Errorf("got %+v, %v\nwant %+v", got, err, before)
				}
			})
		}
	}
}

func TestDevicesAreToldOfAChange(t *testing.T) {
	h, messages := withMessages(t)
	alice := signUp(t, h, "alice")
	s := h.As(alice, "phone", idl.CodecJSON)
	for range 2 { // the second changes nothing
		if _, err := update(s, &accountpb.UpdateProfileRequest{City: new("Oslo"), Language: new("nb"), FoundByHandle: new(false)}); err != nil {
			t.Fatal(err)
		}
	}
	want := []plugin.Event{{Users: []im.UserID{alice}, Actor: alice, Name: "account.profile", Data: `{"fields":["city","language","found_by"]}`}}
	if !reflect.DeepEqual(messages.events, want) || messages.delivered != 1 {
		t.Errorf("told %+v, delivered %d times", messages.events, messages.delivered)
	}
	messages.fail = errors.New("away")
	_, err := update(s, &accountpb.UpdateProfileRequest{City: new("Bergen")})
	wantRefusal(t, err, idl.CodeUnavailable, "")
	if got := own(t, s); got.City != "Oslo" {
		t.Errorf("changed to %q, though nobody can be told", got.City)
	}
}

func TestOthersSeeThePublicPart(t *testing.T) {
	h := start(t)
	alice, bob := signUp(t, h, "alice"), signUp(t, h, "bob")
	everything := &accountpb.UpdateProfileRequest{Nickname: new("Al"), Avatar: new("https://x.example/a"), Gender: new(accountpb.Gender_GENDER_FEMALE),
		Birthday: new("2000-01-01"), Signature: new("hi"), City: new("Rome"), Handle: new("al_x"), Language: new("it")}
	if _, err := update(h.As(alice, "phone", idl.CodecJSON), everything); err != nil {
		t.Fatal(err)
	}
	for _, codec := range codecs {
		s := h.As(bob, im.DeviceID(codec.String()), codec)
		ask := func(users ...int64) (rep accountpb.ProfileReply) {
			t.Helper()
			if err := s.Call(idl.ActionProfile, &accountpb.ProfileRequest{UserIds: users}, &rep); err != nil {
				t.Fatal(err)
			}
			return rep
		}
		rep := ask(int64(bob), int64(alice), int64(bob), 0, -1, 999_999)
		want := &accountpb.Profile{UserId: int64(alice), Account: "alice", Handle: "al_x", Nickname: "Al", Avatar: "https://x.example/a",
			Gender: accountpb.Gender_GENDER_FEMALE, Signature: "hi", City: "Rome"}
		if len(rep.Profiles) != 2 || rep.Profiles[0].UserId != int64(bob) || !reflect.DeepEqual(rep.Profiles[1], want) {
			t.Errorf("got %+v", rep.Profiles)
		}
		wantRefusal(t, s.Call(idl.ActionProfile, &accountpb.ProfileRequest{UserIds: make([]int64, 101)}, nil), idl.CodeInvalidArgument, "user_ids")
	}
	if _, err := update(h.As(alice, "phone2", idl.CodecJSON), &accountpb.UpdateProfileRequest{FoundByAccount: new(false)}); err != nil {
		t.Fatal(err)
	}
	var found accountpb.FindUserReply
	s := h.As(bob, "desk", idl.CodecJSON)
	wantRefusal(t, s.Call(idl.ActionFindUser, &accountpb.FindUserRequest{Account: "alice"}, nil), idl.CodeNotFound, "")
	if err := s.Call(idl.ActionFindUser, &accountpb.FindUserRequest{UserId: int64(alice)}, &found); err != nil || found.Account != "" || found.Nickname != "Al" {
		t.Errorf("by ID: got %+v, %v", &found, err)
	}
}

func TestHandlesHaveOneOwner(t *testing.T) {
	h, _ := withMessages(t)
	alice, bob := h.As(signUp(t, h, "alice"), "a", idl.CodecJSON), h.As(signUp(t, h, "bob"), "b", idl.CodecJSON)
	handle := func(s *plugintest.Session, name string) error {
		_, err := update(s, &accountpb.UpdateProfileRequest{Handle: &name})
		return err
	}
	if err := errors.Join(handle(alice, "fox"), handle(alice, "FOX")); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, handle(bob, "fox"), idl.CodeAlreadyExists, "handle")
	wantRefusal(t, handle(bob, "alice"), idl.CodeAlreadyExists, "handle") // another's account
	err := handle(alice, "wolf")
	wantRefusal(t, err, idl.CodeRateLimited, "handle")
	if refused, ok := errors.AsType[*im.Error](err); !ok || refused.RetryAfter != 7*24*time.Hour {
		t.Errorf("got %v, want to be told when", err)
	}
	h.Advance(7 * 24 * time.Hour)
	if err := errors.Join(handle(alice, "wolf"), handle(bob, "bob")); err != nil { // one's own account may be the handle too
		t.Fatal(err)
	}
	h.Advance(29 * 24 * time.Hour)
	wantRefusal(t, handle(bob, "fox"), idl.CodeAlreadyExists, "handle") // kept for alice
	wantSignUpTaken := func(name string) {
		t.Helper()
		req := &accountpb.SignUpRequest{Account: name, Password: password}
		wantRefusal(t, h.Connect(idl.CodecJSON).Call(idl.ActionSignUp, req, nil), idl.CodeAlreadyExists, "account")
	}
	wantSignUpTaken("fox")
	wantSignUpTaken("wolf")
	h.Advance(24 * time.Hour)
	if err := handle(bob, "fox"); err != nil {
		t.Errorf("after its time: %v", err)
	}
	if err := handle(alice, ""); err != nil { // who had one may have none
		t.Error(err)
	}
	if got := own(t, alice); got.Handle != "" {
		t.Errorf("got handle %q", got.Handle)
	}
}

// TestRacingHandles has many want one handle at the same time.
func TestRacingHandles(t *testing.T) {
	h := start(t)
	const people = 8
	var sessions [people]*plugintest.Session
	for i := range sessions {
		sessions[i] = h.As(signUp(t, h, "racer"+string(rune('a'+i))), "d", idl.CodecJSON)
	}
	var wg sync.WaitGroup
	var errs [people]error
	for i, s := range sessions {
		wg.Go(func() { _, errs[i] = update(s, &accountpb.UpdateProfileRequest{Handle: new("winner")}) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			wantRefusal(t, err, idl.CodeAlreadyExists, "handle")
		}
	}
	if won != 1 {
		t.Errorf("%d have the handle", won)
	}
}

func TestChangesOfAProfileAreLimited(t *testing.T) {
	h := start(t, func(c *account.Config) { c.ProfileChangesPerHour = 2 })
	s := h.As(signUp(t, h, "alice"), "phone", idl.CodecJSON)
	for _, city := range []string{"a", "b"} {
		if _, err := update(s, &accountpb.UpdateProfileRequest{City: &city}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := update(s, &accountpb.UpdateProfileRequest{City: new("c")})
	if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Code != idl.CodeRateLimited || refused.RetryAfter != 30*time.Minute {
		t.Errorf("got %v", err)
	}
}

func TestPeople(t *testing.T) {
	h := start(t)
	alice, bob := signUp(t, h, "alice"), signUp(t, h, "bob")
	service, _ := h.Service(plugin.ServicePeople)
	people := service.(plugin.People)
	ask := func() map[im.UserID]plugin.Person {
		t.Helper()
		got, err := people.People(t.Context(), []im.UserID{alice, bob, alice, 5})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := map[im.UserID]plugin.Person{alice: {User: alice, Nickname: "alice"}, bob: {User: bob, Nickname: "bob"}}
	if got := ask(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if _, err := update(h.As(alice, "a", idl.CodecJSON), &accountpb.UpdateProfileRequest{Nickname: new("Al"), Handle: new("al.i"), Avatar: new("https://x.example/1")}); err != nil {
		t.Fatal(err)
	}
	want[alice] = plugin.Person{User: alice, Nickname: "Al", Handle: "al.i", Avatar: "https://x.example/1"}
	if got := ask(); !reflect.DeepEqual(got, want) { // what this core changes it knows at once
		t.Errorf("got %v", got)
	}
	if _, err := h.DB().ExecContext(t.Context(), "UPDATE account_users SET nickname = 'Bo' WHERE name = 'bob'"); err != nil {
		t.Fatal(err)
	}
	h.Advance(time.Minute)
	want[bob] = plugin.Person{User: bob, Nickname: "Bo"}
	if got := ask(); !reflect.DeepEqual(got, want) { // and another core's changes after a minute
		t.Errorf("got %v", got)
	}
	if _, err := people.People(t.Context(), make([]im.UserID, 1001)); err == nil {
		t.Error("1,001 at once are allowed")
	}
}

// TestPeopleWithoutARow are those who were filed before there were profiles.
func TestPeopleWithoutARow(t *testing.T) {
	h := start(t)
	alice := signUp(t, h, "alice")
	if _, err := h.DB().ExecContext(t.Context(), "DELETE FROM account_profiles"); err != nil {
		t.Fatal(err)
	}
	s := h.As(alice, "phone", idl.CodecJSON)
	if got := own(t, s); got.Nickname != "alice" || !got.FoundByHandle {
		t.Errorf("got %+v", got)
	}
	if got, err := update(s, &accountpb.UpdateProfileRequest{City: new("Oslo")}); err != nil || got.City != "Oslo" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestHoldingsComeOnce(t *testing.T) {
	h := start(t)
	service, _ := h.Service(plugin.ServiceHoldings)
	of := service.(plugin.HoldingsOf)
	of.Hold("other", nil)
	defer func() {
		if recover() == nil {
			t.Error("a plugin may come twice")
		}
	}()
	of.Hold("other", nil)
}

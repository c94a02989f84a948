package account_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/presence"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

func TestAuthBindsTheSession(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			h := start(t)
			alice := signUp(t, h, "alice")
			for range 3 {
				_, err := h.Timelines().Append(t.Context(), timeline.Draft{Conversation: im.ChatOf(alice, alice), Sender: alice, Body: []byte("x"), Inboxes: []im.UserID{alice}})
				if err != nil {
					t.Fatal(err)
				}
			}
			secret := token(t, h, "alice", "phone", idl.DeviceMobile)
			s, rep := h.Connect(codec), &accountpb.AuthReply{}
			if err := s.Call(idl.ActionAuth, &accountpb.AuthRequest{Token: secret}, rep); err != nil {
				t.Fatal(err)
			}
			want := &accountpb.AuthReply{UserId: int64(alice), DeviceId: "phone", Account: "alice", Nickname: "alice", TimeMs: h.Now().UnixMilli(),
				HeartbeatMs: 30_000, MaxBody: 65536, Epoch: h.Timelines().Epoch(), InboxHead: 3}
			if !reflect.DeepEqual(rep, want) {
				t.Errorf("got %+v\nwant %+v", rep, want)
			}
			id := s.Identity()
			if id.User != alice || id.Device != "phone" || id.DeviceType != idl.DeviceMobile || id.TokenID != 1 || !id.Since.Equal(h.Now()) {
				t.Errorf("bound to %+v", id)
			}
			routes, err := h.Presence().Routes(t.Context(), alice)
			if err != nil || len(routes[0]) != 1 || routes[0][0].Codec != codec || routes[0][0].Device != "phone" {
				t.Errorf("presence has %+v, %v", routes, err)
			}
		})
	}
}

func TestBadTokensAreToldTheSame(t *testing.T) {
	h := start(t)
	signUp(t, h, "alice")
	revoked := token(t, h, "alice", "old", idl.DeviceMobile)
	good := token(t, h, "alice", "phone", idl.DeviceMobile)
	last := "A"
	if strings.HasSuffix(good, last) {
		last = "B"
	}
	var first string
	for name, bad := range map[string]string{
		"none": "", "cut": good[:len(good)-1], "longer": good + "A", "changed": good[:len(good)-1] + last, "other case": strings.ToUpper(good),
		"padded": good + "=", "space": " " + good, "revoked": revoked, "foreign": strings.Repeat("A", 43), "huge": strings.Repeat("A", 60_000), "quote": "' OR 1=1 --",
	} {
		for _, codec := range codecs {
			t.Run(name+" in "+codec.String(), func(t *testing.T) {
				s := h.Connect(codec)
				err := s.Call(idl.ActionAuth, &accountpb.AuthRequest{Token: bad}, nil)
				wantRefusal(t, err, idl.CodeUnauthenticated, "")
				if first == "" {
					first = err.Error()
				}
				if err.Error() != first {
					t.Errorf("got %q, another bad token got %q", err, first)
				}
				if s.Identity().User != 0 {
					t.Error("the session is bound")
				}
			})
		}
	}
	if _, _, err := auth(h, good); err != nil {
		t.Errorf("the good token: %v", err)
	}
}

func TestTokensExpireWhenIdle(t *testing.T) {
	const idle = 24 * time.Hour
	for _, test := range []struct {
		name  string
		idle  time.Duration
		steps []time.Duration // between uses of the token
		valid bool            // at the last
	}{
		{"used in time", idle, []time.Duration{idle}, true},
		{"used too late", idle, []time.Duration{idle + time.Millisecond}, false},
		{"use keeps it", idle, []time.Duration{idle, idle, idle}, true},
		{"never expires", 0, []time.Duration{10 * 365 * idle}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, func(c *account.Config) { c.TokenIdle = test.idle })
			signUp(t, h, "alice")
			secret := token(t, h, "alice", "phone", idl.DeviceMobile)
			for i, step := range test.steps {
				h.Advance(step)
				s, _, err := auth(h, secret)
				if valid := err == nil; i == len(test.steps)-1 && valid != test.valid {
					t.Errorf("got %v, want valid %v", err, test.valid)
				}
				if err == nil {
					waitSeen(t, h, h.Now())
				}
				s.Close()
			}
		})
	}
}

func TestLastSeenIsWrittenOnceAMinute(t *testing.T) {
	for _, test := range []struct {
		name    string
		step    time.Duration // from the sign-in to the Auth
		written bool
	}{
		{"within the minute", time.Minute - time.Millisecond, false},
		{"after it", time.Minute, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			h := plugintest.New(t, plugintest.Options{Dir: dir, Plugins: []plugin.Plugin{account.Cheap()}})
			signUp(t, h, "alice")
			secret := token(t, h, "alice", "phone", idl.DeviceMobile)
			h.Advance(test.step)
			if _, _, err := auth(h, secret); err != nil {
				t.Fatal(err)
			}
			if err := h.Stop(); err != nil { // what was noted is written by the end
				t.Fatal(err)
			}
			reopened := plugintest.New(t, plugintest.Options{Dir: dir})
			written := count(t, reopened, "SELECT count(*) FROM account_devices WHERE last_seen_ms = ?", h.Now().UnixMilli()) == 1
			if written != test.written {
				t.Errorf("got written %v, want %v", written, test.written)
			}
		})
	}
}

// waitSeen waits until one device is written down as seen at that time.
func waitSeen(t *testing.T, h *plugintest.Host, at time.Time) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if count(t, h, "SELECT count(*) FROM account_devices WHERE last_seen_ms = ?", at.UnixMilli()) == 1 {
			return
		}
	}
	t.Fatal("last seen is not written")
}

func TestNewerSessionOfADeviceReplacesTheOlder(t *testing.T) {
	h := start(t)
	alice := signUp(t, h, "alice")
	secret := token(t, h, "alice", "phone", idl.DeviceMobile)
	first, _, err := auth(h, secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []time.Duration{0, 0, -time.Hour} { // in one millisecond, and after the clock was set back
		h.Advance(step)
		second, _, err := auth(h, secret)
		if err != nil {
			t.Fatal(err)
		}
		wantClosed(t, "the older", first, idl.CloseReplaced)
		wantClosed(t, "the newer", second, 0)
		if !second.Identity().Since.After(first.Identity().Since) {
			t.Errorf("since %v is not after %v", second.Identity().Since, first.Identity().Since)
		}
		routes, err := h.Presence().Routes(t.Context(), alice)
		if err != nil || len(routes[0]) != 1 {
			t.Errorf("got %d routes, %v, want 1", len(routes[0]), err)
		}
		first = second
	}
}

func TestAuthAgainOnTheSameSession(t *testing.T) {
	h := start(t)
	signUp(t, h, "alice")
	signUp(t, h, "bob")
	alice, bob := token(t, h, "alice", "phone", idl.DeviceMobile), token(t, h, "bob", "phone", idl.DeviceMobile)
	s, rep, err := auth(h, alice)
	if err != nil {
		t.Fatal(err)
	}
	var again accountpb.AuthReply
	if err := s.Call(idl.ActionAuth, &accountpb.AuthRequest{Token: alice}, &again); err != nil || !reflect.DeepEqual(&again, rep) {
		t.Errorf("the same token: got %+v and %v, want %+v", &again, err, rep)
	}
	wantRefusal(t, s.Call(idl.ActionAuth, &accountpb.AuthRequest{Token: bob}, nil), idl.CodePermissionDenied, "")
	wantRefusal(t, s.Call(idl.ActionAuth, &accountpb.AuthRequest{Token: "x"}, nil), idl.CodeUnauthenticated, "")
	wantClosed(t, "alice", s, 0)
}

func TestAdmissionKnowsEndedSignIns(t *testing.T) {
	h := start(t)
	signUp(t, h, "alice")
	old := online(t, h, "alice", "old", idl.DeviceMobile).Identity()
	fresh := online(t, h, "alice", "fresh", idl.DeviceMobile).Identity()
	service, _ := h.Service("account.admission")
	admission := service.(interface {
		Admit(ctx context.Context, routes []presence.Route) []bool
	})
	var page []presence.Route
	tests := []struct {
		name  string
		route presence.Route
		want  bool
	}{
		{"live", presence.Route{User: fresh.User, Device: fresh.Device, TokenID: fresh.TokenID}, true},
		{"displaced", presence.Route{User: old.User, Device: old.Device, TokenID: old.TokenID}, false},
		{"other device", presence.Route{User: fresh.User, Device: "else", TokenID: fresh.TokenID}, false},
		{"nobody", presence.Route{User: 1, Device: fresh.Device, TokenID: fresh.TokenID}, false},
	}
	for _, test := range tests {
		page = append(page, test.route)
	}
	for _, lap := range [][]bool{admission.Admit(t.Context(), page), admission.Admit(t.Context(), page[:1])} {
		for i, got := range lap {
			if got != tests[i].want {
				t.Errorf("%s: got %v, want %v", tests[i].name, got, tests[i].want)
			}
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := admission.Admit(gone, page); slices.Contains(got, false) || len(got) != len(page) {
		t.Errorf("without a directory: got %v, want all let in", got)
	}
}

package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"freeim/core/server"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/plugins/webhook"
)

// hooked is what an endpoint took, without what came twice.
type hooked struct {
	mu   sync.Mutex // guards the fields below
	seen map[string]bool
	all  []hookEvent
}

type hookEvent struct {
	ID      string `json:"id"`
	Event   string `json:"event"`
	UserID  int64  `json:"user_id"`
	Message struct {
		Room string `json:"room"`
	} `json:"message"`
}

func (h *hooked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var d struct{ Events []hookEvent }
	if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range d.Events {
		if !h.seen[e.ID] {
			h.seen[e.ID] = true
			h.all = append(h.all, e)
		}
	}
}

// of gives the names of the events that match, in order.
func (h *hooked) of(match func(e hookEvent) bool) (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.all {
		if match(e) {
			names = append(names, e.Event)
		}
	}
	return names
}

// want waits until the events that match are these.
func (h *hooked) want(ctx context.Context, test *testing.T, match func(e hookEvent) bool, want ...string) {
	test.Helper()
	err := until(ctx, func() (bool, error) { return len(h.of(match)) >= len(want), nil })
	if got := h.of(match); err != nil || !slices.Equal(got, want) {
		test.Fatalf("told %v, want %v: %v", got, want, err)
	}
}

func about(user int64) func(e hookEvent) bool {
	return func(e hookEvent) bool { return e.UserID == user }
}

// Over two cores and two edges an endpoint is told who comes online and goes, also when a core ends in order and an edge
// does not, and what happens in a room.
func TestToldWhoIsOnlineAndOfRooms(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), faultTime)
	defer cancel()
	hooks := &hooked{seen: map[string]bool{}}
	endpoint := httptest.NewServer(hooks)
	defer endpoint.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret of the test's"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := production(t)
	o.Dir = t.TempDir()
	stores := o.Core
	o.Core = func(i int, s *server.Options) {
		stores(i, s)
		for _, p := range s.Plugins {
			if hook, ok := p.(*webhook.Webhook); ok {
				c := hook.Config().(*webhook.Config)
				c.Endpoints = []webhook.Endpoint{{Name: "site", URL: endpoint.URL, SecretFiles: []string{secret}, Private: true,
					Events: []string{"user.*", "room.message", "room.created", "room.banned"}}}
				c.PresenceGrace, c.PresenceSweep, c.Lease = 2*time.Second, time.Second, 2*time.Second
			}
		}
	}
	c := startClusterWith(t, o)
	at := func(edge int) client.Options { return forms[edge].options(c.Edges[edge]) }
	var ids []int64
	for _, name := range []string{"alice", "bob"} {
		p, err := signUp(ctx, at(0), name)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, p.id)
	}
	alice, bob := about(ids[0]), about(ids[1])
	phone := listening(ctx, t, at(0), "alice", idl.DeviceMobile)
	hooks.want(ctx, t, alice, "user.online")
	web, tab := listening(ctx, t, at(1), "alice", idl.DeviceWeb), listening(ctx, t, at(1), "bob", idl.DeviceWeb)
	hooks.want(ctx, t, bob, "user.online")

	if _, err := phone.session.CreateRoom(ctx, &roompb.CreateRoomRequest{Room: "lobby"}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*listener{phone, tab} {
		if _, err := d.session.Join(ctx, client.JoinRoom{Room: "lobby"}); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		if _, err := tab.session.SendRoom(ctx, client.RoomOutgoing{Room: "lobby", Text: "hello"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := phone.session.ModerateRoom(ctx, "lobby", &roompb.Moderation{Verb: roompb.ModerationVerb_MODERATION_BAN, UserId: ids[1]}); err != nil {
		t.Fatal(err)
	}
	hooks.want(ctx, t, func(e hookEvent) bool { return e.Message.Room == "lobby" }, append(slices.Repeat([]string{"room.message"}, 20), "room.banned")...)
	hooks.want(ctx, t, func(e hookEvent) bool { return e.Event == "room.created" }, "room.created")

	if err := c.Cores[0].Stop(ctx); err != nil { // the other one goes on
		t.Fatal(err)
	}
	c.Edges[1].Kill()
	hooks.want(ctx, t, bob, "user.online", "user.offline")
	hooks.want(ctx, t, alice, "user.online") // her phone is at the other edge
	phone.session.Close()
	hooks.want(ctx, t, alice, "user.online", "user.offline")
	web.session.Close()
}

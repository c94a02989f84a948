package social_test

import (
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
)

func states(all []*socialpb.PresenceState) string {
	var out []string
	for _, s := range all {
		is := "offline"
		if s.Online {
			is = "online"
		}
		if s.LastSeenMs > 0 {
			is += "@" + time.UnixMilli(s.LastSeenMs).UTC().Format(time.TimeOnly)
		}
		out = append(out, name(im.UserID(s.UserId))+" "+is)
	}
	return strings.Join(out, ", ")
}

// watch has somebody watch others, and gives the answer.
func (w *world) watch(u im.UserID, of ...im.UserID) string {
	w.t.Helper()
	req, rep := &socialpb.PresenceRequest{}, &socialpb.PresenceReply{}
	for _, o := range of {
		req.UserIds = append(req.UserIds, int64(o))
	}
	w.call(u, idl.ActionPresence, req, rep)
	if rep.LeaseMs != (2 * time.Minute).Milliseconds() {
		w.t.Errorf("the lease is %d", rep.LeaseMs)
	}
	return states(rep.States)
}

// round goes one round and gives what somebody was told.
func (w *world) round(u im.UserID) string {
	w.t.Helper()
	if err := w.social.Watch(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	var told []string
	for _, p := range w.as(u).Pushes() {
		var body socialpb.Presence
		if p.Action != idl.ActionPresence {
			continue
		}
		if err := p.Decode(&body); err != nil {
			w.t.Fatal(err)
		}
		told = append(told, states(body.States))
	}
	return strings.Join(told, "; ")
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestPresence(t *testing.T) {
	w := start(t)
	w.befriend(alice, bob)
	w.befriend(alice, carol)
	w.sessions[bob].Close()
	delete(w.sessions, bob)
	want(t, "alice asks, of a stranger too", w.watch(alice, bob, carol, dave, alice), "bob offline, carol online")
	want(t, "nothing changes", w.round(alice), "")
	w.as(bob)
	w.as(dave)
	want(t, "bob comes", w.round(alice), "bob online")
	second := w.As(bob, "desk", idl.CodecJSON)
	w.sessions[bob].Close()
	delete(w.sessions, bob)
	want(t, "one device of two goes", w.round(alice), "")
	second.Close()
	want(t, "bob goes", w.round(alice), "")
	w.Advance(9 * time.Second)
	want(t, "within the grace", w.round(alice), "")
	w.as(bob)
	want(t, "he is back", w.round(alice), "")
	w.sessions[bob].Close()
	delete(w.sessions, bob)
	want(t, "he goes again", w.round(alice), "")
	w.Advance(10 * time.Second)
	want(t, "the grace is over", w.round(alice), "bob offline@00:00:09")
	want(t, "asked again", w.watch(alice, bob), "bob offline@00:00:09")
	w.sessions[carol].Close()
	delete(w.sessions, carol)
	w.Advance(time.Minute)
	want(t, "carol is not watched any more", w.round(alice), "")
	w.as(bob)
	w.Advance(time.Minute)
	want(t, "the lease is over", w.round(alice), "")
}

// A request over HTTP is answered and watches nobody: each would be a session, which nobody
// is told for, and who asked would be online.
func TestPresenceWithoutASession(t *testing.T) {
	w := start(t)
	w.befriend(alice, bob)
	w.sessions[alice].Close()
	delete(w.sessions, alice)
	rep, pairs, err := w.social.Presence(t.Context(), &plugin.Call{User: alice, Alone: true, Session: presence.SessionRef{Edge: "e", Session: 7}},
		&socialpb.PresenceRequest{UserIds: []int64{int64(bob)}})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "the answer", states(rep.States), "bob online")
	if pairs != 0 || rep.LeaseMs != 0 {
		t.Errorf("%d watched, for %d ms", pairs, rep.LeaseMs)
	}
	want(t, "she who asked", w.watch(bob, alice), "alice offline")
}

// Who connects again and again holds places for the sessions that he has, not for those that
// ended.
func TestEndedSessionsWatchNobody(t *testing.T) {
	w := start(t)
	w.befriend(alice, bob)
	for range 5 {
		w.watch(alice, bob)
		w.sessions[alice].Close()
		delete(w.sessions, alice)
	}
	w.watch(alice, bob)
	w.round(alice)
	w.Advance(9 * time.Second)
	w.round(alice)
	if n := w.social.Watched(); n != 6 {
		t.Errorf("%d watched within the grace, want 6", n)
	}
	w.Advance(time.Second)
	w.round(alice)
	if n := w.social.Watched(); n != 1 {
		t.Errorf("%d watched, want 1: that of the session that is there", n)
	}
	w.sessions[bob].Close()
	w.round(alice)
	w.Advance(10 * time.Second)
	want(t, "bob goes", w.round(alice), "bob offline@00:00:10")
}

func TestLastSeenIsHidden(t *testing.T) {
	w := start(t)
	w.befriend(alice, bob)
	w.call(bob, idl.ActionUpdateSocialSettings, &socialpb.UpdateSettingsRequest{Fields: []string{"hide_last_seen"}, HideLastSeen: true}, nil)
	w.watch(alice, bob)
	w.sessions[bob].Close()
	w.round(alice)
	w.Advance(10 * time.Second)
	want(t, "bob goes", w.round(alice), "bob offline")
	want(t, "asked", w.watch(alice, bob), "bob offline")
}

// Who watches is seen himself, also when nobody watches him.
func TestLastSeenOfWhoWatches(t *testing.T) {
	w := start(t)
	w.befriend(alice, bob)
	w.watch(bob)
	w.sessions[bob].Close()
	w.round(alice)
	w.Advance(10 * time.Second)
	w.round(alice)
	want(t, "alice asks", w.watch(alice, bob), "bob offline@00:00:00")
}

// Whoever is no friend any more, or is blocked, is told nothing more.
func TestPresenceIsForFriends(t *testing.T) {
	for what, end := range map[string]func(w *world){
		"delete": func(w *world) {
			w.call(bob, idl.ActionDeleteFriend, &socialpb.DeleteRequest{UserId: int64(alice)}, nil)
		},
		"block":      func(w *world) { w.block(bob, alice) },
		"is blocked": func(w *world) { w.block(alice, bob) },
	} {
		t.Run(what, func(t *testing.T) {
			w := start(t)
			w.befriend(alice, bob)
			w.watch(alice, bob)
			end(w)
			w.sessions[bob].Close()
			w.round(alice)
			w.Advance(10 * time.Second)
			want(t, "bob goes", w.round(alice), "")
			want(t, "asked", w.watch(alice, bob), "")
		})
	}
}

// Two cores with one registry: each tells those who asked it.
func TestPresenceOfSeveralCores(t *testing.T) {
	registry, dir := presence.NewMemory(), t.TempDir()
	one := startWith(t, plugintest.Options{Dir: dir, Presence: registry})
	one.befriend(alice, bob)
	two := startWith(t, plugintest.Options{Dir: t.TempDir(), Presence: registry})
	two.befriend(alice, bob)
	want(t, "alice asks core two", two.watch(alice, bob), "bob online")
	one.sessions[bob].Close()
	two.sessions[bob].Close()
	two.round(alice)
	two.Advance(10 * time.Second)
	want(t, "bob goes", two.round(alice), "bob offline@00:00:00")
	bobs := one.As(bob, "tablet", idl.CodecJSON)
	want(t, "bob comes, by the other core", two.round(alice), "bob online")
	bobs.Close()
}

// Many who come at once are told in a few frames, over some rounds.
func TestPresenceIsBatched(t *testing.T) {
	w := start(t)
	crowd(t, w, 300)
	watchers := []*plugintest.Session{w.as(alice), w.As(alice, "second", idl.CodecProtobuf)}
	for half, s := range watchers {
		req := &socialpb.PresenceRequest{}
		for i := range 150 {
			req.UserIds = append(req.UserIds, int64(200_000+150*half+i))
		}
		if err := s.Call(idl.ActionPresence, req, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		w.As(im.UserID(200_000+i), "phone", idl.CodecProtobuf)
	}
	frames, told := 0, 0
	for range 2 {
		if got := w.round(alice); got != "" {
			frames += len(strings.Split(got, "; "))
			told += strings.Count(got, "online")
		}
	}
	if frames != 2 || told != 300 {
		t.Errorf("%d people were told in %d frames", told, frames)
	}
	for _, s := range watchers {
		s.Close()
	}
}

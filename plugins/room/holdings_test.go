package room_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
	"freeim/plugins/room"
)

// What is kept of somebody is told, and forgotten: his rooms go to an admin, or to nobody.
func TestHoldings(t *testing.T) {
	people := plugintest.NewPeople(alice, bob, carol)
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{configured()}, Stubs: []plugintest.Stub{directory, {Name: plugin.ServiceHoldings, Service: people}}})
	s := h.As(alice, "phone", idl.CodecJSON)
	create := func(s *plugintest.Session, name string) {
		t.Helper()
		if err := s.Call(idl.ActionCreateRoom, &roompb.CreateRoomRequest{Room: name}, nil); err != nil {
			t.Fatal(err)
		}
	}
	moderate := func(s *plugintest.Session, name string, m *roompb.Moderation) {
		t.Helper()
		if err := s.Call(idl.ActionModerateRoom, &roompb.ModerateRoomRequest{Room: name, Moderation: m}, nil); err != nil {
			t.Fatal(err)
		}
	}
	join(t, h.As(carol, "phone", idl.CodecJSON), "taken")
	create(s, "one")
	create(s, "alone")
	create(s, "taken") // that somebody has only joined
	create(h.As(carol, "phone", idl.CodecJSON), "hers")
	moderate(s, "one", &roompb.Moderation{Verb: roompb.ModerationVerb_MODERATION_SET_ROLE, UserId: int64(bob), Role: roompb.RoomRole_ROOM_ROLE_ADMIN})
	moderate(h.As(carol, "phone", idl.CodecJSON), "hers", &roompb.Moderation{Verb: roompb.ModerationVerb_MODERATION_BAN, UserId: int64(alice)})
	holds := people.Holdings()["room"]
	exported := func() string {
		t.Helper()
		got, err := holds.Export(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, want := range []string{`{"room":"one","role":"owner"}`, `{"room":"alone","role":"owner"}`, `{"room":"taken","role":"owner"}`, `{"room":"hers","banned_until_ms":-1}`} {
		if got := exported(); !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	for range 2 { // the second finds nothing
		if err := holds.Erase(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
	}
	if got := exported(); got != `{"rooms":[]}` {
		t.Errorf("left: %s", got)
	}
	for name, owner := range map[string]int64{"one": int64(bob), "alone": 0, "taken": 0, "hers": int64(carol)} {
		var rows, role int64
		if err := h.DB().QueryRowContext(t.Context(), "SELECT r.owner_id, COALESCE(MAX(p.role), 0) FROM room_rooms r LEFT JOIN room_people p ON p.room = r.name WHERE r.name = ? GROUP BY r.owner_id", name).Scan(&rows, &role); err != nil {
			t.Fatal(err)
		}
		if rows != owner || role != 0 {
			t.Errorf("%s is %d's, want %d's; the highest role is %d", name, rows, owner, role)
		}
	}
	moderate(h.As(bob, "phone", idl.CodecJSON), "one", &roompb.Moderation{Verb: roompb.ModerationVerb_MODERATION_SET_ROLE, UserId: int64(carol), Role: roompb.RoomRole_ROOM_ROLE_ADMIN})
	if err := holds.Erase(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	if err := h.As(carol, "phone", idl.CodecJSON).Call(idl.ActionCloseRoom, &roompb.CloseRoomRequest{Room: "one"}, nil); err != nil {
		t.Errorf("the next heir: %v", err)
	}
}

func TestListingsUseIndexes(t *testing.T) {
	h := start(t, nil)
	for i := range 200 {
		for _, query := range []string{
			fmt.Sprintf("INSERT INTO room_rooms (name, title, announcement, owner_id, slow_mode_ms, muted, closed, overload, low_per_second, created_ms, changes) VALUES ('r%03d', '', '', %d, 0, 0, 0, 0, 0, 0, 0)", i, i%20),
			fmt.Sprintf("INSERT INTO room_people (room, user_id, role, muted_until_ms, banned_until_ms) VALUES ('r%03d', %d, 1, 0, 0)", i, i%20),
		} {
			if _, err := h.DB().ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
	}
	of := map[string]string{"WHERE owner_id =": "room_rooms_owner", "WHERE user_id =": "room_people_person"} // not all rooms by name
	for query, args := range room.Listings(7, "r007") {
		for where, index := range of {
			if plan := plugintest.Explain(t, h, query, args...); strings.Contains(query, where) && !regexp.MustCompile("(key=|INDEX )"+index).MatchString(plan) {
				t.Errorf("%s is not read by %s:\n%s", query, index, plan)
			}
		}
		plugintest.WantOrdered(t, h, query, args...)
	}
}

package group_test

import (
	"maps"
	"slices"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// What members say of how much they want to hear is what the plugin of messages hears.
func TestLevels(t *testing.T) {
	w := start(t)
	id := create(t, w, bob, carol)
	for u, level := range map[im.UserID]grouppb.NotifyLevel{bob: grouppb.NotifyLevel_NOTIFY_LEVEL_SILENT, carol: grouppb.NotifyLevel_NOTIFY_LEVEL_NONE} {
		req := &grouppb.SetGroupSelfRequest{GroupId: id, Fields: []string{"notify"}, Notify: level}
		if err := w.As(u, "phone", idl.CodecJSON).Call(idl.ActionSetGroupSelf, req, nil); err != nil {
			t.Fatal(err)
		}
	}
	owner := w.messages.Owner(im.Group).(plugin.Leveller)
	c := conv(id)
	many := make([]im.UserID, 1200)
	for i := range many {
		many[i] = im.UserID(700000 + i)
	}
	for _, test := range []struct {
		name  string
		c     im.ConversationID
		users []im.UserID
		want  map[im.UserID]plugin.Level
	}{
		{"of all", c, []im.UserID{alice, bob, carol, dave}, map[im.UserID]plugin.Level{bob: plugin.LevelSilent, carol: plugin.LevelNone}},
		{"of one", c, []im.UserID{carol}, map[im.UserID]plugin.Level{carol: plugin.LevelNone}},
		{"of many", c, append(many, bob), map[im.UserID]plugin.Level{bob: plugin.LevelSilent}},
		{"of nobody", c, nil, nil},
		{"in no group", "g_x", []im.UserID{bob}, nil},
	} {
		got, err := owner.Levels(t.Context(), test.c, test.users)
		if err != nil || !maps.Equal(got, test.want) {
			t.Errorf("%s: got %v, %v", test.name, got, err)
		}
	}
	for u, want := range map[im.UserID][]im.ConversationID{alice: nil, bob: nil, carol: {c}} {
		if got, err := owner.Silenced(t.Context(), u); err != nil || !slices.Equal(got, want) {
			t.Errorf("of %d: got %v, %v", u, got, err)
		}
	}
}

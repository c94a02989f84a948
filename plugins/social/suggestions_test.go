package social_test

import (
	"fmt"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
)

// suggested are alice's suggestions, with their friends in common.
func (w *world) suggested(limit int32) string {
	w.t.Helper()
	var rep socialpb.SuggestionsReply
	w.call(alice, idl.ActionSuggestions, &socialpb.SuggestionsRequest{Limit: limit}, &rep)
	var all []string
	for _, s := range rep.Suggestions {
		all = append(all, fmt.Sprintf("%s:%d", name(im.UserID(s.Person.UserId)), s.Common))
	}
	return strings.Join(all, " ")
}

func TestSuggestions(t *testing.T) {
	w := start(t)
	if got := w.suggested(0); got != "" {
		t.Errorf("of nobody: %q", got)
	}
	const first = im.UserID(300_001)
	for i := range im.UserID(8) {
		w.people.Add(person(first + i))
	}
	w.befriend(alice, bob)
	w.befriend(alice, carol)
	w.befriend(bob, carol) // who are alice's already
	for i := range im.UserID(8) {
		w.befriend(bob, first+i)
	}
	w.befriend(carol, first+1)
	w.befriend(carol, first+2)
	if got := w.suggested(3); got != "300002:2 300003:2 300001:1" {
		t.Errorf("got %q", got)
	}
	w.block(alice, first)
	w.block(first+1, alice)
	w.apply(alice, first+2)
	w.apply(first+3, alice)
	w.call(first+4, idl.ActionUpdateSocialSettings, &socialpb.UpdateSettingsRequest{Fields: []string{"apply"}, Apply: socialpb.WhoMayApply_WHO_MAY_APPLY_NOBODY}, nil)
	w.people.Remove(first + 5)
	if got := w.suggested(0); got != "300007:1 300008:1" {
		t.Errorf("got %q", got)
	}
}

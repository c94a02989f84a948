package webhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// fields adds the names of what JSON has, by path and with its type: of lists that of all elements, of messages none.
func fields(at string, v any, all map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, of := range v {
			if name == "message" {
				all[at+".message"] = true
				continue
			}
			fields(at+"."+name, of, all)
		}
	case []any:
		for _, of := range v {
			fields(at+"[]", of, all)
		}
	default:
		all[fmt.Sprintf("%s %T", at, v)] = true
	}
}

// What is sent has the names that the examples of README.md have, all of them and no others: receivers are written by those.
func TestFieldsAreAsDocumented(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	body, err := idl.Append(nil, idl.CodecJSON, &chatpb.Message{Id: "B4KQ", Seq: 5})
	if err != nil {
		t.Fatal(err)
	}
	push := &plugin.Alert{Position: 1, User: 17, Conversation: "c_17_42", CollapseKey: "c_17_42", MessageID: "B4KQ", Seq: 5, Sender: 42, TimeMs: 1, ExpiresMs: 2, Kind: "text", Name: "Ann",
		Text: "hello", Mention: true, Silent: true, Badge: 3, Devices: []plugin.AlertDevice{{Device: "d", Type: "mobile", Provider: "apns", Token: "t"}}}
	for begin, sent := range map[string]any{
		`{"endpoint": "crm"`: delivery{Endpoint: "crm", Delivery: "3-1-2", Attempt: 1, Epoch: "e", SentMs: 1,
			Events: []event{{ID: "B4KQ", Position: "3-1", Event: "social.accepted", TimeMs: 1, UserID: 17, Message: body}}},
		`{"id": "B4KQ….17"`: event{ID: "B4KQ.17", Position: "3-1", Event: pushEvent, TimeMs: 1, UserID: 17, Push: push},
	} {
		_, rest, found := strings.Cut(string(readme), begin)
		example, _, _ := strings.Cut(begin+rest, "\n```")
		if !found {
			t.Fatalf("no example begins with %s", begin)
		}
		text, err := json.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		documented, got := map[string]bool{}, map[string]bool{}
		for of, all := range map[string]map[string]bool{strings.NewReplacer(", …}", "}", "{…, ", "{").Replace(example): documented, string(text): got} {
			var v any
			if err := json.Unmarshal([]byte(of), &v); err != nil {
				t.Fatalf("%s: %v", of, err)
			}
			fields("", v, all)
		}
		if want, have := slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(got)); !slices.Equal(have, want) {
			t.Errorf("%s:\nsent       %q\ndocumented %q", begin, have, want)
		}
	}
}

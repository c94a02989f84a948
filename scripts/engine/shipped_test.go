package engine_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"freeim/scripts/engine"
)

// The rules that are shipped load, pass their tests, and have tests for all.
func TestShippedRules(t *testing.T) {
	o := options("..", &logs{})
	o.RequireRules, o.RequireTests, o.Codes = true, true, nil
	o.Actions = []engine.Action{{Name: "chat.send", Message: true, Holds: true, Reply: func() any { return new(sendReply) }}, {Name: "room.send", Message: true}}
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s := e.Status()
	for _, rule := range []string{"words", "flood", "newcomers", "links", "rooms"} {
		if !slices.Contains(s.Files, "moderation/"+rule+".lua") || !slices.Contains(s.Files, "moderation/"+rule+"_test.lua") {
			t.Errorf("%s is not among %v", rule, s.Files)
		}
	}
	if !slices.Contains(s.Files, "actions/poll.lua") || e.Pin().Scripted(200) == nil {
		t.Errorf("no poll among %v", s.Files)
	}
	if !slices.Contains(s.Files, "service/hours.lua") || !slices.Contains(s.Files, "service/hours_test.lua") {
		t.Errorf("hours is not among %v", s.Files)
	}
	if v, m := ask(t, e, "hello"); v.Denied() || m.Rewritten {
		t.Errorf("got %+v for an ordinary message", v)
	}
}

// sendReply is what the rules read of chat.send's reply.
type sendReply struct {
	ConversationId string `protobuf:"bytes,2,opt,name=conversation_id,proto3"`
	Duplicate      bool   `protobuf:"varint,6,opt,name=duplicate,proto3"`
}

// What the README shows works.
func TestReadmeExamples(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for i, block := range regexp.MustCompile("(?s)```lua\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		name := fmt.Sprintf("example%d.lua", i)
		if strings.Contains(block[1], "test(") {
			name = fmt.Sprintf("example%d_test.lua", i)
		}
		files[name] = block[1]
	}
	e := load(t, files, func(o *engine.Options) { o.RequireTests = true })
	if s := e.Status(); len(s.Hooks) == 0 || s.Tests == 0 {
		t.Errorf("got %+v, want the examples", s)
	}
}

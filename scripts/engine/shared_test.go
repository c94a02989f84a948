package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"freeim/scripts/engine"
)

const sharing = `local im = require("im")
im.action("lua.do", {number = 200, request = {what = {type = "string"}, n = {type = "integer", optional = true}}, reply = {said = {type = "string"}}}, function(c)
	local function said(...)
		local all = {}
		for i = 1, select("#", ...) do all[i] = tostring((select(i, ...))) end
		return {said = table.concat(all, " ")}
	end
	local what = c.req.what
	if what == "get" then return said(im.shared.get("k")) end
	if what == "set" then return said(im.shared.set("k", "v", "1h")) end
	if what == "incr" then return said(im.shared.incr("n", "1h", c.req.n)) end
	if what == "del" then return said(im.shared.del("k")) end
	if what == "cas" then return said(im.shared.cas("lock", nil, "me", "1h")) end
	if what == "mark" then return said(im.shared.mark("m", "17", "v" .. c.req.n, "1h")) end
	if what == "marks" then local counts, mine = im.shared.marks("m", "17") return said(counts and counts.v1, mine) end
	for _ = 1, 20 do im.shared.get("k") end
end)
`

func said(t *testing.T, e *engine.Engine, what string) string {
	t.Helper()
	p, err := perform(t, e, 200, `{"what":"`+what+`","n":1}`)
	if err != nil {
		t.Fatal(err)
	}
	if p.Verdict.Err != nil {
		return p.Verdict.Err.Error()
	}
	return string(p.JSON)
}

// away is a store that gives no answer.
type away struct{ asked int }

var errAway = errors.New("the server is away")

func (a *away) Get(context.Context, string) (string, bool, error) {
	a.asked++
	return "", false, errAway
}
func (a *away) Set(context.Context, string, string, time.Duration) error {
	return errAway
}
func (a *away) Incr(context.Context, string, int64, time.Duration) (int64, error) { return 0, errAway }
func (a *away) Del(context.Context, string) (bool, error)                         { return false, errAway }
func (a *away) CAS(context.Context, string, *string, string, time.Duration) (bool, error) {
	return false, errAway
}
func (a *away) Mark(context.Context, string, string, string, time.Duration) (string, bool, error) {
	return "", false, errAway
}
func (a *away) Marks(context.Context, string, string) (map[string]int64, string, error) {
	return nil, "", errAway
}

func TestSharedMemory(t *testing.T) {
	e := load(t, map[string]string{"a.lua": sharing}, func(o *engine.Options) { o.ActionWall = time.Second })
	for _, row := range []struct{ what, want string }{
		{"get", `{"said":"nil"}`}, {"set", `{"said":"true"}`}, {"get", `{"said":"v"}`}, {"del", `{"said":"true"}`}, {"del", `{"said":"false"}`},
		{"incr", `{"said":"1"}`}, {"incr", `{"said":"2"}`}, {"cas", `{"said":"true"}`}, {"cas", `{"said":"false"}`},
		{"marks", `{"said":"nil nil"}`}, {"mark", `{"said":"v1 true"}`}, {"mark", `{"said":"v1 false"}`}, {"marks", `{"said":"1 v1"}`},
	} {
		if got := said(t, e, row.what); got != row.want {
			t.Errorf("%s: got %s, want %s", row.what, got, row.want)
		}
	}
	if p, err := perform(t, e, 200, `{"what":"often"}`); err != nil || p.Verdict.Code != engine.BrokenCode {
		t.Errorf("too often: got %+v, %v", p.Verdict, err)
	}
}

// A store without an answer is nil and the reason, for the script to decide.
func TestSharedMemoryIsAway(t *testing.T) {
	store := &away{}
	e := load(t, map[string]string{"a.lua": sharing}, func(o *engine.Options) { o.Shared, o.ActionWall = store, time.Second })
	for _, what := range []string{"get", "set", "incr", "del", "cas", "mark", "marks"} {
		if got, want := said(t, e, what), `{"said":"nil the server is away"}`; got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	if store.asked != 1 {
		t.Errorf("asked %d times", store.asked)
	}
}

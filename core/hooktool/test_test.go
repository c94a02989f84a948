package hooktool_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freeim/core/hooktool"
)

// test --watch runs the tests again whenever a file has changed, by whatever way it was
// saved, and ends when it is interrupted.
func TestWatchTests(t *testing.T) {
	s := &site{t: t, dir: t.TempDir()}
	s.put(rule)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	test := func(reason string) string {
		return `test("it is said", function(t) assert(t.message{text = "no"}.reason == "` + reason + `", "another reason") end)`
	}
	write("a_test.lua", test("as you say"))
	ctx, interrupt := context.WithTimeout(t.Context(), 30*time.Second)
	defer interrupt()
	out, code := &lines{}, make(chan int, 1)
	go func() {
		code <- hooktool.Run(ctx, hooktool.Options{Program: "core hooks", Args: []string{"test", "--watch", s.dir}, Out: out, Err: out,
			Site: func() (hooktool.Site, error) { return hooktool.Site{}, nil }})
	}()
	runs := func(n int, said string) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for strings.Count(out.String(), "waiting for changes") < n && ctx.Err() == nil {
			<-tick.C
		}
		all := strings.Split(out.String(), "waiting for changes")
		if len(all) != n+1 || !strings.Contains(all[n-1], said) {
			t.Fatalf("want %q from run %d of:\n%s", said, n, out)
		}
	}
	runs(1, "passed: 1 test")
	s.put(strings.Replace(rule, "as you say", "not so", 1)) // the rule is changed
	runs(2, "another reason")
	write("a_test.lua.new", test("not so")) // and then its test, by a rename
	if err := os.Rename(filepath.Join(s.dir, "a_test.lua.new"), filepath.Join(s.dir, "a_test.lua")); err != nil {
		t.Fatal(err)
	}
	runs(3, "passed: 1 test")
	write("b.lua", "local x = = 1") // a file that is wrong ends nothing
	runs(4, "b.lua:1:11")
	if err := os.Remove(filepath.Join(s.dir, "b.lua")); err != nil {
		t.Fatal(err)
	}
	runs(5, "passed: 1 test")
	interrupt()
	if got := <-code; got != hooktool.Done {
		t.Errorf("interrupted: exit code %d", got)
	}
}

package command_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"freeim/core/admin"
	"freeim/core/command"
	"freeim/core/server"
)

// What waits for a decision is listed, approved and denied at a running core, which the
// configuration names, with its key.
func TestHeld(t *testing.T) {
	s := newSite(t).filled(0)
	s.stores(func(stores *server.Archived) {
		for i, queue := range []string{"newcomers", "newcomers", "links"} {
			for _, statement := range []string{
				"INSERT INTO chat_held (id, sender, conversation, place, client_id, digest, kind, content, rewritten, shadowed, state, queue, rule, allow, held_ms, until_ms, reason, decided_by) " +
					fmt.Sprintf("VALUES ('HELD%d', 100001, 'c_100001_10000%d', 1, 'm%[1]d', '%064[1]d', 0, 'text %[1]d', 0, 0, 0, '%[3]s', 'r@a.lua:1', 0, 0, %[4]d, '', '')",
						i, i+2, queue, time.Now().Add(time.Hour).UnixMilli()),
				fmt.Sprintf("INSERT INTO chat_held_lines (sender, conversation, begun, moving, idle, changes) VALUES (100001, 'c_100001_10000%d', 'HELD%d', 0, 0, 0)", i+2, i),
			} {
				if _, err := stores.Directory.DB().ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	s.run(command.Failed, "ask the server", "held") // which is not there
	core := s.serve()
	defer func() {
		if err := core.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	if err := core.Start(); err != nil {
		t.Fatal(err)
	}
	routes := map[string]admin.Page{}
	for _, p := range core.Pages() {
		routes[p.Pattern] = admin.Page{Handler: p.Handler, About: p.About}
	}
	const key = "0123456789abcdef"
	port, err := admin.New(admin.Options{Listen: "127.0.0.1:0", Key: key, Routes: routes, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	t.Setenv("FREEIM_ADMIN_LISTEN", port.Addr().String())
	s.run(command.Failed, "401", "held")
	t.Setenv("FREEIM_ADMIN_KEY", key)
	t.Setenv("USER", "rita")

	s.run(command.Done, "3 wait", "held")
	s.run(command.Done, `newcomers  from 100001 in c_100001_100003  deny at 20`, "held", "list", "newcomers")
	s.run(command.Done, "1 wait", "held", "list", "links")
	s.run(command.Done, "HELD0 approved", "held", "approve", "HELD0")
	s.run(command.Done, "HELD1 denied", "held", "deny", "HELD1", "no advertising")
	s.run(command.Failed, "HELD1 is denied already, by rita", "held", "approve", "HELD1")
	s.run(command.Failed, "no such message waits", "held", "approve", "HELD9")
	s.run(command.Failed, "reason must be a line", "held", "deny", "HELD2", "two\nlines")
	s.run(command.Done, "1 wait", "held", "list")
	for _, args := range [][]string{{"held", "approve"}, {"held", "list", "a", "b"}, {"held", "forget", "HELD2"}, {"held", "deny"}} {
		s.run(command.Usage, "held approve ID", args...)
	}
	s.run(command.Usage, "list the messages that wait", "nothing")
}

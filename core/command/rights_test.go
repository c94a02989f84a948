package command_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"freeim/core/archive"
	"freeim/core/command"
	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/server"
	"freeim/core/timeline"
	"freeim/plugins"
)

// The account of conf/DEPLOYMENT.md can do what a core needs: start on an empty
// database, migrate, serve, be backed up and restored. Without any one of its rights
// something of that fails, but for those that the page says this server does not ask for.
func TestRightsOfTheAccount(t *testing.T) {
	page, err := os.ReadFile("../../conf/DEPLOYMENT.md")
	if err != nil {
		t.Fatal(err)
	}
	grant := regexp.MustCompile(`(?m)^GRANT ([A-Z, ]+) ON freeim\.\* TO 'freeim'@'%';$`).FindSubmatch(page)
	block := regexp.MustCompile("(?ms)^```sql\n(CREATE DATABASE .*?)^```").FindSubmatch(page)
	if grant == nil || block == nil || !strings.Contains(string(block[1]), string(grant[0])) {
		t.Fatal("the page does not say how to make the account")
	}
	rights := strings.Split(string(grant[1]), ", ")
	later := []string{"REFERENCES"}

	// One server with all the accounts; its init file has a statement in each line.
	var made strings.Builder
	made.WriteString(strings.ReplaceAll(string(block[1]), "'%'", "'127.0.0.1'"))
	made.WriteString("CREATE DATABASE freeim_restored;\n" + "GRANT " + string(grant[1]) + " ON freeim_restored.* TO 'freeim'@'127.0.0.1';\n")
	for _, r := range rights {
		fmt.Fprintf(&made, "CREATE DATABASE no_%[1]s;\nCREATE DATABASE no_%[1]s_restored;\nCREATE USER 'no_%[1]s'@'127.0.0.1' IDENTIFIED BY 'PASSWORD';\n", r)
		rest := strings.Join(slices.DeleteFunc(slices.Clone(rights), func(other string) bool { return other == r }), ", ")
		fmt.Fprintf(&made, "GRANT %[2]s ON no_%[1]s.* TO 'no_%[1]s'@'127.0.0.1';\nGRANT %[2]s ON no_%[1]s_restored.* TO 'no_%[1]s'@'127.0.0.1';\n", r, rest)
	}
	file := filepath.Join(t.TempDir(), "accounts.sql")
	if err := os.WriteFile(file, []byte(made.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(file), 0o755); err != nil { // the server may run as another user
		t.Fatal(err)
	}
	db := engines.MariaDBWith(t, engines.MariaDBOptions{Args: []string{"--init-file=" + file}})

	// works goes through the life of a site, and says what failed.
	works := func(t *testing.T, name string) (said string) {
		place := func(database string) *site {
			s := newSite(t)
			s.core.MySQL.DSN = fmt.Sprintf("%s:PASSWORD@tcp(%s)/%s", name, db.Addr(), database)
			s.write(fmt.Sprintf("  mysql: {dsn: %q}\n", s.core.MySQL.DSN))
			return s
		}
		from, to := place(name), place(name+"_restored")
		for _, s := range []*site{from, to} {
			core, err := server.New(t.Context(), server.Options{Config: s.core, Plugins: plugins.All(), Log: quiet})
			if err != nil {
				return err.Error()
			}
			if err := core.Close(t.Context()); err != nil {
				return err.Error()
			}
		}
		return from.live(to)
	}
	t.Run("all", func(t *testing.T) {
		if said := works(t, "freeim"); said != "" {
			t.Error(said)
		}
	})
	for _, r := range rights {
		t.Run("without "+r, func(t *testing.T) {
			said := works(t, "no_"+r)
			if slices.Contains(later, r) {
				if said != "" {
					t.Errorf("the page says that nothing needs it here: %s", said)
				}
				return
			}
			if said == "" {
				t.Error("nothing fails: the account does not need it")
			}
			t.Log(said)
		})
	}
}

// live serves messages and acknowledgements, makes a backup, and restores it
// elsewhere, where a restore was broken off before; it says what failed, or nothing.
func (s *site) live(to *site) (said string) {
	s.t.Helper()
	out := filepath.Join(s.dir, "site.archive")
	if err := s.talk(); err != nil {
		return err.Error()
	}
	if err := s.command("backup", out); err != nil {
		return err.Error()
	}
	whole, err := os.ReadFile(out)
	if err != nil {
		return err.Error()
	}
	s.t.Cleanup(func() { os.Remove(out) })
	to.stores(func(stores *server.Archived) {
		_, err = archive.Restore(s.t.Context(), bytes.NewReader(whole[:len(whole)-1]), stores.Stores, archive.Anew, nil)
	})
	if !errors.Is(err, archive.ErrDamaged) {
		return fmt.Sprintf("a damaged archive: %v", err)
	}
	for _, args := range [][]string{{"restore", out}, {"new-epoch"}} {
		if err := to.command(args...); err != nil {
			return err.Error()
		}
	}
	return ""
}

// talk has two people write, and one read.
func (s *site) talk() (err error) {
	s.t.Helper()
	s.stores(func(stores *server.Archived) {
		ctx := s.t.Context()
		for i := range 5 {
			_, one := stores.Timelines.Append(ctx, timeline.Draft{Conversation: "c_100001_100002", Sender: 100001,
				ClientID: fmt.Sprint(i), Body: []byte("x"), Inboxes: []im.UserID{100001, 100002}})
			err = errors.Join(err, one)
		}
		_, one := stores.Timelines.Acknowledge(ctx, timeline.Receipt{Conversation: "c_100001_100002", By: 100002, Seq: 3}, []im.UserID{100001})
		_, two := stores.Directory.DB().ExecContext(ctx, "INSERT INTO account_users (id, name, nickname, password, sign_ins, created_ms) "+
			"VALUES (100001, 'alice', 'Alice', 'x', 1, 0)")
		_, three := stores.Directory.DB().ExecContext(ctx, "UPDATE account_users SET sign_ins = 2 WHERE id = 100001")
		err = errors.Join(err, one, two, three)
	})
	return err
}

// command runs one on the site, and gives what it says when it fails.
func (s *site) command(args ...string) error {
	var said bytes.Buffer
	if command.Run(s.t.Context(), command.Options{Program: "core", Config: s.file, Args: args, Plugins: plugins.All(), Err: &said, Out: &said,
		In: strings.NewReader("")}) != command.Done {
		return fmt.Errorf("%v: %s", args, said.String())
	}
	return nil
}

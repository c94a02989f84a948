package command_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
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

// childConfig, in the environment, makes the test binary a child that restores
// standard input into the stores of that configuration.
const childConfig = "TEST_RESTORE_CONFIG"

func TestMain(m *testing.M) {
	if path := os.Getenv(childConfig); path != "" {
		os.Exit(command.Run(context.Background(), command.Options{Program: "core", Config: path, Args: []string{"restore", "-"},
			Plugins: plugins.All(), In: os.Stdin, Out: io.Discard, Err: os.Stderr}))
	}
	os.Exit(m.Run())
}

var quiet = slog.New(slog.DiscardHandler)

// site is a configuration file, as the edge has one, and where its stores are.
type site struct {
	t         *testing.T
	dir, file string
	core      server.Config
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.file = filepath.Join(s.dir, "freeim.yaml")
	s.core = server.Config{Listen: "unix:" + filepath.Join(s.dir, "core.sock"), Data: filepath.Join(s.dir, "data")}
	s.write("")
	return s
}

// write writes the file, with more lines in its core section.
func (s *site) write(more string) {
	s.t.Helper()
	text := fmt.Sprintf("log: {level: info}\nedge:\n  tcp: \":7070\"\nadmin: {listen: \"127.0.0.1:9123\"}\ncore:\n  listen: %q\n  data: %q\n%s",
		s.core.Listen, s.core.Data, more)
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// serve starts a core; closing it twice is the test's fault.
func (s *site) serve() *server.Server {
	s.t.Helper()
	core, err := server.New(s.t.Context(), server.Options{Config: s.core, Plugins: plugins.All(), Log: quiet})
	if err != nil {
		s.t.Fatal(err)
	}
	return core
}

// started has been served once, so its tables are there.
func (s *site) started() *site {
	s.t.Helper()
	if err := s.serve().Close(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return s
}

func (s *site) stores(fn func(stores *server.Archived)) {
	s.t.Helper()
	stores, err := server.OpenArchived(s.t.Context(), s.core, plugins.All(), false, quiet)
	if err != nil {
		s.t.Fatal(err)
	}
	defer stores.Close()
	fn(stores)
}

// filled has one person and some messages.
func (s *site) filled(messages int) *site {
	s.t.Helper()
	s.started()
	s.stores(func(stores *server.Archived) {
		_, err := stores.Directory.DB().ExecContext(s.t.Context(), "INSERT INTO account_users (id, name, nickname, password, sign_ins, created_ms) "+
			"VALUES (100001, 'alice', 'Alice', 'x', 1, 0)")
		if err != nil {
			s.t.Fatal(err)
		}
		for i := range messages {
			body := make([]byte, 1<<10) // that does not become shorter when it is packed
			rand.Read(body)
			_, err := stores.Timelines.Append(s.t.Context(), timeline.Draft{Conversation: "c_100001_100002", Sender: 100001,
				ClientID: fmt.Sprint(i), Body: body, Inboxes: []im.UserID{100001, 100002}})
			if err != nil {
				s.t.Fatal(err)
			}
		}
	})
	return s
}

// holds checks how much is there, and gives the epoch.
func (s *site) holds(messages int64) (epoch string) {
	s.t.Helper()
	s.stores(func(stores *server.Archived) {
		epoch = stores.Timelines.Epoch()
		p, err := stores.Timelines.Log(s.t.Context(), "c_100001_100002", 0, 0)
		if err != nil || p.Head != messages {
			s.t.Errorf("got %d messages, %v, want %d", p.Head, err, messages)
		}
		var name string
		err = stores.Directory.DB().QueryRow("SELECT name FROM account_users WHERE id = 100001").Scan(&name)
		if messages > 0 && (err != nil || name != "alice") {
			s.t.Errorf("got %q, %v", name, err)
		}
	})
	return epoch
}

// run runs a command on the site's configuration; what it says must have want.
func (s *site) run(code int, want string, args ...string) {
	s.t.Helper()
	var said bytes.Buffer
	got := command.Run(s.t.Context(), command.Options{Program: "core", Config: s.file, Args: args, Plugins: plugins.All(), Err: &said, Out: &said,
		In: strings.NewReader("")})
	if got != code || !strings.Contains(said.String(), want) {
		s.t.Errorf("%v ended with %d, want %d, and said\n%s\nwant %q in it", args, got, code, said.String(), want)
	}
}

func TestBackupRestore(t *testing.T) {
	from, to := newSite(t).filled(50), newSite(t)
	out := filepath.Join(from.dir, "site.archive")
	from.run(command.Done, "50 messages, 100 inbox entries", "backup", out)
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a file for its owner alone", info, err)
	}
	from.run(command.Failed, "not overwritten", "backup", out)
	from.run(command.Done, "whole, of 20", "verify", out)
	to.run(command.Done, "clients will load anew", "restore", out)
	if from.holds(50) == to.holds(50) {
		t.Error("the epoch is the same after a restore")
	}
	to.run(command.Failed, "not empty", "restore", out)
	to.started() // a server runs on it
	left, err := filepath.Glob(filepath.Join(from.dir, "*.partial"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestMove(t *testing.T) {
	from, to, third := newSite(t).filled(20), newSite(t), newSite(t)
	epoch := from.holds(20)
	from.run(command.Done, "clients will go on", "move", to.file)
	if got := to.holds(20); got != epoch {
		t.Errorf("got epoch %q, want %q", got, epoch)
	}
	from.run(command.Failed, "moving from", "move", from.file)
	// Variables are of where from; those of where to have another name.
	t.Setenv("FREEIM_CORE_DATA", to.core.Data)
	t.Setenv("FREEIM_EDGE_NOTHING_THAT_IS_KNOWN_HERE", "x")
	t.Setenv("TO_FREEIM_CORE_DATA", filepath.Join(third.dir, "elsewhere"))
	from.run(command.Done, "clients will go on", "move", third.file)
	third.core.Data = filepath.Join(third.dir, "elsewhere")
	third.holds(20)
}

// inProduction puts the site's stores into a database.
func (s *site) inProduction() *site {
	s.t.Helper()
	s.core.MySQL.DSN = engines.Database(s.t)
	s.write(fmt.Sprintf("  mysql: {dsn: %q}\n", s.core.MySQL.DSN))
	return s
}

// From embedded to production and back, each in one command, with a backup of the
// running production between; then on with a server.
func TestProduction(t *testing.T) {
	home, site, back := newSite(t).filled(30), newSite(t).inProduction(), newSite(t)
	site.run(command.Failed, "no core has ever run", "backup", filepath.Join(site.dir, "x"))
	epoch := home.holds(30)
	home.run(command.Done, "30 messages", "move", site.file)
	if got := site.holds(30); got != epoch {
		t.Errorf("got epoch %q, want %q", got, epoch)
	}
	core := site.serve()
	out := filepath.Join(site.dir, "site.archive")
	site.run(command.Done, "30 messages", "backup", out)
	answer := httptest.NewRecorder()
	core.Backup().ServeHTTP(answer, httptest.NewRequest("GET", "/backup", nil))
	if sum, err := archive.Verify(t.Context(), answer.Body, nil); err != nil || sum.Messages != 30 {
		t.Errorf("a live backup: %s, %v", sum, err)
	}
	if err := core.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	home.run(command.Failed, "not empty", "move", site.file)
	site.run(command.Done, "start all cores", "new-epoch")
	if site.holds(30) == epoch {
		t.Error("the epoch is the same")
	}
	site.run(command.Done, "30 messages", "move", back.file)
	back.started().holds(30)
	other := newSite(t).inProduction().started() // what a core made first is empty
	other.run(command.Done, "30 messages", "restore", out)
	other.started().holds(30)
}

func TestNewEpoch(t *testing.T) {
	s := newSite(t).filled(3)
	before := s.holds(3)
	s.run(command.Done, "start all cores", "new-epoch")
	if s.holds(3) == before {
		t.Error("the epoch is the same")
	}
}

// Damaged archives are refused before anything is opened or made.
func TestRestoreDamaged(t *testing.T) {
	from := newSite(t).filled(30)
	out := filepath.Join(from.dir, "site.archive")
	from.run(command.Done, "", "backup", out)
	good, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(good)/2] ^= 4
	for name, bad := range map[string][]byte{"cut": good[:len(good)-9], "a bit": flipped, "empty": nil, "more": append(bytes.Clone(good), 'x')} {
		to := newSite(t)
		path := filepath.Join(to.dir, "bad.archive")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		to.run(command.Failed, "damaged", "restore", path)
		to.run(command.Failed, "damaged", "verify", path)
		if _, err := os.Stat(to.core.Data); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the target was made: %v", name, err)
		}
	}
}

func TestUsage(t *testing.T) {
	s := newSite(t)
	s.run(command.Usage, "new-epoch", "bakcup", "x")
	s.run(command.Usage, "backup OUT", "backup")
	s.run(command.Usage, "usage: core -config FILE new-epoch", "new-epoch", "x")
	s.run(command.Failed, "no stores in", "backup", filepath.Join(s.dir, "x"))
	s.run(command.Failed, "no stores in", "new-epoch")
	s.run(command.Failed, "no such file", "restore", filepath.Join(s.dir, "x"))
	if _, err := os.Stat(s.core.Data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stores were made: %v", err)
	}
	s.write("  dtaa: x\n")
	s.run(command.Failed, "core.dtaa is not known", "backup", filepath.Join(s.dir, "x"))
	edge := filepath.Join(s.dir, "edge.yaml")
	if err := os.WriteFile(edge, []byte("edge: {tcp: \":1\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.file = edge
	s.run(command.Failed, "no core section", "backup", filepath.Join(s.dir, "x"))
	s.file = filepath.Join(s.dir, "nowhere.yaml")
	s.run(command.Failed, "nowhere.yaml", "new-epoch")
}

// While a server runs, the command says how to get a backup from it, and that is
// how it is done.
func TestBackupOfARunningServer(t *testing.T) {
	s := newSite(t).filled(40)
	core := s.serve()
	s.run(command.Failed, "curl -f -o OUT http://127.0.0.1:9123/backup", "backup", filepath.Join(s.dir, "x"))
	s.run(command.Failed, "stop it", "restore", "-")
	answer := httptest.NewRecorder()
	core.Backup().ServeHTTP(answer, httptest.NewRequest("GET", "/backup", nil))
	if err := core.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, "live.archive")
	if err := os.WriteFile(path, answer.Body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	to := newSite(t)
	to.run(command.Done, "40 messages", "restore", path)
	to.holds(40)
}

// A restore that is killed in the middle leaves stores that no server takes for
// whole.
func TestRestoreKilled(t *testing.T) {
	from := newSite(t).filled(800)
	out := filepath.Join(from.dir, "site.archive")
	from.run(command.Done, "", "backup", out)
	good, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	to := newSite(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childConfig+"="+to.file, "TMPDIR="+to.dir) // what it leaves there goes with the test
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// More than a pipe and a reader hold back: when it is taken, the child is in
	// the middle, waiting for the rest.
	sent := 0
	for sent < len(good)-1 {
		n, err := in.Write(good[sent : sent+min(4<<10, len(good)-1-sent)])
		if err != nil {
			t.Fatal(err)
		}
		sent += n
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	core, err := server.New(t.Context(), server.Options{Config: to.core, Plugins: plugins.All(), Log: quiet})
	if !errors.Is(err, timeline.ErrUnfinished) {
		t.Errorf("a server on half a restore: %v, %v", core, err)
	}
	to.run(command.Failed, "did not finish", "restore", out)
	if err := os.RemoveAll(to.core.Data); err != nil { // as it says
		t.Fatal(err)
	}
	to.run(command.Done, "800 messages", "restore", out)
	to.holds(800)
}

package engines

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// victim is set in the environment of the process that TestChildrenDieWithTheirParent kills.
const victim = "FREEIM_TEST_VICTIM_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victim); dir != "" {
		r, err := StartRedis(context.Background(), RedisOptions{Dir: dir})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(r.Addr())
		select {} // until it is killed
	}
	goleak.VerifyTestMain(m)
}

func ask(t *testing.T, addr string, words ...string) string {
	t.Helper()
	answer, err := askRedis(t.Context(), addr, words...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// must fails the test at the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestRedisLife(t *testing.T) {
	for _, row := range []struct {
		name   string
		o      RedisOptions
		end    func(*RedisServer) error
		again  func(*RedisServer, context.Context) error
		remain string
	}{
		{"forgets", RedisOptions{}, (*RedisServer).Kill, (*RedisServer).Restart, ""},
		{"remembers", RedisOptions{AppendOnly: true}, (*RedisServer).Stop, (*RedisServer).Restart, "1"},
		{"is emptied", RedisOptions{AppendOnly: true}, (*RedisServer).Stop, (*RedisServer).RestartEmpty, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := RedisWith(t, row.o)
			addr := r.Addr()
			ask(t, addr, "SET", "a", "1")
			must(t, row.end(r))
			if c, err := net.Dial("tcp", addr); err == nil {
				t.Errorf("it still listens: %v", c.Close())
			}
			must(t, row.again(r, t.Context()))
			if got := ask(t, addr, "GET", "a"); got != row.remain {
				t.Errorf("got %q, want %q", got, row.remain)
			}
			must(t, r.Kill(), r.Kill()) // the second does nothing
		})
	}
}

func TestEndedServerIsNoticed(t *testing.T) {
	r := Redis(t)
	if r.Ended() {
		t.Error("a server that runs has ended")
	}
	must(t, r.signal(syscall.SIGKILL))
	for late := time.Now().Add(startTime); !r.Ended(); {
		if time.Now().After(late) {
			t.Fatal("the end of a server is not noticed")
		}
	}
	must(t, r.Restart(t.Context()))
	if r.Ended() {
		t.Error("a server that runs again has ended")
	}
}

func TestPausedServerAnswersNothing(t *testing.T) {
	r := Redis(t)
	must(t, r.Pause())
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := askRedis(ctx, r.Addr(), "PING")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("got an answer of a paused server: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	must(t, r.Resume(), <-answered)
	cancel()
}

func TestRedisCluster(t *testing.T) {
	c := RedisCluster(t)
	if len(c.Addrs()) != 3 {
		t.Fatalf("got %d nodes", len(c.Addrs()))
	}
	here := 0
	for _, addr := range c.Addrs() {
		_, err := askRedis(t.Context(), addr, "SET", "a", "1")
		switch {
		case err == nil:
			here++
		case !strings.Contains(err.Error(), "MOVED 15495"):
			t.Error(err)
		}
	}
	if here != 1 {
		t.Errorf("%d nodes hold the key, want 1", here)
	}
	must(t, c.RestartEmpty(t.Context()))
	if got := ask(t, c.Addrs()[2], "GET", "a"); got != "" {
		t.Errorf("got %q after the nodes were emptied", got)
	}
}

func TestSentinelFailsOver(t *testing.T) {
	g := Sentinel(t)
	before, err := g.PrimaryAddr(t.Context())
	must(t, err)
	if before != g.Primary.Addr() || len(g.Addrs()) != 1 {
		t.Fatalf("got primary %s, want %s", before, g.Primary.Addr())
	}
	must(t, g.Primary.Kill())
	must(t, g.Sentinel.await(t.Context(), func(ctx context.Context) error {
		now, err := g.PrimaryAddr(ctx)
		if err == nil && now != g.Replica.Addr() {
			err = fmt.Errorf("the primary is %s", now)
		}
		return err
	}))
	must(t, g.Replica.await(t.Context(), says(g.Replica, "role:master", "INFO", "replication")))
}

func TestEtcd(t *testing.T) {
	e := Etcd(t)
	must(t, e.Kill(), e.Restart(t.Context()))
}

func TestMariaDBLife(t *testing.T) {
	for _, row := range []struct {
		name   string
		o      MariaDBOptions
		binlog string
	}{{"plain", MariaDBOptions{}, "0"}, {"with a binary log", MariaDBOptions{Binlog: true}, "1"}} {
		t.Run(row.name, func(t *testing.T) {
			m := MariaDBWith(t, row.o)
			dsn, err := m.CreateDatabase(t.Context(), "one")
			must(t, err)
			db, err := sql.Open("mysql", dsn)
			must(t, err)
			defer db.Close()
			for _, query := range []string{"CREATE TABLE a (n INT)", "INSERT INTO a VALUES (7)"} {
				_, err := db.ExecContext(t.Context(), query)
				must(t, err)
			}
			must(t, m.Kill(), m.Restart(t.Context()))
			var n int
			var flush, binlog, tmp string
			// The pool may hold connections to the run before: it drops them.
			must(t, db.QueryRowContext(t.Context(), "SELECT n, @@innodb_flush_log_at_trx_commit, @@log_bin, @@tmpdir FROM a").Scan(&n, &flush, &binlog, &tmp))
			if n != 7 || flush != "1" || binlog != row.binlog {
				t.Errorf("got %d, flush %s, binlog %s", n, flush, binlog)
			}
			if !strings.HasPrefix(tmp, m.Dir()) { // servers that start remove each other's tables
				t.Errorf("temporary tables are in %s, want a directory of its own", tmp)
			}
			if _, err := m.CreateDatabase(t.Context(), "x; DROP DATABASE one"); err == nil {
				t.Error("a name that is none is taken")
			}
		})
	}
}

func TestDatabasesAreFresh(t *testing.T) {
	seen := map[string]bool{}
	for range 2 {
		t.Run("one", func(t *testing.T) {
			dsn := Database(t)
			if seen[dsn] {
				t.Errorf("%s is given twice", dsn)
			}
			seen[dsn] = true
			db, err := sql.Open("mysql", dsn)
			must(t, err)
			defer db.Close()
			_, err = db.ExecContext(t.Context(), "CREATE TABLE a (n INT)")
			must(t, err)
		})
	}
}

func TestRedisDatabasesAreFresh(t *testing.T) {
	addr, one := RedisDatabase(t)
	again, two := RedisDatabase(t)
	if one == two || one == 0 || addr != again {
		t.Errorf("got %s %d and %s %d", addr, one, again, two)
	}
	if got := ask(t, addr, "CONFIG", "GET", "databases"); got != fmt.Sprint("databases\n", mostDatabases) {
		t.Errorf("got %q", got)
	}
}

func TestFailedStartShowsTheLog(t *testing.T) {
	if _, err := find("redis-server"); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	_, err := StartRedis(t.Context(), RedisOptions{Dir: t.TempDir(), Config: []string{"no-such-setting 1"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-setting") {
		t.Errorf("got %v, want what redis-server said", err)
	}
}

func TestPortInUse(t *testing.T) {
	first := Redis(t)
	_, err := StartRedis(t.Context(), RedisOptions{Dir: t.TempDir(), Port: first.ports[0]})
	if err == nil {
		t.Error("two servers have one port")
	}
}

// TestFreePorts: a port that was given belongs to whoever has it, whether a server listens on it or not.
func TestFreePorts(t *testing.T) {
	p, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	taken := func() bool {
		held, err := hold(p.Number)
		if err == nil && held != nil {
			held.Close()
		}
		return err != nil
	}
	for range 2 {
		if runtime.GOOS == "linux" && !taken() {
			t.Error("it is given to another while nothing listens")
		}
		l, err := net.Listen("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if !taken() {
			t.Error("it is given to another while a server listens")
		}
		l.Close()
	}
	if err := p.Close(); err != nil || taken() {
		t.Errorf("it is not given back: %v", err)
	}
}

func TestMissingEngine(t *testing.T) {
	if _, err := find("freeim-no-such-server"); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v, want ErrMissing", err)
	}
}

func TestChildrenDieWithTheirParent(t *testing.T) {
	if _, err := find("redis-server"); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	if childAttributes().Setpgid && !strings.Contains(fmt.Sprintf("%+v", childAttributes()), "Pdeathsig:killed") {
		t.Skip("SKIPPED: children outlive a killed parent on this system")
	}
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), victim+"="+filepath.Join(t.TempDir(), "redis"))
	out, err := parent.StdoutPipe()
	must(t, err, parent.Start())
	var addr string
	if _, err := fmt.Fscan(out, &addr); err != nil {
		t.Fatal(err)
	}
	ask(t, addr, "PING")
	must(t, parent.Process.Signal(syscall.SIGKILL))
	_ = parent.Wait() // it was killed
	deadline := time.Now().Add(startTime)
	for {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		_ = c.Close()
		if time.Now().After(deadline) {
			t.Fatal("redis-server outlives its parent")
		}
	}
}

package engines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// Redis starts a redis-server for the test, without persistence, and ends it with
// the test. The test is skipped if there is none.
func Redis(t testing.TB) *RedisServer {
	t.Helper()
	return RedisWith(t, RedisOptions{})
}

// RedisWith is Redis with options; an empty Dir is a temporary one.
func RedisWith(t testing.TB, o RedisOptions) *RedisServer {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	r, err := StartRedis(t.Context(), o)
	return kept(t, r, err)
}

// RedisCluster starts a Cluster of three masters for the test.
func RedisCluster(t testing.TB) *Cluster {
	t.Helper()
	c, err := StartRedisCluster(t.Context(), t.TempDir(), 3)
	return kept(t, c, err)
}

// Sentinel starts a primary, a replica and a Sentinel for the test.
func Sentinel(t testing.TB) *SentinelGroup {
	t.Helper()
	g, err := StartSentinel(t.Context(), t.TempDir())
	return kept(t, g, err)
}

// Etcd starts an etcd for the test.
func Etcd(t testing.TB) *EtcdServer {
	t.Helper()
	e, err := StartEtcd(t.Context(), t.TempDir())
	return kept(t, e, err)
}

// MariaDB starts a mariadbd for the test alone, which may kill and freeze it. A
// test that only needs a database takes Database, which is far quicker.
func MariaDB(t testing.TB) *MariaDBServer {
	t.Helper()
	return MariaDBWith(t, MariaDBOptions{})
}

// MariaDBWith is MariaDB with options; an empty Dir is a temporary one.
func MariaDBWith(t testing.TB, o MariaDBOptions) *MariaDBServer {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	installation, err := shared.installation(t.Context())
	if err == nil {
		err = os.CopyFS(filepath.Join(o.Dir, "data"), os.DirFS(filepath.Join(installation, "data")))
	}
	if err != nil {
		return kept[*MariaDBServer](t, nil, err)
	}
	m, err := StartMariaDB(t.Context(), o)
	return kept(t, m, err)
}

// Database makes an empty database for the test on a mariadbd that all tests of
// the process share, and gives its DSN. The test is skipped if there is none.
func Database(t testing.TB) (dsn string) {
	t.Helper()
	m, name, err := shared.database(t.Context())
	if err == nil {
		dsn, err = m.CreateDatabase(t.Context(), name)
	}
	failUnlessMissing(t, err)
	t.Cleanup(func() {
		if err := m.DropDatabase(context.WithoutCancel(t.Context()), name); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return dsn
}

// kept ends what was started with the test.
func kept[T interface{ Kill() error }](t testing.TB, started T, err error) T {
	t.Helper()
	failUnlessMissing(t, err)
	t.Cleanup(func() {
		if err := started.Kill(); err != nil {
			t.Errorf("end a server: %v", err)
		}
	})
	return started
}

// failUnlessMissing skips the test when err says that an engine is not installed.
func failUnlessMissing(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, ErrMissing) {
		t.Skipf("SKIPPED: %s: %v", t.Name(), err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// shared is the one server of a process of tests: starting one for each test
// would take most of their time. It is used by Database and MariaDB only.
var shared sharedServer

// sharedServer starts at the first use. It runs until the process ends, and
// its directory is removed then, whatever ends the process.
type sharedServer struct {
	mu        sync.Mutex // guards the fields below; held while the server starts, which all wait for
	dir       string     // with an empty installation
	remover   io.Closer  // open as long as this process lives
	server    *MariaDBServer
	databases int
}

// installation gives a directory with an empty installation, to copy.
func (c *sharedServer) installation(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.install(ctx)
}

// database gives the server and an unused name.
func (c *sharedServer) database(ctx context.Context) (*MariaDBServer, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		dir, err := c.install(ctx)
		if err != nil {
			return nil, "", err
		}
		own := filepath.Join(filepath.Dir(dir), "shared")
		if err := os.CopyFS(filepath.Join(own, "data"), os.DirFS(filepath.Join(dir, "data"))); err != nil {
			return nil, "", err
		}
		if c.server, err = StartMariaDB(ctx, MariaDBOptions{Dir: own}); err != nil {
			return nil, "", err
		}
	}
	c.databases++
	return c.server, fmt.Sprintf("test_%d", c.databases), nil
}

// install makes the installation at the first call; c.mu is held.
func (c *sharedServer) install(ctx context.Context) (string, error) {
	if c.dir != "" {
		return c.dir, nil
	}
	if _, err := find("mariadbd"); err != nil {
		return "", err
	}
	parent, err := os.MkdirTemp("", "freeim-mariadb-")
	if err != nil {
		return "", err
	}
	if c.remover, err = removeAtEnd(parent); err != nil {
		return "", errors.Join(err, os.RemoveAll(parent))
	}
	dir := filepath.Join(parent, "empty")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if err := installMariaDB(ctx, dir); err != nil {
		return "", err
	}
	c.dir = dir
	return dir, nil
}

// removeAtEnd starts a shell that waits for the end of this process, which closes
// the pipe between them, and then removes dir. The server may take a moment to
// die of the same end.
func removeAtEnd(dir string) (io.Closer, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.Command("/bin/sh", "-c", `read -r nothing; for wait in 0 1 2 4; do sleep $wait; rm -rf -- "$0" && exit; done`, dir)
	cmd.Stdin, cmd.Dir, cmd.SysProcAttr = r, "/", &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

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
	return EtcdWith(t, EtcdOptions{})
}

// EtcdWith is Etcd with options; an empty Dir is a temporary one.
func EtcdWith(t testing.TB, o EtcdOptions) *EtcdServer {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	e, err := StartEtcd(t.Context(), o)
	return kept(t, e, err)
}

// MariaDB starts a mariadbd for the test alone, which may kill and freeze it. A
// test that only needs a database takes Database, which is far quicker.
func MariaDB(t testing.TB) *MariaDBServer {
	t.Helper()
	return MariaDBWith(t, MariaDBOptions{})
}

// MariaDBWith is MariaDB with options; an empty Dir is a temporary one. A server that
// was in Dir before left its data, which this one goes on with.
func MariaDBWith(t testing.TB, o MariaDBOptions) *MariaDBServer {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	data := filepath.Join(o.Dir, "data")
	if _, err := os.Stat(data); errors.Is(err, os.ErrNotExist) {
		installation, err := shared.installation(t.Context())
		if err == nil {
			err = os.CopyFS(data, os.DirFS(filepath.Join(installation, "data")))
		}
		if err != nil {
			return kept[*MariaDBServer](t, nil, err)
		}
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

// RedisDatabase gives the test a database of its own on a redis-server that all
// tests of the process share: the server's address and the database's number. The
// test is skipped if there is none.
func RedisDatabase(t testing.TB) (addr string, db int) {
	t.Helper()
	addr, db, err := sharedRedis.database(t.Context())
	failUnlessMissing(t, err)
	return addr, db
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

// The servers that the tests of a process share: starting one for each test would
// take most of their time. They are started at the first use and run until the
// process ends; their directories are removed then, whatever ends it.
var (
	shared      sharedMariaDB     // used by Database and MariaDB only
	sharedRedis sharedRedisServer // used by RedisDatabase only
)

// sharedRedisServer is a redis-server of many databases.
type sharedRedisServer struct {
	mu        sync.Mutex // guards the fields below; held while the server starts, which all wait for
	remover   io.Closer  // open as long as this process lives
	server    *RedisServer
	databases int
}

// mostDatabases bounds the tests of a process that have one each.
const mostDatabases = 16384

// database gives the server's address and an unused number.
func (c *sharedRedisServer) database(ctx context.Context) (addr string, db int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		if _, err := find("redis-server"); err != nil {
			return "", 0, err
		}
		dir, remover, err := temporary("freeim-redis-")
		if err != nil {
			return "", 0, err
		}
		c.remover = remover
		if c.server, err = StartRedis(ctx, RedisOptions{Dir: dir, Config: []string{fmt.Sprint("databases ", mostDatabases)}}); err != nil {
			return "", 0, err
		}
	}
	if c.databases == mostDatabases-1 {
		return "", 0, errors.New("too many tests in one process want a Redis database")
	}
	c.databases++
	return c.server.Addr(), c.databases, nil
}

// sharedMariaDB is a mariadbd with a database for each test.
type sharedMariaDB struct {
	mu        sync.Mutex // guards the fields below; held while the server starts, which all wait for
	dir       string     // with an empty installation
	remover   io.Closer  // open as long as this process lives
	scratch   io.Closer  // likewise, for the server's directory
	server    *MariaDBServer
	databases int
}

// installation gives a directory with an empty installation, to copy.
func (c *sharedMariaDB) installation(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.install(ctx)
}

// database gives the server and an unused name.
func (c *sharedMariaDB) database(ctx context.Context) (*MariaDBServer, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		dir, err := c.install(ctx)
		if err != nil {
			return nil, "", err
		}
		own, remover, err := temporaryIn(scratch(), "freeim-mariadb-")
		if err != nil {
			return nil, "", err
		}
		c.scratch = remover
		if err := os.CopyFS(filepath.Join(own, "data"), os.DirFS(filepath.Join(dir, "data"))); err != nil {
			return nil, "", err
		}
		// Nobody kills this server, so it need not wait for the disk.
		if c.server, err = StartMariaDB(ctx, MariaDBOptions{Dir: own, Args: []string{"--innodb-flush-method=nosync"}}); err != nil {
			return nil, "", err
		}
	}
	c.databases++
	return c.server, fmt.Sprintf("test_%d", c.databases), nil
}

// install makes the installation at the first call; c.mu is held.
func (c *sharedMariaDB) install(ctx context.Context) (string, error) {
	if c.dir != "" {
		return c.dir, nil
	}
	if _, err := find("mariadbd"); err != nil {
		return "", err
	}
	parent, remover, err := temporary("freeim-mariadb-")
	if err != nil {
		return "", err
	}
	c.remover = remover
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

// temporary makes a directory that is removed when this process ends.
func temporary(prefix string) (dir string, remover io.Closer, err error) {
	return temporaryIn("", prefix)
}

// temporaryIn is temporary in a directory; empty: where temporary files are.
func temporaryIn(parent, prefix string) (dir string, remover io.Closer, err error) {
	if dir, err = os.MkdirTemp(parent, prefix); err != nil {
		return "", nil, err
	}
	if remover, err = removeAtEnd(dir); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, remover, nil
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

package engines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// RedisOptions says what Redis server to start.
type RedisOptions struct {
	Dir  string // of its own; made if missing
	Port int    // 0: a free one
	// AppendOnly keeps what is written over a Restart, flushed once a second.
	// Without it every run begins empty.
	AppendOnly bool
	// Config are further lines of its configuration.
	Config []string
}

// RedisServer is a running redis-server.
type RedisServer struct{ *server }

// StartRedis starts a redis-server and returns when it answers. The error is
// ErrMissing if there is none.
func StartRedis(ctx context.Context, o RedisOptions) (*RedisServer, error) {
	return startRedis(ctx, o, []int{o.Port}, nil)
}

// startRedis is StartRedis with further ports and flags for the command line.
func startRedis(ctx context.Context, o RedisOptions, fixed []int, lines func(ports []int) []string, flags ...string) (*RedisServer, error) {
	name, err := find("redis-server")
	if err != nil {
		return nil, err
	}
	dir, err := made(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	r := &RedisServer{&server{name: name, dir: dir}}
	r.ready = func(ctx context.Context) error {
		// Another server, which was faster to take the port, has another process id.
		if err := says(r, fmt.Sprintf("process_id:%d\r\n", r.PID()), "INFO", "server")(ctx); err != nil {
			return err
		}
		return says(r, "PONG", "PING")(ctx) // refused, as all else, while it loads
	}
	err = start(ctx, r.server, fixed, func(ports []int) ([]string, error) {
		config := []string{
			fmt.Sprintf("port %d", ports[0]), "bind 127.0.0.1", "daemonize no", "save \"\"",
			"dir " + quoted(dir), "logfile \"\"", "repl-diskless-sync-delay 0", "shutdown-timeout 0",
		}
		if o.AppendOnly {
			config = append(config, "appendonly yes", "appendfsync everysec")
		}
		if lines != nil {
			config = append(config, lines(ports)...)
		}
		config = append(config, o.Config...)
		path := filepath.Join(dir, "redis.conf")
		return slices.Concat([]string{path}, flags), os.WriteFile(path, []byte(strings.Join(config, "\n")+"\n"), 0o600)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// quoted is text as redis.conf takes it.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// Addr is HOST:PORT.
func (r *RedisServer) Addr() string { return loopback(r.ports[0]) }

// Ask sends one command and gives its answer as text, an array as a line for each element of its first level.
func (r *RedisServer) Ask(ctx context.Context, words ...string) (string, error) {
	return askRedis(ctx, r.Addr(), words...)
}

// RestartEmpty runs the server again with nothing in it, and returns when it
// answers.
func (r *RedisServer) RestartEmpty(ctx context.Context) error {
	if err := r.Kill(); err != nil {
		return err
	}
	for _, name := range []string{"appendonlydir", "dump.rdb"} {
		if err := os.RemoveAll(filepath.Join(r.dir, name)); err != nil {
			return err
		}
	}
	return r.run(ctx)
}

// SentinelGroup is a primary, its replica, and a Sentinel that alone decides.
// When the primary is killed or paused the replica takes its place within about
// two seconds.
type SentinelGroup struct {
	Name             string // of the primary, as clients ask the Sentinel for it
	Primary, Replica *RedisServer
	Sentinel         *RedisServer
}

// StartSentinel starts a primary, a replica that has caught up with it, and a
// Sentinel that knows both, in directories below dir.
func StartSentinel(ctx context.Context, dir string) (_ *SentinelGroup, err error) {
	g := &SentinelGroup{Name: "freeim"}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Kill())
		}
	}()
	if g.Primary, err = StartRedis(ctx, RedisOptions{Dir: filepath.Join(dir, "primary")}); err != nil {
		return nil, err
	}
	primary := fmt.Sprintf("127.0.0.1 %d", g.Primary.ports[0])
	if g.Replica, err = StartRedis(ctx, RedisOptions{Dir: filepath.Join(dir, "replica"), Config: []string{"replicaof " + primary}}); err != nil {
		return nil, err
	}
	if err = g.Replica.await(ctx, says(g.Replica, "master_link_status:up", "INFO", "replication")); err != nil {
		return nil, fmt.Errorf("wait for the replica: %w", err)
	}
	g.Sentinel, err = startRedis(ctx, RedisOptions{Dir: filepath.Join(dir, "sentinel"), Config: []string{
		"sentinel monitor " + g.Name + " " + primary + " 1",
		"sentinel down-after-milliseconds " + g.Name + " 500",
		"sentinel failover-timeout " + g.Name + " 3000",
	}}, []int{0}, nil, "--sentinel")
	if err != nil {
		return nil, err
	}
	if err = g.Sentinel.await(ctx, says(g.Sentinel, "slaves=1", "INFO", "sentinel")); err != nil {
		return nil, fmt.Errorf("wait for the Sentinel to know the replica: %w", err)
	}
	return g, nil
}

// says gives a question whether the answer to a command holds the words.
func says(r *RedisServer, words string, command ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		answer, err := askRedis(ctx, r.Addr(), command...)
		if err == nil && !strings.Contains(answer, words) {
			err = fmt.Errorf("%s does not say %q: %q", strings.Join(command, " "), words, answer)
		}
		return err
	}
}

// Addrs are the Sentinels', for a client that asks them for the primary.
func (g *SentinelGroup) Addrs() []string { return []string{g.Sentinel.Addr()} }

// PrimaryAddr asks the Sentinel who the primary is.
func (g *SentinelGroup) PrimaryAddr(ctx context.Context) (string, error) {
	answer, err := askRedis(ctx, g.Sentinel.Addr(), "SENTINEL", "get-master-addr-by-name", g.Name)
	return strings.Replace(answer, "\n", ":", 1), err
}

// Kill ends all three.
func (g *SentinelGroup) Kill() error {
	var errs []error
	for _, r := range []*RedisServer{g.Sentinel, g.Replica, g.Primary} {
		if r != nil {
			errs = append(errs, r.Kill())
		}
	}
	return errors.Join(errs...)
}

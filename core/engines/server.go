// Package engines starts real private servers as child processes: Redis (alone,
// as a Cluster, watched by a Sentinel), MariaDB and etcd, on free ports of the
// loopback address, each in a directory of its own. Tests use it to meet the
// engines that production runs on, and to kill, freeze and empty them; one
// command that brings a whole installation up uses it too. It configures nothing
// that a site would run: durability is real, sizes are small, nothing is secured.
//
// A child ends with this process, whatever ends that (on Linux). Children are
// ended by their process id only. The methods of one server are called by one
// goroutine at a time. No goroutine is left running beside a server.
package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	startTime = 60 * time.Second      // for a server to become ready, on a busy machine
	stopTime  = 20 * time.Second      // for a server to end by itself, then it is killed
	pollEvery = 10 * time.Millisecond // while waiting for something to become true
)

// ErrMissing is returned when the engine is not installed.
var ErrMissing = errors.New("is not installed")

// server is one child process, which may run many times.
type server struct {
	name  string // of the program, as found
	dir   string // where it works; its log is server.log in it
	ports []int
	taken []*Port // of ports, those that are its own between its runs too
	args  []string
	ready func(ctx context.Context) error // nil error: it serves

	// Of the run under way; nil between runs.
	cmd  *exec.Cmd
	life *os.File // a pipe that the child holds open: at its end the child is gone
	said int64    // the length of the log as the run began
}

// start finds free ports (as many as fixed has, where that is 0), lets arguments
// write what the program is called with, and runs it until it is ready. When a
// port was taken by somebody faster, it tries others.
func start(ctx context.Context, s *server, fixed []int, arguments func(ports []int) ([]string, error)) error {
	for try := 0; ; try++ {
		err := s.takePorts(fixed)
		if err != nil {
			return err
		}
		if s.args, err = arguments(s.ports); err != nil {
			return err
		}
		if err = s.run(ctx); err == nil || try == 4 || ctx.Err() != nil || !s.logHas("in use") {
			return err
		}
	}
}

// takePorts takes those that fixed says, and free ones for its zeros.
func (s *server) takePorts(fixed []int) error {
	s.ports, s.taken = slices.Clone(fixed), nil
	for i, port := range s.ports {
		if port != 0 {
			continue
		}
		p, err := FreePort()
		if err != nil {
			return err
		}
		s.ports[i], s.taken = p.Number, append(s.taken, p)
	}
	return nil
}

// run starts the program and waits until it is ready.
func (s *server) run(ctx context.Context) error {
	if err := s.spawn(); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := s.ready(ctx)
		if err == nil {
			return nil
		}
		if s.gone(pollEvery) {
			s.reap()
			return fmt.Errorf("start %s: it ended at once; its log ends with:\n%s", s.name, s.logTail())
		}
		if ctx.Err() != nil {
			return errors.Join(fmt.Errorf("start %s: not ready: %w; its log ends with:\n%s", s.name, err, s.logTail()), s.Kill())
		}
	}
}

// spawn runs the program with a pipe that tells of its end, and its output in
// its log.
func (s *server) spawn() error {
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return err
	}
	life, held, err := os.Pipe()
	if err != nil {
		return err
	}
	defer held.Close()
	cmd := exec.Command(s.name, s.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.ExtraFiles = []*os.File{held}
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return errors.Join(err, life.Close())
	}
	s.cmd, s.life, s.said = cmd, life, info.Size()
	return nil
}

// gone waits up to d for the child's end, and reports whether it came.
func (s *server) gone(d time.Duration) bool {
	if err := s.life.SetReadDeadline(time.Now().Add(d)); err != nil {
		return true // of a closed pipe only
	}
	_, err := s.life.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// reap waits for a child that has ended, or is about to.
func (s *server) reap() {
	_ = s.cmd.Wait() // how it ended does not matter
	_ = s.life.Close()
	s.cmd, s.life = nil, nil
}

func (s *server) signal(sig syscall.Signal) error {
	if s.cmd == nil {
		return fmt.Errorf("signal %s: it does not run", s.name)
	}
	return s.cmd.Process.Signal(sig)
}

// PID is the process id, 0 while the server does not run.
func (s *server) PID() int {
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

// Dir is the server's directory.
func (s *server) Dir() string { return s.dir }

// Ended reports whether the run under way has ended by itself.
func (s *server) Ended() bool { return s.cmd != nil && s.gone(pollEvery) }

// Kill ends the server as a crash does (SIGKILL), and returns when it is gone.
// One that does not run is left so.
func (s *server) Kill() error {
	if s.cmd == nil {
		return nil
	}
	err := s.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	s.reap()
	return err
}

// Pause freezes the server (SIGSTOP), and returns when it stands: its connections
// stay and answer nothing.
func (s *server) Pause() error {
	if err := s.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for late := time.Now().Add(stopTime); !stopped(s.PID()); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			return fmt.Errorf("pause %s: it does not stand still", s.name)
		}
	}
	return nil
}

// Resume lets a paused server go on (SIGCONT).
func (s *server) Resume() error { return s.signal(syscall.SIGCONT) }

// Stop ends the server in good order (SIGTERM), or kills it when that takes too
// long. One that does not run is left so.
func (s *server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	if s.signal(syscall.SIGCONT) == nil && s.signal(syscall.SIGTERM) == nil && s.gone(stopTime) {
		s.reap()
		return nil
	}
	return s.Kill()
}

// Restart runs the server again, on the same ports and in the same directory,
// and returns when it serves. One that still runs is stopped before.
func (s *server) Restart(ctx context.Context) error {
	if err := s.Stop(); err != nil {
		return err
	}
	return s.run(ctx)
}

// await polls until is gives nil, and gives its last error when ctx or the start
// time ends first, or the server.
func (s *server) await(ctx context.Context, is func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := is(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		if s.gone(pollEvery) {
			return fmt.Errorf("%s has ended: %w", s.name, err)
		}
	}
}

func (s *server) logPath() string { return filepath.Join(s.dir, "server.log") }

// logTail gives the end of the log.
func (s *server) logTail() string {
	text, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-3000):])
}

// logHas reports whether the log of this run, or the last, has the words.
func (s *server) logHas(words string) bool {
	text, err := os.ReadFile(s.logPath())
	return err == nil && bytes.Contains(text[min(s.said, int64(len(text))):], []byte(words))
}

// logged is nil when the log of this run has the words. That another server
// answers on the port, which was faster, must not pass for this one's start.
func (s *server) logged(words string) error {
	if !s.logHas(words) {
		return fmt.Errorf("its log does not say %q", words)
	}
	return nil
}

// find gives the path of the first program that is installed. Servers are often
// outside the PATH of people who are not root.
func find(names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s %w", names[0], ErrMissing)
}

// made gives dir after making it if it is missing.
func made(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("no directory given")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
}

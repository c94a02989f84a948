package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// This file is "edge -processes N": a parent that serves nobody and runs N edges,
// its children, which share the ports. A pipe tells each of them to drain, and of the
// parent's own end, however it comes. A child that ends is started again.

const (
	restartFirst = time.Second      // before a child that has ended is started again
	restartMost  = 30 * time.Second // doubled up to this while it does not stay
	restartCalm  = time.Minute      // a child that has served so long has stayed
)

// The descriptors that a child gets, after the three standard ones.
const (
	parentPipe = 3 // gives an octet when it is to drain, and ends with the parent
	readyPipe  = 4 // gets an octet when the child serves
)

// part makes the configuration of child i of that of all: a name, a state of its
// rules and an administrative port of its own, the other ports shared.
func (c *config) part(i int) error {
	c.Edge.ID += "-" + strconv.Itoa(i)
	if c.Edge.Rules.State != "" {
		c.Edge.Rules.State += "-" + strconv.Itoa(i)
	}
	if c.Admin.Listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(c.Admin.Listen)
	if err != nil {
		return fmt.Errorf("admin.listen: %w", err)
	}
	first, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("admin.listen is %q: several processes count up from its port, so it must be a number", c.Admin.Listen)
	}
	if first > 0 {
		c.Admin.Listen = net.JoinHostPort(host, strconv.Itoa(first+i))
	}
	return nil
}

// shareable says what keeps several processes from serving as one edge.
func (c *config) shareable() error {
	if c.Core != nil {
		return errors.New("edge.processes is above 1, and there is a core section: give the core a process of its own")
	}
	for _, port := range []struct{ key, address string }{
		{"edge.tcp", c.Edge.TCP}, {"edge.tcps", c.Edge.TCPS}, {"edge.http", c.Edge.HTTP}, {"edge.https", c.Edge.HTTPS}, {"edge.ws_echo", c.Edge.WSEcho},
	} {
		if _, number, err := net.SplitHostPort(port.address); err == nil && number == "0" {
			return fmt.Errorf("%s is %q: processes can share only a port that is given", port.key, port.address)
		}
	}
	return nil
}

// parent runs the children until ctx ends and all have drained.
type parent struct {
	args []string // the program and its arguments, without -process
	log  *slog.Logger
	out  io.Writer

	first, most, calm time.Duration // see restartFirst and its like
}

func newParent(log *slog.Logger, out io.Writer) *parent {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	return &parent{args: append([]string{program}, os.Args[1:]...), log: log, out: out, first: restartFirst, most: restartMost, calm: restartCalm}
}

// run starts n children, and again those that end, until ctx does. When one ends
// before it has ever served, as a wrong configuration makes it, all are ended.
func (p *parent) run(ctx context.Context, n int) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var children sync.WaitGroup
	for i := range n {
		children.Go(func() {
			if err := p.keep(ctx, i); err != nil {
				stop(fmt.Errorf("process %d: %w", i, err))
			}
		})
	}
	fmt.Fprintf(p.out, "freeim runs %d processes that share the ports; their administrative ports count up\n", n)
	<-ctx.Done()
	fmt.Fprintln(p.out, "stopping; a second signal ends at once")
	children.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// keep runs child i again and again until ctx ends. Its error says that the child
// did not even get to serve the first time.
func (p *parent) keep(ctx context.Context, i int) error {
	pause := p.first
	for served := false; ; served = true {
		began := time.Now()
		ready, err := p.child(ctx, i)
		if ctx.Err() != nil {
			return nil
		}
		if !served && !ready {
			return fmt.Errorf("it did not start: %w", err)
		}
		if ready && time.Since(began) >= p.calm {
			pause = p.first
		}
		p.log.Error("a process has ended; it is started again", "process", i, "end", err, "in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, p.most)
	}
}

var errExited = errors.New("it ended by itself")

// child runs child i until it ends; when ctx does it is asked to. ready says that
// it has served.
func (p *parent) child(ctx context.Context, i int) (ready bool, err error) {
	hears, ask, err := os.Pipe()
	if err != nil {
		return false, err
	}
	defer ask.Close()
	serves, says, err := os.Pipe()
	if err != nil {
		hears.Close()
		return false, err
	}
	defer serves.Close()
	cmd := exec.Command(p.args[0], append(p.args[1:len(p.args):len(p.args)], "-process", strconv.Itoa(i))...)
	cmd.Stdout, cmd.Stderr = p.out, os.Stderr
	cmd.ExtraFiles = []*os.File{hears, says}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for the parent
	err = cmd.Start()
	hears.Close()
	says.Close()
	if err != nil {
		return false, err
	}
	p.log.Info("process started", "process", i, "pid", cmd.Process.Pid)
	defer context.AfterFunc(ctx, func() { ask.Write([]byte{1}) })()
	n, _ := serves.Read(make([]byte, 1)) // an octet, or the child's end
	if err = cmd.Wait(); err == nil {
		err = errExited
	}
	return n == 1, err
}

// ofParent is for a child: ctx ends when the parent asks for it, or is gone; when
// it is gone after it has asked, as by a second signal, the process ends at once.
// serving says to it that this child serves.
func ofParent(ctx context.Context) (_ context.Context, serving func()) {
	ctx, drain := context.WithCancel(ctx)
	go func() {
		pipe := os.NewFile(parentPipe, "parent")
		asked, _ := pipe.Read(make([]byte, 1))
		drain()
		if asked == 1 {
			pipe.Read(make([]byte, 1))
			os.Exit(1)
		}
	}()
	return ctx, func() {
		pipe := os.NewFile(readyPipe, "ready")
		defer pipe.Close()
		pipe.Write([]byte{1})
	}
}

// descriptorsKept are those that no session can have: of the links, the stores,
// the administrative port and connections that are no session yet.
const descriptorsKept = 256

// room is how many sessions the limit of open files allows this process.
func room() (sessions, files int) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<30 {
		return 1 << 30, 1 << 30
	}
	files = int(limit.Cur)
	return max(0, files-descriptorsKept), files
}

package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"freeim/idl"
)

// TestMain runs this binary as the program itself when a test asks for that: the
// parent of processes starts it again in its children.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_PROGRAM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// family is a parent with its children, all real processes.
type family struct {
	*testing.T
	*exec.Cmd
	tcp   string
	admin int // the first child's administrative port
	done  chan error

	mu   sync.Mutex // guards the fields below
	said strings.Builder
	pids map[int]int // of the children now, by number
}

// newFamily starts n processes that share ports; limit is how many files they may
// open, 0: as many as this test.
func newFamily(t *testing.T, n, limit int) *family {
	t.Helper()
	first := freePorts(t, 2+n)
	f := &family{T: t, tcp: fmt.Sprintf("127.0.0.1:%d", first), admin: first + 2, done: make(chan error, 1), pids: map[int]int{}}
	shell := `exec "$0" "$@"`
	if limit > 0 {
		shell = fmt.Sprintf("ulimit -n %d; ", limit) + shell
	}
	f.Cmd = exec.Command("sh", "-c", shell, os.Args[0], "-config", "../conf/edge.yaml", "-processes", strconv.Itoa(n))
	f.Env = append(os.Environ(), "TEST_AS_PROGRAM=1", "FREEIM_EDGE_TCP="+f.tcp, fmt.Sprintf("FREEIM_EDGE_HTTP=127.0.0.1:%d", first+1),
		"FREEIM_EDGE_CORES=unix:"+t.TempDir()+"/none.sock", "FREEIM_EDGE_AUTH_TIMEOUT=10m",
		fmt.Sprintf("FREEIM_ADMIN_LISTEN=127.0.0.1:%d", f.admin))
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	f.Stdout, f.Stderr = in, in
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		f.read(out)
	}()
	go func() { f.done <- f.Wait() }()
	t.Cleanup(func() {
		f.Process.Kill()
		<-read // every process has closed its end
		out.Close()
	})
	return f
}

var started = regexp.MustCompile(`process started.* process=(\d+) pid=(\d+)`)

func (f *family) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		f.mu.Lock()
		fmt.Fprintln(&f.said, lines.Text())
		if m := started.FindStringSubmatch(lines.Text()); m != nil {
			i, _ := strconv.Atoi(m[1])
			f.pids[i], _ = strconv.Atoi(m[2])
		}
		f.mu.Unlock()
	}
}

func (f *family) pid(i int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pids[i]
}

func (f *family) hasSaid(what string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Contains(f.said.String(), what)
}

// sessions is how many child i has; -1: it does not serve.
func (f *family) sessions(i int) int {
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", f.admin+i))
	if err != nil {
		return -1
	}
	defer res.Body.Close()
	page, _ := io.ReadAll(res.Body)
	m := regexp.MustCompile(`(?m)^freeim_edge_sessions (\d+)`).FindSubmatch(page)
	if m == nil {
		return -1
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// until polls; the deadline only ends a failed test.
func (f *family) until(what string, is func() bool) {
	f.Helper()
	const patience = 60 * time.Second // processes are started on a busy machine
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.Fatalf("not in time: %s; said:\n%s", what, &f.said)
		}
	}
}

// connect opens so many connections, each of which somebody has accepted.
func (f *family) connect(n int) (all []net.Conn) {
	f.Helper()
	to, err := net.ResolveTCPAddr("tcp", f.tcp)
	if err != nil {
		f.Fatal(err)
	}
	for range n {
		c := dial(f.T, to)
		c.SetDeadline(time.Now().Add(time.Minute))
		all = append(all, c)
	}
	return all
}

// TestProcesses: connections are dealt out to all of them; one that is killed takes
// its own connections along and comes back; SIGTERM drains all.
func TestProcesses(t *testing.T) {
	const children = 3
	f := newFamily(t, children, 0)
	all := func(is func(i int) bool) func() bool {
		return func() bool {
			for i := range children {
				if !is(i) {
					return false
				}
			}
			return true
		}
	}
	f.until("all to serve", all(func(i int) bool { return f.sessions(i) == 0 }))
	clients := f.connect(90)
	f.until("every process to have some", all(func(i int) bool { return f.sessions(i) > 0 }))
	f.until("all to be in", func() bool { return f.sessions(0)+f.sessions(1)+f.sessions(2) == len(clients) })
	first, killed, others := f.pid(1), f.sessions(1), f.sessions(0)+f.sessions(2)
	syscall.Kill(first, syscall.SIGKILL)
	f.until("it to be said", func() bool { return f.hasSaid("a process has ended; it is started again") })
	f.until("another to serve", func() bool { return f.sessions(1) == 0 && f.pid(1) != first })
	if got := f.sessions(0) + f.sessions(2); got != others {
		t.Errorf("the others have %d sessions, had %d", got, others)
	}
	f.Process.Signal(syscall.SIGTERM)
	quits, cut := 0, 0
	for _, c := range clients {
		var header [13]byte
		if _, err := io.ReadFull(c, header[:]); err != nil {
			cut++
		} else if idl.Action(header[4]) == idl.ActionQuit {
			quits++
		}
		c.Close()
	}
	if quits != others || cut != killed {
		t.Errorf("%d were told to go and %d cut off, want %d and %d", quits, cut, others, killed)
	}
	if err := <-f.done; err != nil {
		t.Errorf("the parent ended with %v", err)
	}
	f.until("no child to be left", all(func(i int) bool { return syscall.Kill(f.pid(i), 0) == syscall.ESRCH }))
}

// TestChildrenOfAKilledParent drain.
func TestChildrenOfAKilledParent(t *testing.T) {
	f := newFamily(t, 2, 0)
	f.until("both to serve", func() bool { return f.sessions(0) == 0 && f.sessions(1) == 0 })
	clients := f.connect(10)
	f.until("all to be in", func() bool { return f.sessions(0)+f.sessions(1) == len(clients) })
	f.Process.Kill()
	<-f.done
	for _, c := range clients {
		if a := next(t, c); a != idl.ActionQuit {
			t.Errorf("got %v, want Quit", a)
		}
		c.Close()
	}
	f.until("both to have ended", func() bool { return f.sessions(0) < 0 && f.sessions(1) < 0 })
}

// TestProcessesThatCannotServe: a parent whose child does not even start ends.
func TestProcessesThatCannotServe(t *testing.T) {
	f := newFamily(t, 2, 0)
	f.until("both to serve", func() bool { return f.sessions(0) == 0 && f.sessions(1) == 0 })
	second := exec.Command(os.Args[0], "-config", "../conf/edge.yaml", "-processes", "2")
	second.Env = f.Env // the same administrative ports, which are not shared
	out, err := second.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "address already in use") || !strings.Contains(string(out), "did not start") {
		t.Errorf("got %v: %s", err, out)
	}
	if f.sessions(0) != 0 || f.sessions(1) != 0 {
		t.Error("the first family does not serve any more")
	}
	f.Process.Signal(syscall.SIGTERM)
	if err := <-f.done; err != nil {
		t.Errorf("the parent ended with %v", err)
	}
}

// TestFewOpenFiles: it is said how many sessions fit.
func TestFewOpenFiles(t *testing.T) {
	f := newFamily(t, 2, 700)
	f.until("both to serve", func() bool { return f.sessions(0) == 0 && f.sessions(1) == 0 })
	f.until("it to be said", func() bool { return f.hasSaid("444 fit at once into a process: open files are limited to 700") })
	f.Process.Signal(syscall.SIGTERM)
	<-f.done
}

// freePorts is the first of n ports in a row that are free, out of the range from which the
// kernel gives out ports: another's connection could take one before a process does.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		first, free := 10000+rand.IntN(5000), true
		for i := range n {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+i))
			if free = free && err == nil; err == nil {
				l.Close()
			}
		}
		if free {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}

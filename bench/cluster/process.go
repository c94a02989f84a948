package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"freeim/core/engines"
)

const (
	readyTime = 60 * time.Second      // for a program to serve, on a busy machine
	pollEvery = 10 * time.Millisecond // while waiting for it
)

// Programs are the edge and the core, built.
type Programs struct{ Edge, Core string }

// Build builds the programs into dir, of the sources that surround the working
// directory.
func Build(ctx context.Context, dir string) (Programs, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Programs{}, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), "freeim/edge", "freeim/core")
	if out, err := build.CombinedOutput(); err != nil {
		return Programs{}, fmt.Errorf("build edge and core: %w\n%s", err, out)
	}
	return Programs{Edge: filepath.Join(dir, "edge"), Core: filepath.Join(dir, "core")}, nil
}

// Remove removes what Build made, with its directory.
func (p Programs) Remove() error { return os.RemoveAll(filepath.Dir(p.Edge)) }

// Process is an edge or a core as a process of its own, which may run many times
// at the same addresses. It ends with this process, whatever ends that (on
// Linux). Its methods are called by one goroutine at a time, but for those that ask it: Ready,
// Health and Figure.
type Process struct {
	Name   string
	Config string // the file it runs with
	Log    string // the file that holds what it said
	TCP    string // of an edge: HOST:PORT
	HTTP   string // of an edge: HOST:PORT
	Listen string // of a core: where edges link to
	Admin  string // HOST:PORT of the administrative port

	program string
	env     []string        // beside this process's own, without what configures a server
	ports   []*engines.Port // those of its addresses that it has to itself between its runs too

	// Of the run under way; nil between runs.
	cmd  *exec.Cmd
	end  chan struct{} // closed when it has ended
	code error         // how; written before end is closed
}

// Spawn runs the program and does not wait until it serves.
func (p *Process) Spawn() error {
	if p.Running() {
		return fmt.Errorf("start %s: it runs", p.Name)
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.program, "-config", p.Config)
	cmd.Env = append(cleanEnviron(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = ChildAttributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	end := make(chan struct{})
	p.cmd, p.end = cmd, end
	go func() {
		p.code = cmd.Wait()
		close(end)
	}()
	return nil
}

// Command has the program do something else than serve, with the same configuration, and
// gives what it said.
func (p *Process) Command(ctx context.Context, args ...string) (said string, err error) {
	cmd := exec.CommandContext(ctx, p.program, append([]string{"-config", p.Config}, args...)...)
	cmd.Env = append(cleanEnviron(), p.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %v: %w: %s", p.Name, args, err, bytes.TrimSpace(out))
	}
	return string(out), err
}

// cleanEnviron is this process's environment without what configures a server.
func cleanEnviron() (environ []string) {
	for _, line := range os.Environ() {
		if !strings.HasPrefix(line, "FREEIM_") {
			environ = append(environ, line)
		}
	}
	return environ
}

// Start runs the program and waits until it is ready.
func (p *Process) Start(ctx context.Context) error {
	if err := p.Spawn(); err != nil {
		return err
	}
	return p.AwaitReady(ctx)
}

// Move has a core that does not run listen at another address from its next start on: at a TCP
// port that is free. Edges that do not look for it elsewhere do not find it.
func (p *Process) Move() error {
	text, err := os.ReadFile(p.Config)
	if err != nil {
		return err
	}
	port, err := engines.FreePort()
	if err != nil {
		return err
	}
	from := fmt.Sprintf("listen: %q", p.Listen)
	if p.Listen == "" || strings.Count(string(text), from) != 1 {
		return fmt.Errorf("%s does not listen for edges at one address", p.Name)
	}
	p.Listen, p.ports = port.Addr(), append(p.ports, port)
	return os.WriteFile(p.Config, []byte(strings.Replace(string(text), from, fmt.Sprintf("listen: %q", p.Listen), 1)), 0o600)
}

// AwaitReady waits until the program says that nothing keeps it from serving.
func (p *Process) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		err := p.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.end:
			return fmt.Errorf("%s ended before it served: %w; it said:\n%s", p.Name, p.code, p.Said())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; it said:\n%s", p.Name, err, p.Said())
		case <-time.After(pollEvery):
		}
	}
}

// Ready asks the program what keeps it from serving.
func (p *Process) Ready(ctx context.Context) error {
	_, err := p.ask(ctx, "/readyz")
	return err
}

// Health is what a program says of itself.
type Health struct {
	Ready bool              // /readyz
	Alive bool              // /healthz
	Parts map[string]string // of /readyz: "ok", or what is wrong with it
}

// Health asks the program both: that it answers is not said by an error.
func (p *Process) Health(ctx context.Context) (h Health, err error) {
	var page struct{ Parts map[string]string }
	for path, ok := range map[string]*bool{"/healthz": &h.Alive, "/readyz": &h.Ready} {
		status, body, err := p.page(ctx, path)
		if err == nil && status != http.StatusOK && status != http.StatusServiceUnavailable {
			err = fmt.Errorf("it has status %d", status)
		}
		if err == nil && path == "/readyz" {
			err = json.Unmarshal(body, &page)
		}
		if err != nil {
			return h, fmt.Errorf("ask %s for %s: %w", p.Name, path, err)
		}
		*ok = status == http.StatusOK
	}
	h.Parts = page.Parts
	return h, nil
}

// ask reads a page of the administrative port that must be there.
func (p *Process) ask(ctx context.Context, path string) ([]byte, error) {
	status, body, err := p.page(ctx, path)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: %d: %s", path, status, bytes.TrimSpace(body))
	}
	return body, err
}

// page reads a page of the administrative port.
func (p *Process) page(ctx context.Context, path string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Admin+path, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Close = true // a connection that is kept would outlive the process and fail once
	rep, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer rep.Body.Close()
	body, err = io.ReadAll(rep.Body)
	return rep.StatusCode, body, err
}

// Figure is a figure of the administrative port: the sum of all samples of that
// name whose labels hold every one of with, as `result="OK"`.
func (p *Process) Figure(ctx context.Context, name string, with ...string) (sum float64, err error) {
	page, err := p.ask(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	found := false
	for lines := bufio.NewScanner(bytes.NewReader(page)); lines.Scan(); {
		sample, labels, value := cutSample(lines.Text())
		if sample != name || !containsAll(labels, with) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("read figure %s of %s: %w", name, p.Name, err)
		}
		sum, found = sum+n, true
	}
	if !found {
		return 0, fmt.Errorf("%s has no figure %s %v", p.Name, name, with)
	}
	return sum, nil
}

// cutSample cuts `name{labels} value`.
func cutSample(line string) (name, labels, value string) {
	at := strings.LastIndexByte(line, ' ')
	if at < 0 || strings.HasPrefix(line, "#") {
		return "", "", ""
	}
	name, labels, _ = strings.Cut(line[:at], "{")
	return name, labels, line[at+1:]
}

func containsAll(text string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// Running reports whether the program runs.
func (p *Process) Running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.end:
		return false
	default:
		return true
	}
}

// Ended is closed when the run under way has ended.
func (p *Process) Ended() <-chan struct{} { return p.end }

// Kill ends the program as a crash does, and returns when it is gone. One that
// does not run is left so.
func (p *Process) Kill() error {
	if p.cmd == nil {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.Name, err)
	}
	<-p.end // how it ended does not matter
	p.cmd = nil
	return nil
}

// Stop asks the program to drain and end (SIGTERM), and gives an error when it
// fails or ctx ends first; then it is killed.
func (p *Process) Stop(ctx context.Context) error {
	if p.cmd == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	select {
	case <-p.end:
		p.cmd = nil
		if p.code != nil {
			return fmt.Errorf("%s ended badly: %w; it said:\n%s", p.Name, p.code, p.Said())
		}
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s does not end: %w; it said:\n%s", p.Name, ctx.Err(), p.Said()), p.Kill())
	}
}

// Pause freezes the program (SIGSTOP): its connections stay and answer nothing.
func (p *Process) Pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused program go on (SIGCONT).
func (p *Process) Resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// PID is the process of the run under way.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// CPU is the processor time that the run under way has taken, on Linux.
func (p *Process) CPU() (time.Duration, error) { return CPU(p.cmd.Process.Pid) }

// CPU is the processor time that a process has taken, on Linux.
func CPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The fields behind the name, which may hold anything, in clock ticks. Source:
	// proc(5), utime and stime are the 14th and 15th.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("read the processor time of process %d: %q", pid, text)
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil
}

// Said is the end of the program's log.
func (p *Process) Said() string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-3000):])
}

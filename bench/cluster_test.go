package main

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"freeim/bench/e2e/browser"
	"freeim/core/engines"
)

// said is what the command has printed so far.
type said struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestCluster brings the cluster up as `make cluster` does, twice on one directory:
// two people chat in two browsers on two edges, and find their chat again.
func TestCluster(t *testing.T) {
	b := browser.ForTest(t)
	dir := t.TempDir()
	for _, visit := range []string{"first", "again"} {
		ctx, cancel := context.WithCancel(t.Context())
		out, ended := &said{}, make(chan error, 1)
		go func() { ended <- runCluster(ctx, []string{"-dir", dir, "-fixed=false"}, out) }()
		pages := pagesOf(t, out, ended)
		alice, bob := enter(t, b, pages[0], "alice", visit), enter(t, b, pages[1], "bob", visit)
		if visit == "first" {
			alice.Fill("#find", "bob")
			alice.Press("Enter")
			alice.WaitText("#peer-account", "@bob")
			say(alice, "Hello from one edge")
			bob.WaitText(".preview", "Hello from one edge")
		}
		bob.Click(".row")
		bob.WaitText(".message:not(.own) .text", "Hello from one edge")
		if visit == "first" {
			say(bob, "Hello from the other")
			alice.WaitText(".message:not(.own)", "Hello from the other")
			killed(t, out, "edge-2")
			killed(t, out, "core-1")
			bob.WaitText("#connection", "Online")
			say(bob, "Here again")
			alice.WaitText(".message:last-of-type:not(.own)", "Here again")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatalf("the cluster ended with %v; it said:\n%s", err, out)
		}
	}
}

// pagesOf waits until the cluster says which pages to open.
func pagesOf(t *testing.T, out *said, ended <-chan error) (pages []string) {
	t.Helper()
	page := regexp.MustCompile(`edge-\d +(http://\S+)`)
	late := time.After(3 * time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(out.String(), "Ctrl-C") {
		select {
		case <-tick.C:
		case err := <-ended:
			if errors.Is(err, engines.ErrMissing) {
				t.Skipf("SKIPPED: %s: %v", t.Name(), err)
			}
			t.Fatalf("the cluster ended with %v; it said:\n%s", err, out)
		case <-late:
			t.Fatalf("the cluster does not come up; it said:\n%s", out)
		}
	}
	for _, found := range page.FindAllStringSubmatch(out.String(), -1) {
		pages = append(pages, found[1])
	}
	if len(pages) != 2 {
		t.Fatalf("the cluster names the pages %q, want two; it said:\n%s", pages, out)
	}
	return pages
}

// enter signs a person up at the first visit, and in at later ones.
func enter(t *testing.T, b *browser.Browser, url, account, visit string) *browser.Page {
	t.Helper()
	p := browser.OpenPage(t, b, account, url)
	if visit == "first" {
		p.Click("#mode-sign-up")
	}
	p.Fill("#account", account)
	p.Fill("#password", "correct horse battery")
	p.Press("Enter")
	p.WaitText("#connection", "Online")
	return p
}

// killed kills a process by the number that the cluster tells, and waits until it
// has been started again.
func killed(t *testing.T, out *said, name string) {
	t.Helper()
	number := regexp.MustCompile(name + ` .*process (\d+)`).FindStringSubmatch(out.String())
	if number == nil {
		t.Fatalf("the cluster does not tell the number of %s; it said:\n%s", name, out)
	}
	pid, _ := strconv.Atoi(number[1])
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(time.Minute); !strings.Contains(out.String(), name+" serves again"); <-tick.C {
		if time.Now().After(late) {
			t.Fatalf("%s is not started again; the cluster said:\n%s", name, out)
		}
	}
}

func say(p *browser.Page, text string) {
	p.Type("#text", text)
	p.Press("Enter")
	p.WaitFor(`document.querySelector("#text").value === ""`)
}

// TestCommands: bench names what it can do, and does not know anything else.
func TestCommands(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), nil, &out); err != nil || !strings.Contains(out.String(), "cluster") {
		t.Errorf("got %v, %q", err, out.String())
	}
	if err := run(t.Context(), []string{"clutser"}, &out); err == nil {
		t.Error("a command that does not exist was run")
	}
}

// Package browser drives a real, headless Chromium from Go tests: tabs in
// sessions of their own, real mouse and key events, waiting for what a page
// shows, screenshots. It speaks the DevTools protocol over a pipe and needs no
// other module. It knows nothing of freeim; tests of the demo page use it.
package browser

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrMissing says that this machine has no Chromium.
var ErrMissing = errors.New("no Chromium on this machine: apt-get install -y chromium, or set CHROMIUM to its path")

// launchWait is how long a browser may take to start, on a busy machine too.
const launchWait = 40 * time.Second

// Options says how to start a browser. The zero value is fine.
type Options struct {
	// Path is the executable. Empty: $CHROMIUM, else chromium, chromium-browser
	// or google-chrome, whichever is found in $PATH.
	Path string
	// Wait is how long every call of a Tab may take. Zero means 20 s.
	Wait time.Duration
	// Trust are certificates that https pages may show although no authority of
	// this machine signed them, such as those that tests make.
	Trust []*x509.Certificate
}

// Browser is one running Chromium. Safe for concurrent use.
type Browser struct {
	wait    time.Duration
	command *exec.Cmd
	profile string // removed by Close
	conn    *conn
}

// Launch starts Chromium with an empty profile, which Close removes. It returns
// ErrMissing when there is none on this machine.
func Launch(o Options) (*Browser, error) {
	path, err := find(o.Path)
	if err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp("", "freeim-browser-")
	if err != nil {
		return nil, fmt.Errorf("profile directory: %w", err)
	}
	b := &Browser{wait: o.Wait, profile: profile}
	if b.wait == 0 {
		b.wait = 20 * time.Second
	}
	if err := b.start(path, o.Trust); err != nil {
		os.RemoveAll(profile)
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	if err := b.ready(); err != nil {
		b.Close()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return b, nil
}

func find(path string) (string, error) {
	if path == "" {
		path = os.Getenv("CHROMIUM")
	}
	if path != "" {
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			return found, nil
		}
	}
	return "", ErrMissing
}

// start runs Chromium in a process group of its own, joined by two pipes: it
// reads commands from descriptor 3 and writes to 4.
func (b *Browser) start(path string, trust []*x509.Certificate) error {
	in, commands, err := os.Pipe()
	if err != nil {
		return err
	}
	events, out, err := os.Pipe()
	if err != nil {
		return errors.Join(err, in.Close(), commands.Close())
	}
	b.command = exec.Command(path, arguments(b.profile, trust)...)
	b.command.ExtraFiles = []*os.File{in, out}
	b.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = b.command.Start()
	in.Close()
	out.Close()
	if err != nil {
		return errors.Join(err, commands.Close(), events.Close())
	}
	b.conn = newConn(commands, events)
	return nil
}

func arguments(profile string, trust []*x509.Certificate) []string {
	keys := make([]string, len(trust))
	for i, c := range trust {
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		keys[i] = base64.StdEncoding.EncodeToString(sum[:])
	}
	return []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-extensions",
		"--hide-scrollbars", "--lang=en-US", "--remote-debugging-pipe",
		"--user-data-dir=" + filepath.Join(profile, "profile"),
		"--ignore-certificate-errors-spki-list=" + strings.Join(keys, ","), "about:blank",
	}
}

// ready waits until the browser answers.
func (b *Browser) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), launchWait)
	defer cancel()
	return b.conn.call(ctx, "", "Browser.getVersion", nil, nil)
}

// NewTab opens url in a browser context of its own: cookies and storage are
// shared with no other tab, so two tabs are two people. It returns when the page
// has loaded.
func (b *Browser) NewTab(url string) (*Tab, error) {
	t := &Tab{browser: b, wait: b.wait}
	if err := t.open(url); err != nil {
		return nil, fmt.Errorf("open %s: %w", url, err)
	}
	return t, nil
}

// Close ends the browser with all its tabs and removes its profile. It is safe
// to call it twice.
func (b *Browser) Close() error {
	if b.command == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = b.conn.call(ctx, "", "Browser.close", nil, nil) // what it does not do by itself, the signal does
	group := b.command.Process.Pid
	b.command.Process.Signal(syscall.SIGTERM)
	b.conn.close()
	syscall.Kill(-group, syscall.SIGKILL)
	b.command.Wait()
	b.command = nil
	return os.RemoveAll(b.profile)
}

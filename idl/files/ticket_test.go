package files_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"freeim/idl/files"
)

var key = files.Key(strings.Repeat("k", files.LeastKey))

func parsed(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestTickets(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	want := files.Ticket{Method: "GET", ID: files.NewID(), Size: 1 << 40, Type: "image/png", SHA256: strings.Repeat("a", 64), Name: "ä &=?#+ b.png", Owner: 100_001, Expires: now.Add(time.Hour)}
	u := parsed(t, key.URL(want))
	for _, method := range []string{"GET", "HEAD"} {
		if got, err := key.Ticket(method, u, now); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", method, got, err)
		}
	}
	if _, err := key.Ticket("GET", u, want.Expires); !errors.Is(err, files.ErrExpired) {
		t.Errorf("at its end: got %v", err)
	}
	if _, err := key.Ticket("PUT", u, now); !errors.Is(err, files.ErrTicket) {
		t.Errorf("for another method: got %v", err)
	}
	if _, err := files.Key(nil).Ticket("GET", parsed(t, files.Key(nil).URL(want)), now); !errors.Is(err, files.ErrTicket) {
		t.Errorf("without a key: got %v", err)
	}
}

// Parts do not run into one another.
func TestTicketPartsAreApart(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	a := files.Ticket{Method: "GET", ID: files.NewID(), Size: 1, Type: "image/png", SHA256: "x", Name: "y", Expires: now.Add(time.Hour)}
	b := a
	b.Type, b.SHA256 = "image/pn", "gx"
	signed, other := parsed(t, key.URL(a)).Query(), parsed(t, key.URL(b))
	q := other.Query()
	q.Set("k", signed.Get("k"))
	other.RawQuery = q.Encode()
	if _, err := key.Ticket("GET", other, now); !errors.Is(err, files.ErrTicket) {
		t.Errorf("got %v", err)
	}
}

// Whatever is asked, only what was signed is a ticket.
func FuzzTicket(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	good := files.Ticket{Method: "PUT", ID: "ABCDEFGHJKLMNPQRSTUVWXYZ23", Size: 5, Type: "image/png", SHA256: strings.Repeat("a", 64), Owner: 7, Expires: now.Add(time.Hour)}
	f.Add(key.URL(good))
	f.Add("/files/?e=1")
	f.Add("/files/ABCDEFGHJKLMNPQRSTUVWXYZ23?e=1&s=2&k=AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil {
			return
		}
		got, err := key.Ticket("PUT", u, now)
		if err == nil && got != good {
			t.Errorf("%q is taken for %+v", text, got)
		}
		if err != nil && got != (files.Ticket{}) && !errors.Is(err, files.ErrTicket) {
			t.Errorf("%q: got %+v with %v", text, got, err)
		}
	})
}

// Of several who need the key first, all have the same.
func TestKeyIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "files")
	keys := make([]string, 8)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			h := &files.Home{Dir: dir}
			_, key, err := h.Open()
			if err != nil {
				t.Error(err)
			}
			keys[i] = string(key)
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, k := range keys {
		if k != keys[0] || len(k) < files.LeastKey {
			t.Errorf("got %q and %q", k, keys[0])
		}
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("the directory holds %v, %v", names, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
}

// TestModeOfKey: where edge and core have the directory by their group, the key is read by it too, and by nobody else.
func TestModeOfKey(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o007))
	for mode, want := range map[os.FileMode]os.FileMode{0o700: 0o600, 0o755: 0o600, 0o770: 0o600, os.ModeSetgid | 0o770: 0o640} {
		h := &files.Home{Dir: t.TempDir()}
		if err := os.Chmod(h.Dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.Open(); err != nil {
			t.Fatal(err)
		}
		if at, err := os.Stat(filepath.Join(h.Dir, "key")); err != nil || at.Mode() != want {
			t.Errorf("in a directory of mode %v: %v, %v, want %v", mode, at.Mode(), err, want)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestKeyThatIsNone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &files.Home{Dir: dir}
	if _, _, err := h.Open(); err == nil || !strings.Contains(err.Error(), "32") || strings.Contains(err.Error(), "short") {
		t.Errorf("got %v, want what is wrong, without the key", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	given := &files.Home{Dir: dir, Given: strings.Repeat("g", 32)}
	if _, key, err := given.Open(); err != nil || string(key) != given.Given {
		t.Errorf("got %q, %v", key, err)
	}
	if err := given.Close(); err != nil {
		t.Error(err)
	}
}

func TestDisposition(t *testing.T) {
	for _, row := range []struct{ kind, name, want string }{
		{"image/png", "a.png", "inline; filename=a.png"},
		{"image/svg+xml", "a.svg", "attachment; filename=a.svg"},
		{"text/html", "a b.html", `attachment; filename="a b.html"`},
		{"application/zip", "", "attachment"},
		{"text/html", "a\"\\b.html", `attachment; filename="a\"\\b.html"`},
		{"text/html", "中.html", "attachment; filename*=utf-8''%E4%B8%AD.html"},
	} {
		if got := files.Disposition(row.kind, row.name); got != row.want {
			t.Errorf("%s %q: got %q, want %q", row.kind, row.name, got, row.want)
		}
	}
}

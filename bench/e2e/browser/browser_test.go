package browser_test

import (
	"errors"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freeim/bench/e2e/browser"
)

const sample = `<!doctype html><title>sample</title><body>
<input id=field value=old><button id=button onclick="out.textContent = field.value">show</button>
<p id=out></p><p hidden class=secret>hidden</p><p class=seen>seen</p>
<script>
  field.onkeydown = e => { if (e.key === "Enter") out.textContent = (e.shiftKey ? "shift " : "") + "enter " + field.value }
  setTimeout(() => document.body.append("later"), 50)
</script>`

// site serves the sample page.
func site(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte(sample))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestPage(t *testing.T) {
	b := browser.ForTest(t)
	url := site(t)

	t.Run("mouse and keys", func(t *testing.T) {
		p := browser.OpenPage(t, b, "page", url)
		p.Fill("#field", "new")
		p.Click("#button")
		p.WaitText("#out", "new")
		p.Type("#field", "er")
		p.Press("Enter")
		p.WaitText("#out", "enter newer")
		p.Press("Shift+Enter")
		p.WaitText("#out", "shift enter newer")
		p.Fill("#field", "")
		p.WaitFor(`field.value === ""`)
		p.NoFaults()
	})
	t.Run("a click waits for what moves or is covered", func(t *testing.T) {
		p := browser.OpenPage(t, b, "page", url)
		p.Eval(`(() => {
			const cover = document.createElement("div")
			cover.style = "position: fixed; inset: 0; background: gray"
			document.body.append(cover)
			setTimeout(() => cover.remove(), 200)
			let top = 300
			const move = setInterval(() => { button.style = "position: fixed; top: " + (top -= 5) + "px"; if (!top) clearInterval(move) }, 5)
		})()`, nil)
		p.Click("#button")
		p.WaitText("#out", "old")
	})
	t.Run("what comes later is waited for", func(t *testing.T) {
		p := browser.OpenPage(t, b, "page", url)
		p.WaitText("body", "later")
		if got := p.Texts(".seen, .missing"); len(got) != 1 || got[0] != "seen" {
			t.Errorf("got %q, want one text", got)
		}
	})
	t.Run("each tab has a storage of its own, which a reload keeps", func(t *testing.T) {
		one, two := browser.OpenPage(t, b, "one", url), browser.OpenPage(t, b, "two", url)
		one.Eval(`localStorage.setItem("who", "one")`, nil)
		two.Eval(`localStorage.setItem("who", "two")`, nil)
		one.Reload()
		var who string
		one.Eval(`localStorage.getItem("who")`, &who)
		if who != "one" {
			t.Errorf("got %q, want one", who)
		}
	})
	t.Run("theme, size, picture", func(t *testing.T) {
		p := browser.OpenPage(t, b, "page", url)
		p.Dark(true)
		p.WaitFor(`matchMedia("(prefers-color-scheme: dark)").matches`)
		p.Dark(false)
		p.WaitFor(`!matchMedia("(prefers-color-scheme: dark)").matches`)
		p.Resize(400, 300)
		path := filepath.Join(t.TempDir(), "page.png")
		p.Screenshot(path)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if size, err := png.DecodeConfig(f); err != nil || size.Width != 400 || size.Height != 300 {
			t.Errorf("got %+v %v, want 400 by 300", size, err)
		}
	})
	t.Run("faults of the page are kept", func(t *testing.T) {
		p := browser.OpenPage(t, b, "page", url)
		p.Eval(`void setTimeout(() => { throw new Error("boom") })`, nil)
		deadline := time.Now().Add(time.Minute)
		for len(p.Tab().Faults()) == 0 && time.Now().Before(deadline) {
			p.Eval("1", nil)
		}
		if got := strings.Join(p.Tab().Faults(), "\n"); !strings.Contains(got, "boom") {
			t.Errorf("got %q, want the exception", got)
		}
	})
}

func TestErrors(t *testing.T) {
	browser.ForTest(t).Close() // skips without a browser
	b, err := browser.Launch(browser.Options{Wait: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.NewTab("http://127.0.0.1:1/"); err == nil {
		t.Error("a page that is not there opened")
	}
	tab, err := b.NewTab("data:text/html,<p>words</p>")
	if err != nil {
		t.Fatal(err)
	}
	if err := tab.Eval(`missing.property`, nil); err == nil || !strings.Contains(err.Error(), "ReferenceError") {
		t.Errorf("got %v, want the exception", err)
	}
	if err := tab.WaitText("p", "other"); err == nil || !strings.Contains(err.Error(), "words") {
		t.Errorf("got %v, want an error that shows the page", err)
	}
	if err := tab.Press("F13"); err == nil {
		t.Error("an unknown key was pressed")
	}
	if err := tab.Eval("new Promise(() => {})", nil); err == nil || !strings.Contains(err.Error(), "its script runs") {
		t.Errorf("got %v, want an error that says that the page lives", err)
	}
	if err := tab.Eval("addEventListener('keydown', () => { for (;;); })", nil); err != nil {
		t.Fatal(err)
	}
	if err := tab.Press("Enter"); err == nil || !strings.Contains(err.Error(), "its script hangs") {
		t.Errorf("got %v, want an error that says that the page hangs", err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := tab.Eval("1", nil); err == nil {
		t.Error("a closed browser answered")
	}
	if err := b.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

func TestMissing(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv("CHROMIUM", "")
	if _, err := browser.Launch(browser.Options{}); !errors.Is(err, browser.ErrMissing) {
		t.Errorf("got %v, want ErrMissing", err)
	}
	if _, err := browser.Launch(browser.Options{Path: "/does/not/exist"}); err == nil {
		t.Error("a path that does not exist was started")
	}
}

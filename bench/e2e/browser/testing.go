package browser

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Require is the environment variable that makes a missing Chromium a failure
// instead of a skipped test.
const Require = "REQUIRE_BROWSER"

// ForTest launches a browser that ends with the test. Without a Chromium on the
// machine it skips the test and says so, or fails it where Require is set.
func ForTest(t testing.TB) *Browser {
	t.Helper()
	return LaunchForTest(t, Options{})
}

// LaunchForTest is ForTest with options.
func LaunchForTest(t testing.TB, o Options) *Browser {
	t.Helper()
	b, err := Launch(o)
	if errors.Is(err, ErrMissing) && os.Getenv(Require) == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// Page is a Tab for tests: its methods fail the test instead of returning an
// error, and a failed test leaves a screenshot behind.
type Page struct {
	t    testing.TB
	name string
	tab  *Tab
}

// OpenPage opens url in a new tab, which ends with the test. The name, such as
// "alice", appears in failures.
func OpenPage(t testing.TB, b *Browser, name, url string) *Page {
	t.Helper()
	tab, err := b.NewTab(url)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	p := &Page{t: t, name: name, tab: tab}
	t.Cleanup(p.leave)
	return p
}

// leave runs at the end of the test, before the browser ends.
func (p *Page) leave() {
	if p.t.Failed() {
		path := filepath.Join(os.TempDir(), strings.ReplaceAll(p.t.Name(), "/", "-")+"-"+p.name+".png")
		if p.tab.Screenshot(path) == nil {
			p.t.Logf("%s: the page at the end: %s", p.name, path)
		}
	}
	p.tab.Close()
}

// Tab is the page's tab, for what Page has no method for.
func (p *Page) Tab() *Tab { return p.tab }

// must fails the test at once when a step did.
func (p *Page) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// Click, Fill, Type, Press, WaitVisible, WaitText, WaitFor, Reload, Resize, Dark
// and Screenshot are those of Tab.
func (p *Page) Click(selector string)       { p.t.Helper(); p.must(p.tab.Click(selector)) }
func (p *Page) Fill(selector, text string)  { p.t.Helper(); p.must(p.tab.Fill(selector, text)) }
func (p *Page) Type(selector, text string)  { p.t.Helper(); p.must(p.tab.Type(selector, text)) }
func (p *Page) Press(key string)            { p.t.Helper(); p.must(p.tab.Press(key)) }
func (p *Page) WaitVisible(selector string) { p.t.Helper(); p.must(p.tab.WaitVisible(selector)) }
func (p *Page) WaitText(selector, s string) { p.t.Helper(); p.must(p.tab.WaitText(selector, s)) }
func (p *Page) WaitFor(expression string)   { p.t.Helper(); p.must(p.tab.WaitFor(expression)) }
func (p *Page) Reload()                     { p.t.Helper(); p.must(p.tab.Reload()) }
func (p *Page) Resize(width, height int)    { p.t.Helper(); p.must(p.tab.Resize(width, height)) }
func (p *Page) Dark(dark bool)              { p.t.Helper(); p.must(p.tab.Dark(dark)) }
func (p *Page) Screenshot(path string)      { p.t.Helper(); p.must(p.tab.Screenshot(path)) }

// Eval runs a JavaScript expression and decodes its value into result, which may
// be nil.
func (p *Page) Eval(expression string, result any) {
	p.t.Helper()
	p.must(p.tab.Eval(expression, result))
}

// Texts gives the visible texts of all elements that the CSS selector finds.
func (p *Page) Texts(selector string) []string {
	p.t.Helper()
	texts, err := p.tab.Texts(selector)
	p.must(err)
	return texts
}

// NoFaults fails the test when the page threw an exception or the browser logged
// an error, except for those that contain one of the texts allowed.
func (p *Page) NoFaults(allowed ...string) {
	p.t.Helper()
faults:
	for _, fault := range p.tab.Faults() {
		for _, text := range allowed {
			if strings.Contains(fault, text) {
				continue faults
			}
		}
		p.t.Errorf("%s: %s", p.name, fault)
	}
}

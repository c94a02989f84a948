package browser

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// pollPause is the time between two looks at a page that is waited for.
const pollPause = 15 * time.Millisecond

// pulseWait is how long a page may take to show that its script runs.
const pulseWait = 5 * time.Second

// Tab is one page. Each call waits at most Options.Wait. Use it from one
// goroutine at a time; different tabs may be used at once.
type Tab struct {
	browser *Browser
	wait    time.Duration
	context string // of the browser, with a storage of its own
	target  string
	session string

	mu     sync.Mutex // guards the fields below
	faults []string
}

func (t *Tab) open(url string) error {
	var context struct {
		ID string `json:"browserContextId"`
	}
	if err := t.browserCall("Target.createBrowserContext", nil, &context); err != nil {
		return err
	}
	t.context = context.ID
	var target struct {
		ID string `json:"targetId"`
	}
	at := map[string]any{"url": "about:blank", "browserContextId": t.context, "width": 1280, "height": 800}
	if err := t.browserCall("Target.createTarget", at, &target); err != nil {
		return err
	}
	t.target = target.ID
	var session struct {
		ID string `json:"sessionId"`
	}
	if err := t.browserCall("Target.attachToTarget", map[string]any{"targetId": t.target, "flatten": true}, &session); err != nil {
		return err
	}
	t.session = session.ID
	return t.prepare(url)
}

// prepare listens for faults, makes the page believe that it is looked at, and
// loads url.
func (t *Tab) prepare(url string) error {
	t.browser.conn.listen(t.session, t.event)
	enable := []string{"Page.enable", "Runtime.enable", "Log.enable", "Network.enable"}
	for _, method := range enable {
		if err := t.Call(method, nil, nil); err != nil {
			return err
		}
	}
	if err := t.Call("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}, nil); err != nil {
		return err
	}
	return t.Navigate(url)
}

// event keeps what the page complains about: uncaught exceptions, console
// errors, and violations of its Content-Security-Policy.
func (t *Tab) event(method string, params json.RawMessage) {
	var e struct {
		Details struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
		Entry struct {
			Level string `json:"level"`
			Text  string `json:"text"`
			URL   string `json:"url"`
		} `json:"entry"`
	}
	if json.Unmarshal(params, &e) != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case method == "Runtime.exceptionThrown":
		t.faults = append(t.faults, strings.TrimSpace(e.Details.Text+" "+e.Details.Exception.Description))
	case method == "Log.entryAdded" && e.Entry.Level == "error":
		t.faults = append(t.faults, strings.TrimSpace(e.Entry.Text+" "+e.Entry.URL))
	}
}

// Faults gives the page's uncaught exceptions and the browser's own error log
// (such as a violated Content-Security-Policy), oldest first.
func (t *Tab) Faults() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.faults...)
}

// Call runs any method of the DevTools protocol on the tab; result may be nil.
// When the page does not answer in time, the error says whether its script still runs.
func (t *Tab) Call(method string, params, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), t.wait)
	defer cancel()
	err := t.browser.conn.call(ctx, t.session, method, params, result)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w; %s", err, t.pulse())
	}
	return err
}

// pulse tells a page whose script is in an endless loop from one that the browser
// does not draw, or gives no input.
func (t *Tab) pulse() string {
	ctx, cancel := context.WithTimeout(context.Background(), pulseWait)
	defer cancel()
	if t.browser.conn.call(ctx, t.session, "Runtime.evaluate", map[string]any{"expression": "1 + 1"}, nil) != nil {
		return fmt.Sprintf("the page does not answer 1 + 1 within %v: its script hangs", pulseWait)
	}
	return "the page answers 1 + 1: its script runs, the browser does not draw it or give it input"
}

func (t *Tab) browserCall(method string, params, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), t.wait)
	defer cancel()
	return t.browser.conn.call(ctx, "", method, params, result)
}

// Navigate loads url and waits until the page has loaded.
func (t *Tab) Navigate(url string) error {
	var done struct {
		Error string `json:"errorText"`
	}
	if err := t.Call("Page.navigate", map[string]any{"url": url}, &done); err != nil {
		return err
	}
	if done.Error != "" {
		return fmt.Errorf("%s: %s", url, done.Error)
	}
	return t.WaitFor(`document.readyState === "complete"`)
}

// Reload loads the page again; its storage stays.
func (t *Tab) Reload() error {
	const mark = "window.freeimBeforeReload"
	if err := t.Eval(mark+" = true", nil); err != nil {
		return err
	}
	if err := t.Call("Page.reload", nil, nil); err != nil {
		return err
	}
	return t.WaitFor("!" + mark + ` && document.readyState === "complete"`)
}

// Eval runs a JavaScript expression in the page, waits for it if it is a promise,
// and decodes its value into result, which may be nil. An exception is an error.
func (t *Tab) Eval(expression string, result any) error {
	var out struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	params := map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true}
	if err := t.Call("Runtime.evaluate", params, &out); err != nil {
		return err
	}
	if out.Exception != nil {
		return fmt.Errorf("evaluate %s: %s %s", expression, out.Exception.Text, out.Exception.Exception.Description)
	}
	if result == nil {
		return nil
	}
	if out.Result.Value == nil {
		return fmt.Errorf("evaluate %s: the value is undefined", expression)
	}
	return json.Unmarshal(out.Result.Value, result)
}

// WaitFor waits until a JavaScript expression, or what it promises, is true; an
// exception counts as not yet. The error names the expression and shows what the page says.
func (t *Tab) WaitFor(expression string) error {
	deadline := time.Now().Add(t.wait)
	var last error
	for time.Now().Before(deadline) {
		var ok bool
		if last = t.Eval("Promise.resolve("+expression+").then(Boolean)", &ok); ok {
			return nil
		}
		if errors.Is(last, errGone) {
			return last
		}
		pause := time.NewTimer(pollPause)
		<-pause.C
	}
	var shown string
	_ = t.Eval("document.body.innerText", &shown) // only to explain the error
	return fmt.Errorf("not within %v: %s (last: %v); the page shows:\n%s", t.wait, expression, last, shown)
}

// WaitVisible waits until an element that the CSS selector finds is visible.
func (t *Tab) WaitVisible(selector string) error {
	return t.WaitFor(find1(selector) + "?.checkVisibility()")
}

// WaitText waits until a visible element that the CSS selector finds contains text.
func (t *Tab) WaitText(selector, text string) error {
	return t.WaitFor(fmt.Sprintf("[...document.querySelectorAll(%s)].some(e => e.checkVisibility() && e.innerText.includes(%s))",
		quote(selector), quote(text)))
}

// Text gives the visible text of the first element that the CSS selector finds.
func (t *Tab) Text(selector string) (string, error) {
	var text string
	err := t.Eval(find1(selector)+".innerText", &text)
	return text, err
}

// Texts gives the visible texts of all elements that the CSS selector finds.
func (t *Tab) Texts(selector string) ([]string, error) {
	var texts []string
	err := t.Eval(fmt.Sprintf("[...document.querySelectorAll(%s)].map(e => e.innerText)", quote(selector)), &texts)
	return texts, err
}

// Click waits until the element is visible, stands still and is covered by
// nothing, and clicks its middle with the mouse.
func (t *Tab) Click(selector string) error {
	if err := t.WaitFor(fmt.Sprintf(settled, quote(selector))); err != nil {
		return err
	}
	var at struct{ X, Y float64 }
	if err := t.Eval("window.freeimClick", &at); err != nil {
		return err
	}
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		event := map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}
		if err := t.Call("Input.dispatchMouseEvent", event, nil); err != nil {
			return err
		}
	}
	return nil
}

// settled is true when the element of a selector can be clicked; then the place
// is in window.freeimClick.
const settled = `(async () => {
	const e = document.querySelector(%s)
	if (!e?.checkVisibility()) return false
	e.scrollIntoView({block: "nearest"})
	const middle = () => { const r = e.getBoundingClientRect(); return {X: r.x + r.width / 2, Y: r.y + r.height / 2} }
	const before = middle()
	await new Promise((done) => setTimeout(done, 20))
	const now = window.freeimClick = middle()
	return now.X === before.X && now.Y === before.Y && e.contains(document.elementFromPoint(now.X, now.Y))
})()`

// Type waits for the element, focuses it and types text into it.
func (t *Tab) Type(selector, text string) error {
	if err := t.WaitVisible(selector); err != nil {
		return err
	}
	if err := t.Eval(find1(selector)+".focus()", nil); err != nil {
		return err
	}
	return t.Call("Input.insertText", map[string]any{"text": text}, nil)
}

// Fill is Type into an element whose content is removed first.
func (t *Tab) Fill(selector, text string) error {
	if err := t.WaitVisible(selector); err != nil {
		return err
	}
	if err := t.Eval(find1(selector)+".select()", nil); err != nil {
		return err
	}
	if text == "" {
		return t.Press("Backspace")
	}
	return t.Type(selector, text)
}

// Press presses and releases a key: "Enter", "Escape", "Tab", "Backspace",
// "ArrowDown", "ArrowUp"; with "Shift+" before it, Shift is held.
func (t *Tab) Press(key string) error {
	name, shift := strings.CutPrefix(key, "Shift+")
	codes := map[string]int{"Backspace": 8, "Tab": 9, "Enter": 13, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40}
	code, known := codes[name]
	if !known {
		return fmt.Errorf("key %q is not known", key)
	}
	event := map[string]any{"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": code}
	if name == "Enter" {
		event["text"] = "\r"
	}
	if shift {
		event["modifiers"] = 8
	}
	if err := t.Call("Input.dispatchKeyEvent", event, nil); err != nil {
		return err
	}
	event["type"] = "keyUp"
	delete(event, "text")
	return t.Call("Input.dispatchKeyEvent", event, nil)
}

// Resize gives the page another size, in CSS pixels.
func (t *Tab) Resize(width, height int) error {
	size := map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}
	return t.Call("Emulation.setDeviceMetricsOverride", size, nil)
}

// Dark makes the page see prefers-color-scheme: dark, or light.
func (t *Tab) Dark(dark bool) error {
	scheme := map[bool]string{true: "dark", false: "light"}[dark]
	feature := map[string]any{"name": "prefers-color-scheme", "value": scheme}
	return t.Call("Emulation.setEmulatedMedia", map[string]any{"features": []any{feature}}, nil)
}

// Screenshot writes what the tab shows to a PNG file.
func (t *Tab) Screenshot(path string) error {
	var shot struct {
		Data string `json:"data"`
	}
	if err := t.Call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot); err != nil {
		return err
	}
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		return fmt.Errorf("screenshot: %w", err)
	}
	return os.WriteFile(path, png, 0o644)
}

// Close closes the tab and forgets its storage.
func (t *Tab) Close() error {
	return t.browserCall("Target.disposeBrowserContext", map[string]any{"browserContextId": t.context}, nil)
}

// find1 is the expression for the first element of a selector.
func find1(selector string) string { return "document.querySelector(" + quote(selector) + ")" }

// quote writes a string as JavaScript reads it.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always marshals
	}
	return string(b)
}

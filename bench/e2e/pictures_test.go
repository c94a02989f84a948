package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"freeim/bench/cluster"
	"freeim/bench/e2e/browser"
)

// attach has a page send a file: the expression is what it consists of.
func (p tab) attach(input, name, kind, content string) {
	p.Eval(fmt.Sprintf(`(async () => {
		const chosen = new DataTransfer();
		chosen.items.add(new File([await (%s)], %q, { type: %q }));
		const input = document.querySelector(%q);
		input.files = chosen.files;
		input.dispatchEvent(new Event("change"));
	})()`, content, name, kind, input), nil)
}

// picture is a PNG in one colour.
func picture(width, height int, colour string) string {
	return fmt.Sprintf(`new Promise((done) => {
		const canvas = document.createElement("canvas");
		Object.assign(canvas, { width: %d, height: %d });
		const pen = canvas.getContext("2d");
		const blend = pen.createLinearGradient(0, 0, canvas.width, canvas.height);
		blend.addColorStop(0, %q);
		blend.addColorStop(1, "#ffd166");
		pen.fillStyle = blend;
		pen.fillRect(0, 0, canvas.width, canvas.height);
		canvas.toBlob(done, "image/png");
	})`, width, height, colour)
}

// In two browsers: a picture, a text and a new face are sent and seen; what could run in a page is
// saved, and runs nowhere.
func TestFilesInBrowsers(t *testing.T) {
	b := browser.ForTest(t)
	c := startClusterWith(t, cluster.Options{Dir: t.TempDir()})
	page := c.Edges[0].Page()
	alice, bob := signUpInTab(t, b, page, "alice"), signUpInTab(t, b, page, "bob")
	alice.attach("#avatar-file", "me.png", "image/png", picture(96, 96, "#d6336c"))
	alice.WaitFor(`document.querySelector("#my-avatar img")?.naturalWidth === 96`)
	alice.chatWith("bob")
	alice.attach("#files", "sunset.png", "image/png", picture(640, 400, "#3d57d6"))
	alice.has(1, "delivered")
	alice.WaitFor(`document.querySelector(".own .media img")?.naturalWidth === 640`)
	bob.WaitText(".preview", "🖼 sunset.png")
	bob.Click(".row")
	bob.WaitFor(`(({naturalWidth, width} = {}) => naturalWidth === 640 && width > 100 && width <= 420)(document.querySelector(".message:not(.own) .media img"))`)
	bob.WaitFor(`document.querySelector("#peer-avatar img")?.naturalWidth === 96 && document.querySelector(".row .avatar img")?.naturalWidth === 96`)
	bob.say("How nice!")
	alice.attach("#files", "notes.txt", "text/plain", `"the notes"`)
	bob.WaitText(".media .file", "notes.txt · 9 B")

	// A picture is there after the page was loaded again.
	bob.Reload()
	bob.WaitText("#connection", "Online")
	bob.Click(".row")
	bob.WaitFor(`document.querySelector(".media img")?.naturalWidth === 640`)

	// What runs in a browser: it sets a mark where pages of this origin would see it.
	const mark = `localStorage.setItem("ran", location.href)`
	for name, kind := range map[string]string{"evil.html": "text/html", "evil.svg": "image/svg+xml", "evil.xhtml": "application/xhtml+xml", "evil.js": "text/javascript"} {
		body := fmt.Sprintf(`'<html xmlns="http://www.w3.org/1999/xhtml"><body><script>%s</script></body></html>'`, mark)
		switch kind {
		case "image/svg+xml":
			body = fmt.Sprintf(`'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>%s</script></svg>'`, mark)
		case "text/javascript":
			body = fmt.Sprintf(`%q`, mark)
		}
		alice.attach("#files", name, kind, body)
		bob.WaitText(".message:last-of-type .file", name)
		var link, said string
		bob.Eval(`document.querySelector(".message:last-of-type .file").href`, &link)
		bob.Eval(fmt.Sprintf(`fetch(%q).then(async (got) => [got.status, got.headers.get("Content-Disposition").split(";")[0], got.headers.get("X-Content-Type-Options"),
			got.headers.get("Content-Type"), (await got.text()).includes("localStorage")].join(" "))`, link), &said)
		if said != "200 attachment nosniff application/octet-stream true" {
			t.Errorf("%s: got %s", name, said)
		}
		other := browser.OpenPage(t, b, "bob's other tab", page)
		if err := other.Tab().Navigate(link); err == nil || !strings.Contains(err.Error(), "ERR_ABORTED") {
			t.Errorf("%s is shown: %v", name, err)
		}
		// As a page's own script, where only the type and nosniff are in the way.
		other.Eval(fmt.Sprintf(`import(%q).then(() => "it ran", () => "")`, link), &said)
		if said != "" {
			t.Errorf("%s is taken for a script", name)
		}
		bob.Eval(`localStorage.getItem("ran") ?? ""`, &said)
		if said != "" {
			t.Errorf("%s has run at %s", name, said)
		}
		other.Eval(`localStorage.getItem("ran") ?? ""`, &said)
		if said != "" {
			t.Errorf("%s has run at %s", name, said)
		}
	}
	if *shots != "" {
		for _, one := range []struct {
			tab  tab
			name string
		}{{alice, "alice"}, {bob, "bob"}} {
			one.tab.Screenshot(filepath.Join(*shots, one.name+"-files.png"))
			one.tab.Resize(390, 780)
			one.tab.Screenshot(filepath.Join(*shots, one.name+"-files-narrow.png"))
			one.tab.Dark(true)
			one.tab.Screenshot(filepath.Join(*shots, one.name+"-files-narrow-dark.png"))
		}
	}
	alice.NoFaults()
	bob.NoFaults()
}

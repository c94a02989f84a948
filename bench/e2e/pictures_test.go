package e2e_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/bench/e2e/browser"
	"freeim/core/server"
	"freeim/plugins/file"
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

// bucket is a store that speaks as much of S3 as a browser and the core need: files by signed URL, for the pages of one origin.
// Signatures are what the tests of plugins/file look at.
type bucket struct {
	*httptest.Server
	page string // the origin that may use it

	mu     sync.Mutex // guards the fields below
	files  map[string]stored
	asked  map[string]int // by method
	denied []string
}

type stored struct{ body, kind, sum string }

func newBucket(t *testing.T) *bucket {
	b := &bucket{files: map[string]stored{}, asked: map[string]int{}}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *bucket) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked[in.Method]++
	if from := in.Header.Get("Origin"); from != "" && from == b.page {
		out.Header().Set("Access-Control-Allow-Origin", from)
		out.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, PUT")
		out.Header().Set("Access-Control-Allow-Headers", "content-type, content-encoding, x-amz-checksum-sha256")
	}
	was, there := b.files[in.URL.Path]
	switch {
	case in.Method == http.MethodOptions:
	case in.Header.Get("Authorization") == "" && in.URL.Query().Get("X-Amz-Signature") == "":
		b.denied = append(b.denied, in.Method+" "+in.URL.Path)
		out.WriteHeader(http.StatusForbidden)
	case in.Method == http.MethodPut:
		body, err := io.ReadAll(in.Body)
		sum := sha256.Sum256(body)
		if said := in.Header.Get("X-Amz-Checksum-Sha256"); err != nil || said != base64.StdEncoding.EncodeToString(sum[:]) {
			b.denied = append(b.denied, "PUT with "+said)
			out.WriteHeader(http.StatusBadRequest)
			return
		}
		b.files[in.URL.Path] = stored{string(body), in.Header.Get("Content-Type"), in.Header.Get("X-Amz-Checksum-Sha256")}
	case !there:
		out.WriteHeader(http.StatusNotFound)
	default:
		head := out.Header()
		head.Set("X-Amz-Checksum-Sha256", was.sum)
		head.Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		head.Set("ETag", `"1"`)
		head.Set("Content-Type", cmp.Or(in.URL.Query().Get("response-content-type"), was.kind))
		head.Set("Content-Disposition", in.URL.Query().Get("response-content-disposition"))
		head.Set("Content-Length", fmt.Sprint(len(was.body)))
		if in.Method == http.MethodGet {
			_, _ = io.WriteString(out, was.body) // whoever goes misses it
		}
	}
}

// TestFilesInBrowsersByS3: with a store of another origin the page sends files there, by the ticket alone, and shows what is there.
func TestFilesInBrowsersByS3(t *testing.T) {
	b, store := browser.ForTest(t), newBucket(t)
	c := startClusterWith(t, cluster.Options{Dir: t.TempDir(), Stores: []string{store.URL}, Core: func(_ int, o *server.Options) {
		for _, p := range o.Plugins {
			if of, ok := p.(*file.File); ok {
				of := of.Config().(*file.Config)
				of.Store = "s3"
				of.S3.Endpoint, of.S3.Region, of.S3.Bucket, of.S3.AccessKey, of.S3.SecretKey = store.URL, "test-1", "bucket", "key", "secret"
				if of.Origin() != store.URL {
					t.Errorf("its origin is %q", of.Origin())
				}
			}
		}
	}})
	page := c.Edges[0].Page()
	store.mu.Lock()
	store.page = strings.TrimSuffix(page, "/")
	store.mu.Unlock()
	alice, bob := signUpInTab(t, b, page, "alice"), signUpInTab(t, b, page, "bob")
	alice.chatWith("bob")
	alice.attach("#files", "sunset.png", "image/png", picture(640, 400, "#3d57d6"))
	alice.has(1, "delivered")
	alice.WaitFor(`document.querySelector(".own .media img")?.naturalWidth === 640`)
	bob.WaitText(".preview", "🖼 sunset.png")
	bob.Click(".row")
	bob.WaitFor(fmt.Sprintf(`(({naturalWidth, src} = {}) => naturalWidth === 640 && src.startsWith(%q))(document.querySelector(".message:not(.own) .media img"))`, store.URL+"/bucket/files/"))
	alice.NoFaults()
	bob.NoFaults()
	store.mu.Lock()
	defer store.mu.Unlock()
	if len(store.files) != 1 || store.asked["OPTIONS"] == 0 || store.asked["PUT"] == 0 || len(store.denied) > 0 {
		t.Errorf("the store has %d files, was asked %v and denied %v", len(store.files), store.asked, store.denied)
	}
}

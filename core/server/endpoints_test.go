package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEndpoints(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("Bearer x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AUDIT_TOKEN", "of the environment")
	for _, test := range []struct {
		name string
		key  string
		e    Endpoint
		want string // the error has it
	}{
		{"a URL", "audit", Endpoint{URL: "https://audit.test/x", Timeout: time.Second}, ""},
		{"headers", "audit", Endpoint{URL: "http://127.0.0.1:1/", Headers: map[string]string{"X-A": "1"}, HeaderFiles: map[string]string{"authorization": file}, HeaderEnv: map[string]string{"X-B": "AUDIT_TOKEN"}}, ""},
		{"a name", "Audit", Endpoint{URL: "https://a.test"}, "core.rules.http.Audit: an endpoint is named"},
		{"nothing", "audit", Endpoint{}, "give url or url_file"},
		{"both", "audit", Endpoint{URL: "https://a.test", URLFile: file}, "give url or url_file"},
		{"another scheme", "audit", Endpoint{URL: "file:///etc/passwd"}, "core.rules.http.audit: the URL is none of"},
		{"a file that is no URL, and is not shown", "audit", Endpoint{URLFile: file}, "the URL is none of"},
		{"no such file", "audit", Endpoint{URLFile: file + "s"}, "no such file"},
		{"no such variable", "audit", Endpoint{URL: "https://a.test", HeaderEnv: map[string]string{"X": "NO_SUCH_VARIABLE"}}, "NO_SUCH_VARIABLE is not set"},
		{"a header twice", "audit", Endpoint{URL: "https://a.test", Headers: map[string]string{"x-a": "1"}, HeaderEnv: map[string]string{"X-A": "AUDIT_TOKEN"}}, `the header "X-A" is given twice`},
		{"a header that is the post's", "audit", Endpoint{URL: "https://a.test", Headers: map[string]string{"idempotency-key": "1"}}, "none that can be set"},
		{"a header of two lines", "audit", Endpoint{URL: "https://a.test", Headers: map[string]string{"X": "1\nY: 2"}}, "the header X has a control character"},
		{"too long", "audit", Endpoint{URL: "https://a.test", Timeout: time.Hour}, "1m at most"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := DefaultConfig()
			c.Rules.HTTP = map[string]Endpoint{test.key: test.e}
			c.setDefaults()
			err := c.validate()
			if err == nil {
				_, err = c.Rules.endpoints()
			}
			if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "Bearer")) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	r := Rules{HTTP: map[string]Endpoint{"audit": {URL: "http://a.test", HeaderFiles: map[string]string{"authorization": file}, HeaderEnv: map[string]string{"X-B": "AUDIT_TOKEN"}}}}
	all, err := r.endpoints()
	if h := all["audit"].Header; err != nil || h.Get("Authorization") != "Bearer x" || h.Get("X-B") != "of the environment" {
		t.Errorf("got %v and %v", all, err)
	}
}

package roots_test

import (
	"encoding/pem"
	"errors"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crypto/x509"

	"freeim/conf/roots"
)

// What a file holds verifies, and nothing else does; a file without certificates is an error, and
// not the system's roots.
func TestRead(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	there := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, content := range map[string][]byte{there: text, there + ".empty": nil, there + ".junk": []byte("no certificate")} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool, err := roots.Read(there)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Certificate().Verify(x509.VerifyOptions{Roots: pool}); err != nil {
		t.Errorf("the certificate in the file: %v", err)
	}
	if pool, err := roots.Read(""); pool != nil || err != nil {
		t.Errorf("no file: got %v, %v, want the system's", pool, err)
	}
	for _, bad := range []string{there + ".empty", there + ".junk"} {
		if pool, err := roots.Read(bad); pool != nil || err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: got %v, %v, want an error that names it", filepath.Base(bad), pool, err)
		}
	}
	if _, err := roots.Read(there + ".gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

package e2e_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/bench/history"
)

// ledger is another program that a site's webhooks tell of every message. It checks each delivery as plugins/webhook/README.md has
// receivers do it, refuses some, and takes some without saying so.
type ledger struct {
	secret []byte
	server *httptest.Server

	mu         sync.Mutex // guards the fields below
	deliveries int
	again      int              // events that came another time
	seen       map[string]bool  // message IDs
	last       map[string]int64 // by conversation: the seq that came last, of those that came the first time
	faults     []string
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	l := &ledger{secret: []byte("the ledger's own secret"), seen: map[string]bool{}, last: map[string]int64{}}
	l.server = httptest.NewServer(l)
	t.Cleanup(l.server.Close)
	return l
}

// env are the keys of cores that tell the ledger.
func (l *ledger) env(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, l.secret, 0o600); err != nil {
		t.Fatal(err)
	}
	const section = "FREEIM_PLUGINS_WEBHOOK_"
	return []string{section + fmt.Sprintf("ENDPOINTS=[{name: ledger, url: %q, private: true, secret_files: [%q], events: [message.committed]}]", l.server.URL, file),
		section + "PAUSE=20ms", section + "MOST_PAUSE=500ms", section + "LEASE=3s"}
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // of a core that was killed as it spoke
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deliveries++; l.deliveries%5 == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var d struct {
		Events []struct {
			Event   string
			Message struct {
				ID           string
				Conversation string `json:"conversation_id"`
				Seq          int64
			}
		}
	}
	if err := json.Unmarshal(body, &d); err != nil || !l.signed(r.Header.Get("Freeim-Signature"), body, time.Now()) {
		l.faults = append(l.faults, fmt.Sprintf("signed %q: %.200s (%v)", r.Header.Get("Freeim-Signature"), body, err))
	}
	for _, e := range d.Events {
		m := e.Message
		if l.seen[m.ID] {
			l.again++
			continue
		}
		if l.seen[m.ID] = true; m.Seq <= l.last[m.Conversation] || e.Event != "message.committed" {
			l.faults = append(l.faults, fmt.Sprintf("%s %d of %s comes behind %d", e.Event, m.Seq, m.Conversation, l.last[m.Conversation]))
		}
		l.last[m.Conversation] = max(l.last[m.Conversation], m.Seq)
	}
	if l.deliveries%7 == 0 { // it has them, and nobody learns of it
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// signed reports whether a delivery has the ledger's signature, of now.
func (l *ledger) signed(header string, body []byte, now time.Time) bool {
	stamp, signature, _ := strings.Cut(strings.TrimPrefix(header, "t="), ",v1=")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	mac := hmac.New(sha256.New, l.secret)
	fmt.Fprintf(mac, "%s.%s", stamp, body)
	return err == nil && now.Sub(time.Unix(seconds, 0)).Abs() < time.Minute && signature == hex.EncodeToString(mac.Sum(nil))
}

// audit waits until the ledger has every message that the crowd was promised, and holds the order against each conversation's.
func (l *ledger) audit(ctx context.Context, t *testing.T, c *crowd) {
	t.Helper()
	var promised []string
	c.mu.Lock()
	for _, s := range c.sends {
		if s.Outcome == history.Acked {
			promised = append(promised, s.MessageID)
		}
	}
	c.mu.Unlock()
	missing := 0
	err := until(ctx, func() (bool, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		missing = 0
		for _, id := range promised {
			if !l.seen[id] {
				missing++
			}
		}
		return missing == 0, nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || len(l.faults) > 0 || len(promised) == 0 {
		t.Errorf("the ledger misses %d of %d messages: %v; %d faults: %.3q", missing, len(promised), err, len(l.faults), l.faults[:min(3, len(l.faults))])
	}
	t.Logf("the ledger has %d messages by %d deliveries; %d came more than once", len(l.seen), l.deliveries, l.again)
}

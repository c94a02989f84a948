package archive_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"freeim/core/archive"
	"freeim/core/timeline"
)

func TestHandler(t *testing.T) {
	p := newPlace(t).fill(100)
	server := httptest.NewServer(archive.Handler(p.Stores, quiet))
	defer server.Close()
	answer, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("got %s, %v", answer.Status, err)
	}
	if sum, err := archive.Verify(t.Context(), bytes.NewReader(b), nil); err != nil || sum.Messages != 100 {
		t.Errorf("got %s, %v", sum, err)
	}

	// A store that fails in the middle: the answer is cut, not ended.
	p.Timelines.Close()
	if answer, err = http.Get(server.URL); err == nil {
		_, err = io.ReadAll(answer.Body)
		answer.Body.Close()
	}
	if err == nil {
		t.Error("a backup that failed looks like one that did not")
	}
	http.DefaultClient.CloseIdleConnections()
}

// Two at once would double the load: the second is told to come later.
func TestHandlerOneAtATime(t *testing.T) {
	p := newPlace(t).fill(1)
	begun, release := make(chan bool), make(chan bool)
	p.Timelines = &stuck{p.Timelines, begun, release}
	h := archive.Handler(p.Stores, quiet)
	first, done := httptest.NewRecorder(), make(chan bool)
	go func() {
		defer close(done)
		h.ServeHTTP(first, httptest.NewRequest("GET", "/backup", nil))
	}()
	<-begun
	second := httptest.NewRecorder()
	h.ServeHTTP(second, httptest.NewRequest("GET", "/backup", nil))
	if second.Code != http.StatusConflict {
		t.Errorf("got %d", second.Code)
	}
	close(release)
	<-done
	if _, err := readAll(first.Body.Bytes()); err != nil {
		t.Error(err)
	}
}

// stuck is a store whose export waits in the beginning.
type stuck struct {
	timeline.Store
	begun, release chan bool
}

func (s *stuck) Export(ctx context.Context, yield func(timeline.Item) error) error {
	close(s.begun)
	<-s.release
	return s.Store.(timeline.Exporter).Export(ctx, yield)
}

package archive

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Handler answers a request with an archive of the stores as they are then, one
// request at a time. A backup that fails in the middle breaks the connection, so
// that whoever fetches it knows. log gets beginning and end.
func Handler(from Stores, log *slog.Logger) http.Handler { return &handler{from: from, log: log} }

type handler struct {
	from    Stores
	log     *slog.Logger
	running sync.Mutex // held while a backup runs: a flag, nobody waits for it
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.running.TryLock() {
		http.Error(w, "another backup is running", http.StatusConflict)
		return
	}
	defer h.running.Unlock()
	h.log.Info("backup begins", "for", r.RemoteAddr)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="freeim-`+time.Now().UTC().Format("20060102-150405")+`.archive"`)
	w.Header().Set("Cache-Control", "no-store")
	sum, err := Backup(r.Context(), w, h.from, nil)
	if err != nil {
		h.log.Error("backup failed", "err", err, "cause", context.Cause(r.Context()))
		panic(http.ErrAbortHandler) // cuts the answer, so that nobody takes it for whole
	}
	h.log.Info("backup done", "holds", sum.String())
}

package hooks

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// writeTime is how long a reader of a page may take for what was written.
const writeTime = 10 * time.Second

// Page shows the last events, a JSON object per line, and with ?follow=1 goes on
// with new ones until the reader leaves or ctx ends. A reader who is too slow
// misses events and sees it: n counts them.
func (e *Effects) Page(ctx context.Context) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		out, to := http.NewResponseController(w), json.NewEncoder(w)
		from := int64(0)
		for {
			events, next, fresh := e.Events(from)
			_ = out.SetWriteDeadline(time.Now().Add(writeTime)) // HTTP/1 can
			for _, one := range events {
				if to.Encode(one) != nil {
					return
				}
			}
			if r.FormValue("follow") != "1" || out.Flush() != nil {
				return
			}
			from = next
			select {
			case <-fresh:
			case <-r.Context().Done():
				return
			case <-ctx.Done():
				return
			}
		}
	})
}

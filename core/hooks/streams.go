package hooks

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"freeim/scripts/pages"
)

// maxTrace bounds how long one user's actions are traced, and what a trace without
// a time means.
const (
	maxTrace   = time.Hour
	usualTrace = 10 * time.Minute
)

// Pages are the rules' pages for the administrative port of the core named node.
func (r *Rules) Pages(node string) []pages.Page {
	return append(pages.New(pages.Options{Engine: r.engine, Node: node, Log: r.log}),
		pages.Make("GET /hooks/tail", "decisions while they are made, a line of JSON each: ?action= &verdict= &hook= &user=", r.tail, "action", "verdict", "hook", "user"),
		pages.Make("GET /hooks/trace", "what each hook says about one user, for a while: ?user=42&ttl=10m", r.trace, "user", "ttl"))
}

func (r *Rules) tail(w http.ResponseWriter, in *http.Request) {
	r.stream(w, in, Filter{in.FormValue("action"), in.FormValue("verdict"), in.FormValue("hook"), in.FormValue("user")}, false, 0)
}

func (r *Rules) trace(w http.ResponseWriter, in *http.Request) {
	user, ttl := in.FormValue("user"), usualTrace
	if text := in.FormValue("ttl"); text != "" {
		var err error
		if ttl, err = time.ParseDuration(text); err != nil || ttl <= 0 || ttl > maxTrace {
			pages.Refuse(w, http.StatusBadRequest, fmt.Errorf("ttl is %q: a time of at most %v, as in 10m", text, maxTrace))
			return
		}
	}
	if user == "" {
		pages.Refuse(w, http.StatusBadRequest, fmt.Errorf("whose actions? give user=ID"))
		return
	}
	r.log.Warn("what the rules say about a user is traced, with texts", "user", user, "ttl", ttl, "from", in.RemoteAddr)
	r.stream(w, in, Filter{User: user}, true, ttl)
}

// Line is one line of a stream: a decision, or word of those that were left out
// before it, since the reader was slow.
type Line struct {
	*Decision
	Lost int64 `json:"lost,omitempty"`
}

// stream sends decisions until the reader leaves, or time is over, if it is bounded.
func (r *Rules) stream(w http.ResponseWriter, in *http.Request, f Filter, whole bool, ttl time.Duration) {
	reader, err := r.watch.join(f, whole)
	if err != nil {
		pages.Refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	defer r.watch.leave(reader)
	var over <-chan time.Time
	if ttl > 0 {
		timer := time.NewTimer(ttl)
		defer timer.Stop()
		over = timer.C
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out, control := json.NewEncoder(w), http.NewResponseController(w)
	out.SetEscapeHTML(false)
	send := func(line Line) bool {
		_ = control.SetWriteDeadline(time.Now().Add(writeTime)) // HTTP/1 can
		return out.Encode(line) == nil
	}
	for control.Flush() == nil {
		select {
		case <-in.Context().Done():
			return
		case <-over:
			return
		case d := <-reader.queue:
			if lost := reader.lost.Swap(0); lost > 0 && !send(Line{Lost: lost}) {
				return
			}
			if !send(Line{Decision: &d}) {
				return
			}
		}
	}
}

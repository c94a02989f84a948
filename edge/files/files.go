// Package files serves a directory of files over HTTP: it takes in what people upload by PUT, and
// gives it out by GET, to whoever has a ticket in the URL that a core has signed. It asks no core, keeps no
// list, and deletes nothing: plugins/file does. README.md tells the way of both. edge's main
// mounts it beside the pages.
package files

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"freeim/edge/limits"
	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/files"
	"freeim/idl/kitex_gen/wirepb"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	defaultUploads = 128
	defaultStall   = 15 * time.Second
)

// Options configures a Handler.
type Options struct {
	Home *files.Home // required; Close does not close it
	// Uploads is how many may be under way at once: a quarter of them from one address, a sixteenth of one
	// person; 0: 128.
	Uploads int
	// Stall is how long one who uploads may send nothing, and one who reads may take nothing; 0: 15 s.
	Stall time.Duration
	// Origins are the pages of other hosts that may upload, and read what they get, as
	// "https://chat.example"; "*": any; none: none.
	Origins []string
	Now     func() time.Time      // for tickets; nil: time.Now
	Log     *slog.Logger          // nil: slog.Default
	Figures prometheus.Registerer // nil: figures are kept nowhere
}

// Handler is safe for concurrent use.
type Handler struct {
	opts    Options
	origins map[string]bool
	figures *figures
	put     func(name string) (sink, error) // opens a new file in the home, for writing
	time    func(octets int64) time.Duration

	mu     sync.Mutex      // guards the fields below
	under  map[string]bool // the IDs that are being uploaded
	shares map[*limits.Peer]int
	owned  map[int64]int // by user
}

// New makes a handler.
func New(o Options) (*Handler, error) {
	if o.Home == nil || o.Uploads < 0 || o.Stall < 0 {
		return nil, errors.New("files need a directory, and room for uploads")
	}
	o.Uploads, o.Stall = orElse(o.Uploads, defaultUploads), orElse(o.Stall, defaultStall)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	h := &Handler{opts: o, origins: map[string]bool{}, under: map[string]bool{}, shares: map[*limits.Peer]int{}, owned: map[int64]int{}}
	for _, origin := range o.Origins {
		h.origins[strings.ToLower(origin)] = true
	}
	h.put, h.time = h.create, files.Time
	h.figures = newFigures(o.Figures, func() float64 {
		h.mu.Lock()
		defer h.mu.Unlock()
		return float64(len(h.under))
	})
	return h, nil
}

func orElse[T int | time.Duration](n, zero T) T {
	if n == 0 {
		return zero
	}
	return n
}

// ServeHTTP implements http.Handler, for paths below files.Prefix.
func (h *Handler) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	head := out.Header()
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cache-Control", "no-store") // of what is no file
	h.allow(head, in)
	switch in.Method {
	case http.MethodOptions:
		if head.Get("Access-Control-Allow-Origin") == "" {
			head.Set("Allow", methods)
		}
		out.WriteHeader(http.StatusNoContent)
	case http.MethodPut:
		h.take(out, in)
	case http.MethodGet, http.MethodHead:
		h.give(out, in)
	default:
		head.Set("Allow", methods)
		h.refuse(out, http.StatusMethodNotAllowed, &wirepb.Error{Code: idl.CodeUnknownAction, Message: "files are sent by PUT and read by GET"})
	}
}

const methods = "PUT, GET, HEAD"

// allow tells a browser that a page of another host may call, if it may. What a ticket is for
// any page may show: the ticket is the secret.
func (h *Handler) allow(head http.Header, in *http.Request) {
	head.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if len(h.origins) == 0 {
		return
	}
	head.Add("Vary", "Origin")
	origin := in.Header.Get("Origin")
	if origin == "" || !h.origins["*"] && !h.origins[strings.ToLower(origin)] {
		return
	}
	head.Set("Access-Control-Allow-Origin", origin)
	head.Set("Access-Control-Expose-Headers", "Retry-After, ETag, Content-Range")
	if in.Method == http.MethodOptions {
		head.Set("Access-Control-Allow-Methods", methods)
		head.Set("Access-Control-Allow-Headers", "Content-Type, Range")
		head.Set("Access-Control-Max-Age", "600")
	}
}

// ticket reads that of a request; nil: the request was refused.
func (h *Handler) ticket(out http.ResponseWriter, in *http.Request) *files.Ticket {
	_, key, err := h.opts.Home.Open()
	if err != nil {
		h.opts.Log.Error("no files can be served", "err", err)
		h.refuse(out, http.StatusServiceUnavailable, unavailable("no files can be served now"))
		return nil
	}
	t, err := key.Ticket(in.Method, in.URL, h.opts.Now())
	if err != nil {
		h.refuse(out, http.StatusForbidden, &wirepb.Error{Code: idl.CodePermissionDenied, Message: err.Error()})
		return nil
	}
	return &t
}

// enter gives a request a place, until leave; else the refusal says why not.
func (h *Handler) enter(t *files.Ticket, visitor session.Visitor) (leave func(), no *wirepb.Error, status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch peer := visitor.Peer; {
	case h.under[t.ID]:
		return nil, &wirepb.Error{Code: idl.CodeConflict, Message: "this file is being uploaded", RetryAfterMs: 2000}, http.StatusConflict
	case t.Owner != 0 && h.owned[t.Owner] >= max(1, h.opts.Uploads/16):
		return nil, tooMany("too many uploads of the same person"), http.StatusTooManyRequests
	case peer != nil && h.shares[peer] >= max(1, h.opts.Uploads/4):
		return nil, tooMany("too many uploads from the same address"), http.StatusTooManyRequests
	case len(h.under) >= h.opts.Uploads:
		return nil, unavailable("too many uploads are under way"), http.StatusServiceUnavailable
	default:
		h.under[t.ID] = true
		share(h.owned, t.Owner, 1)
		share(h.shares, peer, 1)
		return func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			delete(h.under, t.ID)
			share(h.owned, t.Owner, -1)
			share(h.shares, peer, -1)
		}, nil, 0
	}
}

// share adds to one's share; of nobody's none is kept.
func share[K comparable](shares map[K]int, of K, n int) {
	var nobody K
	if of == nobody {
		return
	}
	if shares[of] += n; shares[of] == 0 {
		delete(shares, of)
	}
}

func tooMany(why string) *wirepb.Error {
	return &wirepb.Error{Code: idl.CodeRateLimited, Message: why, RetryAfterMs: 2000}
}

func unavailable(why string) *wirepb.Error {
	return &wirepb.Error{Code: idl.CodeUnavailable, Message: why, RetryAfterMs: 2000}
}

// refuse answers with an Error in JSON, as the actions over HTTP do.
func (h *Handler) refuse(out http.ResponseWriter, status int, no *wirepb.Error) {
	body, err := idl.Append(nil, idl.CodecJSON, no)
	if err != nil {
		body, status = nil, http.StatusInternalServerError
	}
	if no.RetryAfterMs > 0 {
		out.Header().Set("Retry-After", strconv.FormatInt((no.RetryAfterMs+999)/1000, 10))
	}
	h.figures.refused.WithLabelValues(no.Code.String()).Inc()
	answer(out, status, body)
}

func answer(out http.ResponseWriter, status int, body []byte) {
	out.Header().Set("Content-Type", "application/json")
	out.Header().Set("Content-Length", strconv.Itoa(len(body)))
	out.WriteHeader(status)
	_, _ = out.Write(body) // the client has gone
}

// pace keeps a request in time: it may stand still for a while, and what has gone must have gone
// in files.Time. So who has a large file does not hold a place by sending it octet by octet.
type pace struct {
	stall time.Duration
	began time.Time
	time  func(octets int64) time.Duration
	has   int64 // octets that have gone
}

func (h *Handler) pace() pace { return pace{stall: h.opts.Stall, began: time.Now(), time: h.time} }

// next is until when the next octet must have gone.
func (p *pace) next() time.Time {
	next, end := time.Now().Add(p.stall), p.end(p.has)
	if next.Before(end) {
		return next
	}
	return end
}

// end is when so many octets must have gone.
func (p *pace) end(octets int64) time.Time { return p.began.Add(p.time(octets)) }

type figures struct {
	refused        *prometheus.CounterVec
	taken, given   prometheus.Counter
	takenN, givenN prometheus.Counter
	failed         prometheus.Counter
}

func newFigures(to prometheus.Registerer, underWay func() float64) *figures {
	count := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		if to != nil {
			to.MustRegister(c)
		}
		return c
	}
	f := &figures{
		taken:  count("freeim_edge_files_uploaded_total", "Files that were taken in whole."),
		takenN: count("freeim_edge_files_uploaded_octets_total", "Octets of files that came, also of those that were refused."),
		given:  count("freeim_edge_files_read_total", "Requests for a file, or a part of one, that were answered."),
		givenN: count("freeim_edge_files_read_octets_total", "Octets of files that were given out."),
		failed: count("freeim_edge_files_failed_total", "Uploads and reads that failed by a fault of the disk's."),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freeim_edge_files_refused_total", Help: "Uploads and reads that were refused, by the code of the answer."}, []string{"code"}),
	}
	if to != nil {
		to.MustRegister(f.refused, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freeim_edge_files_uploads", Help: "Uploads under way."}, underWay))
	}
	return f
}

// Package api serves the actions over HTTP: POST /v1/<plugin>.<action>, with a bearer token
// and a body as in a frame. It reads requests and writes answers; edge/session does them, by
// the registration that frames go by, and idl/openapi describes them. It knows no action.
// README.md tells the way of a request. edge's main mounts it beside the pages.
package api

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"

	"github.com/prometheus/client_golang/prometheus"
)

// Prefix is the path that the handler is for.
const Prefix = "/v1/"

const defaultRequests = 4096

// Options configures a Handler.
type Options struct {
	Hub *session.Hub // required
	// Actions are those that there are now, for the description.
	Actions func() []session.ActionInfo
	// Requests is how many may be at the cores at once; 0: 4,096.
	Requests int
	// Origins are the pages of other hosts that may call, as "https://chat.example"; "*":
	// any; none: none.
	Origins []string
	Figures prometheus.Registerer // nil: figures are kept nowhere
}

// Handler is safe for concurrent use.
type Handler struct {
	hub     *session.Hub
	places  chan struct{} // one for each request at a core
	origins map[string]bool
	described
	figures *figures
}

// New makes a handler.
func New(o Options) (*Handler, error) {
	if o.Requests == 0 {
		o.Requests = defaultRequests
	}
	if o.Hub == nil || o.Requests < 0 {
		return nil, errors.New("the API needs a hub, and room for requests")
	}
	h := &Handler{hub: o.Hub, places: make(chan struct{}, o.Requests), origins: map[string]bool{}, described: described{actions: o.Actions}}
	for _, origin := range o.Origins {
		h.origins[strings.ToLower(origin)] = true
	}
	h.figures = newFigures(o.Figures, func() float64 { return float64(len(h.places)) })
	return h, nil
}

// ServeHTTP implements http.Handler, for paths below Prefix.
func (h *Handler) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	head := out.Header()
	head.Set("Cache-Control", "no-store")
	head.Set("X-Content-Type-Options", "nosniff")
	h.allow(head, in)
	name := strings.TrimPrefix(in.URL.Path, Prefix)
	switch {
	case in.Method == http.MethodOptions && head.Get("Access-Control-Allow-Origin") != "":
		out.WriteHeader(http.StatusNoContent)
	case name == "openapi.json" || name == "":
		h.describe(out, in, name)
	case in.Method != http.MethodPost:
		head.Set("Allow", http.MethodPost)
		h.refuse(out, idl.CodecJSON, http.StatusMethodNotAllowed, &wirepb.Error{Code: idl.CodeUnknownAction, Message: "actions are called by POST"})
	default:
		h.perform(out, in, name)
	}
}

// allow tells a browser that a page of another host may call, if it may.
func (h *Handler) allow(head http.Header, in *http.Request) {
	origin := in.Header.Get("Origin")
	if len(h.origins) == 0 {
		return
	}
	head.Add("Vary", "Origin")
	if origin == "" || !h.origins["*"] && !h.origins[strings.ToLower(origin)] {
		return
	}
	head.Set("Access-Control-Allow-Origin", origin)
	head.Set("Access-Control-Expose-Headers", "Retry-After")
	if in.Method == http.MethodOptions {
		head.Set("Access-Control-Allow-Methods", "POST, GET")
		head.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Traceparent")
		head.Set("Access-Control-Max-Age", "600")
	}
}

// perform does one request.
func (h *Handler) perform(out http.ResponseWriter, in *http.Request, name string) {
	began := time.Now()
	r := &session.Request{Visitor: session.VisitorOf(in.Context()), Trace: in.Header.Get("Traceparent")}
	status, no := h.read(out, in, name, r)
	if no != nil {
		answer := h.hub.Refuse(r, no)
		if answer.Refused != no {
			status = 0
		}
		h.answer(out, r.Codec, status, answer)
		return
	}
	var answer session.Answer
	if !h.placed(func() { answer = h.hub.Do(in.Context(), r) }) {
		h.refuse(out, r.Codec, 0, busy())
		return
	}
	h.figures.seconds.Observe(time.Since(began).Seconds())
	h.answer(out, r.Codec, 0, answer)
}

// placed does what needs a core if there is a place for it, which it gives back whatever happens.
func (h *Handler) placed(do func()) bool {
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
		do()
		return true
	default:
		return false
	}
}

// vouch has a token that is new here looked at before it has a large body read. A body of
// unknown length may be one.
func (h *Handler) vouch(in *http.Request, r *session.Request) (no *wirepb.Error) {
	fresh := int64(h.hub.MaxRequest(r.Action, false))
	if r.Bearer == "" || in.ContentLength >= 0 && in.ContentLength <= fresh {
		return nil
	}
	if !h.placed(func() { no = h.hub.Vouch(in.Context(), r) }) {
		return busy()
	}
	return no
}

// read fills r with what came. A refusal has the status, or 0 for that of its code.
func (h *Handler) read(out http.ResponseWriter, in *http.Request, name string, r *session.Request) (status int, no *wirepb.Error) {
	known := false
	if r.Codec, known = codec(in); !known {
		return http.StatusUnsupportedMediaType, &wirepb.Error{Code: idl.CodeMalformedBody, Message: "send Content-Type: application/json, or application/x-protobuf"}
	}
	if r.Action, no = h.hub.Find(name); no != nil {
		return 0, no
	}
	if r.Bearer, no = bearer(in); no != nil {
		return 0, no
	}
	if r.Said = h.admit(in, r); r.Said != nil && r.Said.Refused != nil {
		said := r.Said.Refused
		return 0, &wirepb.Error{Code: said.Code, Message: said.Reason, RetryAfterMs: said.RetryAfter.Milliseconds()}
	}
	most := h.hub.MaxRequest(r.Action, r.Bearer != "")
	if in.ContentLength > int64(most) {
		out.Header().Set("Connection", "close") // what it sends on is not read
		return 0, tooLarge(most)
	}
	if no = h.vouch(in, r); no != nil {
		out.Header().Set("Connection", "close")
		return 0, no
	}
	body, err := io.ReadAll(http.MaxBytesReader(out, in.Body, int64(most)))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return 0, tooLarge(most)
	}
	if err != nil {
		return 0, &wirepb.Error{Code: idl.CodeMalformedBody, Message: "the body could not be read"}
	}
	r.Body = body
	return 0, nil
}

// codec is that of the body, and of the answer. Without a body none need be named.
func codec(in *http.Request) (c idl.Codec, known bool) {
	named := in.Header.Get("Content-Type")
	if coded := in.Header.Get("Content-Encoding"); coded != "" && coded != "identity" {
		return idl.CodecJSON, false
	}
	if named == "" {
		return idl.CodecJSON, in.ContentLength == 0
	}
	kind, parameters, err := mime.ParseMediaType(named)
	charset := parameters["charset"]
	switch {
	case err != nil || charset != "" && !strings.EqualFold(charset, "utf-8"):
		return idl.CodecJSON, false
	case kind == "application/json":
		return idl.CodecJSON, true
	case kind == "application/x-protobuf" || kind == "application/protobuf":
		return idl.CodecProtobuf, true
	}
	return idl.CodecJSON, false
}

// bearer is the token of a request; empty: it has none.
func bearer(in *http.Request) (token string, no *wirepb.Error) {
	said := in.Header.Get("Authorization")
	if said == "" {
		return "", nil
	}
	scheme, token, _ := strings.Cut(said, " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", &wirepb.Error{Code: idl.CodeUnauthenticated, Message: "send Authorization: Bearer TOKEN"}
	}
	return token, nil
}

// admit asks the rules about connections, for which each request is one.
func (h *Handler) admit(in *http.Request, r *session.Request) *session.Admission {
	if !h.hub.Judges() {
		return nil
	}
	about := session.Arrival{Address: r.Address, Transport: r.Kind(), Path: in.URL.Path}
	about.Show("host", in.Host)
	for name, values := range in.Header {
		for _, value := range values {
			about.Show(strings.ToLower(name), value)
		}
	}
	return h.hub.Admit(&about)
}

func tooLarge(most int) *wirepb.Error {
	return &wirepb.Error{Code: idl.CodeTooLarge, Message: "the body may have " + strconv.Itoa(most) + " octets"}
}

package api

import (
	"math/rand/v2"
	"net/http"
	"strconv"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"

	"github.com/prometheus/client_golang/prometheus"
)

// answer writes what became of a request.
func (h *Handler) answer(out http.ResponseWriter, c idl.Codec, status int, a session.Answer) {
	if a.Ended {
		out.Header().Set("Connection", "close")
	}
	if a.Refused != nil {
		h.refuse(out, c, status, a.Refused)
		return
	}
	h.figures.done.Inc()
	write(out, c, http.StatusOK, a.Body)
}

// refuse answers with an Error; status 0 is that of its code.
func (h *Handler) refuse(out http.ResponseWriter, c idl.Codec, status int, no *wirepb.Error) {
	h.figures.refused.WithLabelValues(no.Code.String()).Inc()
	if status == 0 {
		status = idl.HTTPStatus(no.Code)
	}
	head := out.Header()
	if status == http.StatusUnauthorized {
		head.Set("WWW-Authenticate", "Bearer")
	}
	if no.RetryAfterMs > 0 {
		head.Set("Retry-After", strconv.FormatInt((no.RetryAfterMs+999)/1000, 10))
	}
	body, err := idl.Append(nil, c, no)
	if err != nil {
		status = http.StatusInternalServerError
	}
	write(out, c, status, body)
}

// write writes a body; the empty message is an object in JSON.
func write(out http.ResponseWriter, c idl.Codec, status int, body []byte) {
	kind := "application/json"
	if c == idl.CodecProtobuf {
		kind = "application/x-protobuf"
	} else if len(body) == 0 {
		body = []byte("{}")
	}
	out.Header().Set("Content-Type", kind)
	out.Header().Set("Content-Length", strconv.Itoa(len(body)))
	out.WriteHeader(status)
	_, _ = out.Write(body) // the client has gone
}

// busy is the answer when all places are taken: come back, not all at once.
func busy() *wirepb.Error {
	return &wirepb.Error{Code: idl.CodeUnavailable, Message: "too many requests are under way", RetryAfterMs: 500 + rand.Int64N(1000)}
}

type figures struct {
	done    prometheus.Counter
	refused *prometheus.CounterVec
	seconds prometheus.Observer
}

func newFigures(to prometheus.Registerer, underWay func() float64) *figures {
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freeim_edge_http_requests_total", Help: "Actions over HTTP, by the code of the answer."}, []string{"code"})
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "freeim_edge_http_request_seconds", Help: "Time from a request's head to its answer, of those that were not refused before.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9)})
	now := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freeim_edge_http_requests", Help: "Actions over HTTP under way."}, underWay)
	if to != nil {
		to.MustRegister(answers, seconds, now)
	}
	return &figures{done: answers.WithLabelValues("OK"), refused: answers, seconds: seconds}
}

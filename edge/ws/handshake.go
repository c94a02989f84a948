package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"
)

// Options is the policy of a handshake. The zero value is fit for use.
type Options struct {
	// AllowOrigin decides whether a page of origin ("https://example.com") may
	// connect; host is the request's Host. It is not asked when there is no
	// Origin: that client is no browser. nil means SameHost.
	AllowOrigin func(origin, host string) bool
	// Secure says that the request came over TLS: SameHost then wants a page that
	// came so too.
	Secure bool
	// Deflate lets a client have permessage-deflate that offers it.
	Deflate bool
}

// Outcome is what a request head turned out to be.
type Outcome int

const (
	NotUpgrade Outcome = iota // an ordinary HTTP request: Response is empty
	Accepted                  // a WebSocket: send Response, then feed what follows to a Reader
	Refused                   // send Response, then close
)

// Handshake is the decision on one request head.
type Handshake struct {
	Outcome  Outcome
	Target   string // the request's target as it was written, "/ws?x=1"; empty for a malformed head
	Response []byte // the bytes to send
	Deflate  bool   // permessage-deflate is agreed on: the Reader needs a Deflate
	Reason   string // why it was refused; the Response says it too
	// Forwarded are the field lines X-Forwarded-For, in order, whatever the outcome.
	Forwarded []string

	fields []field
}

// Fields gives the field lines of a handshake that was accepted: the name in lower case,
// and the value.
func (h *Handshake) Fields() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, f := range h.fields {
			if !yield(f.name, f.value) {
				return
			}
		}
	}
}

// Upgrade decides on a request head, which is what HeadSize measured. A head
// that is no HTTP/1 is Refused; one without a sign of WebSocket is NotUpgrade.
// Source: RFC 6455 §4.2.
func Upgrade(p []byte, o Options) Handshake {
	h, ok := parseHead(p)
	if !ok {
		return refuse(head{}, http.StatusBadRequest, "malformed request head")
	}
	if !h.lists("upgrade", "websocket") && h.values("sec-websocket-key") == nil {
		return Handshake{Outcome: NotUpgrade, Target: h.target, Forwarded: h.values("x-forwarded-for")}
	}
	if status, reason := h.check(o); status != 0 {
		return refuse(h, status, reason)
	}
	key, _ := h.one("sec-websocket-key")
	extension := ""
	if o.Deflate {
		extension = h.agreeDeflate()
	}
	return Handshake{Outcome: Accepted, Target: h.target, Response: accept(key, extension), Deflate: extension != "",
		Forwarded: h.values("x-forwarded-for"), fields: h.fields}
}

// Refusal is the answer to a handshake that is refused for a reason of others; retry is
// when to come again, 0 for no advice.
func Refusal(status int, reason string, retry time.Duration) []byte {
	extra := "Connection: close\r\n"
	if retry > 0 {
		extra += fmt.Sprintf("Retry-After: %d\r\n", int64((retry+time.Second-1)/time.Second))
	}
	return answer(status, extra, reason)
}

// TooLargeResponse is the answer to ErrHeadTooLarge.
func TooLargeResponse() []byte {
	return refuse(head{}, http.StatusRequestHeaderFieldsTooLarge, ErrHeadTooLarge.Error()).Response
}

// check applies RFC 6455 §4.2.1 in its order, then the Origin policy; status is
// 0 when all is well.
func (h *head) check(o Options) (status int, reason string) {
	host, hostOK := h.one("host")
	switch {
	case h.method != http.MethodGet:
		return http.StatusMethodNotAllowed, "a WebSocket begins with GET"
	case h.proto == "HTTP/1.0":
		return http.StatusBadRequest, "a WebSocket needs HTTP/1.1"
	case !hostOK || host == "":
		return http.StatusBadRequest, "not exactly one Host"
	case !h.lists("upgrade", "websocket"):
		return http.StatusBadRequest, "Upgrade lacks websocket"
	case !h.lists("connection", "upgrade"):
		return http.StatusBadRequest, "Connection lacks Upgrade"
	case !h.keyOK():
		return http.StatusBadRequest, "not exactly one Sec-WebSocket-Key of 16 octets in base64"
	case h.hasBody():
		return http.StatusBadRequest, "a WebSocket handshake has no body"
	}
	if status, reason := h.checkVersion(); status != 0 {
		return status, reason
	}
	if !h.originOK(o, host) {
		return http.StatusForbidden, "this Origin is not allowed"
	}
	return 0, ""
}

func (h *head) checkVersion() (status int, reason string) {
	switch version, ok := h.one("sec-websocket-version"); {
	case !ok:
		return http.StatusBadRequest, "not exactly one Sec-WebSocket-Version"
	case version != handshakeVersion:
		return http.StatusUpgradeRequired, "the WebSocket version is 13"
	}
	return 0, ""
}

// keyOK reports whether the key is base64 of 16 octets, §4.1.
func (h *head) keyOK() bool {
	key, ok := h.one("sec-websocket-key")
	nonce, err := base64.StdEncoding.DecodeString(key)
	return ok && err == nil && len(nonce) == 16 && len(key) == 24
}

func (h *head) hasBody() bool {
	for _, length := range h.values("content-length") {
		if length != "0" {
			return true
		}
	}
	return h.values("transfer-encoding") != nil
}

func (h *head) originOK(o Options, host string) bool {
	all := h.values("origin")
	if len(all) == 0 {
		return true
	}
	allow := o.AllowOrigin
	if allow == nil {
		allow = func(origin, host string) bool {
			return SameHost(origin, host) && !(o.Secure && !strings.HasPrefix(strings.ToLower(origin), "https:"))
		}
	}
	return len(all) == 1 && allow(all[0], host)
}

// SameHost allows the pages that the same host and port served: the default
// policy.
func SameHost(origin, host string) bool {
	scheme, site, ok := strings.Cut(origin, "://")
	if !ok {
		return false
	}
	var port string
	switch strings.ToLower(scheme) {
	case "http":
		port = ":80"
	case "https":
		port = ":443"
	default:
		return false
	}
	return strings.EqualFold(strings.TrimSuffix(site, port), strings.TrimSuffix(host, port))
}

// accept is the good answer, §4.2.2; extension may be empty.
func accept(key, extension string) []byte {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // §1.3
	sum := sha1.Sum([]byte(key + guid))
	if extension != "" {
		extension = "Sec-WebSocket-Extensions: " + extension + "\r\n"
	}
	return []byte("HTTP/1.1 101 Switching Protocols\r\n" +
		"Upgrade: websocket\r\n" +
		"Connection: Upgrade\r\n" +
		extension +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
}

func refuse(h head, status int, reason string) Handshake {
	extra := "Connection: close\r\n"
	switch status {
	case http.StatusMethodNotAllowed:
		extra += "Allow: GET\r\n"
	case http.StatusUpgradeRequired: // §4.2.2, RFC 9110 §15.5.22
		extra = "Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: " + handshakeVersion + "\r\n"
	}
	return Handshake{Outcome: Refused, Target: h.target, Response: answer(status, extra, reason), Reason: reason, Forwarded: h.values("x-forwarded-for")}
}

// answer is a response that says the reason.
func answer(status int, extra, reason string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s\n",
		status, http.StatusText(status), extra, len(reason)+1, reason)
}

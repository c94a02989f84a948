package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	// wrongKeys is how many wrong keys an address may show in forgetAfter; more
	// are refused unseen, and the right one with them.
	wrongKeys   = 10
	forgetAfter = time.Minute
	// strangers is how many addresses are remembered for that. When more come all
	// are forgotten: against many addresses only the key's length helps.
	strangers = 1024
	// bodyTimeout is for the body of a request, which no page here has much of.
	bodyTimeout = 5 * time.Second
)

// gate decides who may see the port.
//
// On a loopback address the Host header must name this machine: a page on the
// web whose name was made to point here (DNS rebinding) gets nothing. Whatever
// changes something must not come from another site's page either, which
// http.CrossOriginProtection sees to, nor what only reads: such a page could not
// see a profile or a backup, but have one made. A link on it may be followed.
type gate struct {
	// Static.
	log   *slog.Logger
	local bool              // the address is a loopback one
	keyed bool              // there is a key
	key   [sha256.Size]byte // of the key

	mu    sync.Mutex // guards wrong
	wrong map[netip.Addr]*guesses
}

// guesses are the wrong keys of one address.
type guesses struct {
	since time.Time
	n     int
}

// guard puts the gate before the pages.
func (g *gate) guard(pages http.Handler) http.Handler {
	sameSite := http.NewCrossOriginProtection().Handler(pages)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.local && !ownName(hostname(r.Host)) {
			http.Error(w, "this port is for this machine: call it localhost", http.StatusMisdirectedRequest)
			return
		}
		if fetchedElsewhere(r) {
			http.Error(w, "a page of another site asks", http.StatusForbidden)
			return
		}
		if r.ContentLength != 0 { // or whoever has no key could hold the connection for ever
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // HTTP/1 can
		}
		if r.URL.Path == healthPath || r.URL.Path == readyPath || !g.keyed {
			sameSite.ServeHTTP(w, r)
			return
		}
		switch g.judge(r) {
		case admitted:
			sameSite.ServeHTTP(w, r)
		case tooMany:
			w.Header().Set("Retry-After", "60")
			http.Error(w, "too many wrong keys", http.StatusTooManyRequests)
		default:
			w.Header().Set("WWW-Authenticate", `Basic realm="freeim administration", charset="UTF-8"`)
			http.Error(w, "the administrative key is required", http.StatusUnauthorized)
		}
	})
}

// fetchedElsewhere reports whether a page of another site has sent the request by
// itself. Only browsers say so.
func fetchedElsewhere(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
}

// hostname is a Host header without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// ownName reports whether a host can only be this machine.
func ownName(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// access is what the gate says of a request.
type access int

const (
	unknown  access = iota // no key
	wrong                  // not the key
	tooMany                // its address has shown too many wrong ones
	admitted               // go in
)

// judge looks at the request's key and remembers a wrong one.
func (g *gate) judge(r *http.Request) access {
	shown, ok := shownKey(r)
	if !ok {
		return unknown
	}
	from := origin(r)
	if g.blocked(from) {
		return tooMany
	}
	if g.fits(shown) {
		return admitted
	}
	n := g.note(from)
	g.log.Warn("a wrong administrative key", "from", from, "path", r.URL.Path, "count", n)
	return wrong
}

// admits reports whether a request may see everything. It counts nothing, and
// tells an address with too many wrong keys no.
func (g *gate) admits(r *http.Request) bool {
	if !g.keyed {
		return true
	}
	shown, ok := shownKey(r)
	return ok && !g.blocked(origin(r)) && g.fits(shown)
}

// fits compares in a time that tells nothing of the key, its length included.
func (g *gate) fits(shown string) bool {
	sum := sha256.Sum256([]byte(shown))
	return subtle.ConstantTimeCompare(sum[:], g.key[:]) == 1
}

// shownKey is the key in the Authorization header: a bearer token, or a password
// with whatever name.
func shownKey(r *http.Request) (string, bool) {
	if _, password, ok := r.BasicAuth(); ok {
		return password, true
	}
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}

// origin is where a request came from: an IPv6 network of 64 bits is one place.
func origin(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	ip := at.Addr().Unmap().WithZone("")
	if network, err := ip.Prefix(64); err == nil && ip.Is6() {
		return network.Addr()
	}
	return ip
}

func (g *gate) blocked(from netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.wrong[from]
	return w != nil && w.n >= wrongKeys && time.Since(w.since) < forgetAfter
}

// note counts a wrong key of an address and gives the count.
func (g *gate) note(from netip.Addr) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.wrong[from]
	if w == nil || time.Since(w.since) >= forgetAfter {
		g.makeRoom()
		w = &guesses{since: time.Now()}
		g.wrong[from] = w
	}
	w.n++
	return w.n
}

// makeRoom forgets what is old, and everything when that is not enough. The
// caller holds mu.
func (g *gate) makeRoom() {
	if g.wrong == nil {
		g.wrong = map[netip.Addr]*guesses{}
	}
	if len(g.wrong) < strangers {
		return
	}
	for from, w := range g.wrong {
		if time.Since(w.since) >= forgetAfter {
			delete(g.wrong, from)
		}
	}
	if len(g.wrong) >= strangers {
		clear(g.wrong)
	}
}

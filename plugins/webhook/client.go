package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// This file is one delivery: what is sent, and what its answer means.

const (
	mostAnswer  = 64 << 10 // octets of an answer that are read
	shownAnswer = 200      // and shown
)

// delivery is the body of one.
type delivery struct {
	Endpoint string  `json:"endpoint"`
	Delivery string  `json:"delivery"` // names it; a repetition with the same events has the same
	Attempt  int     `json:"attempt"`  // from 1
	Epoch    string  `json:"epoch"`    // the life of the store that positions mean something in
	SentMs   int64   `json:"sent_ms"`
	Events   []event `json:"events"` // of one feed, in its order
}

// verdict is what the answer to a delivery means.
type verdict int

const (
	taken   verdict = iota // all of it
	refused                // not this, as it is: perhaps less of it
	away                   // not now
	gone                   // nothing any more
	late                   // nothing was tried: it would have had to wait
)

// result is what came of a delivery.
type result struct {
	verdict verdict
	status  int           // 0: there was no answer
	after   time.Duration // the endpoint's advice when to come again; 0: none
	reason  string        // why it was not taken
	answer  string        // the beginning of it
	took    time.Duration
}

// errPrivate is that of a connection to where the operator did not allow one.
var errPrivate = errors.New("its address is one of a private network: set private to allow that")

// private are the addresses that no public host has.
func private() (all []netip.Prefix) {
	for _, p := range []string{"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3", "::/127", "64:ff9b::/96", "64:ff9b:1::/48", "fc00::/7", "fe80::/10", "ff00::/8"} {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

func isPrivate(address string) bool {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return true
	}
	ip := at.Addr().Unmap().WithZone("")
	for _, p := range private() {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// newClient makes one that goes where the URL says and nowhere else: by no proxy, to no other
// host, and to an address that was looked at when the connection is made.
func newClient(allowPrivate bool) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		if !allowPrivate && isPrivate(address) {
			return errPrivate
		}
		return nil
	}}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: 5 * time.Second, ForceAttemptHTTP2: true, DisableCompression: true,
			MaxIdleConnsPerHost: feeds, MaxConnsPerHost: 2 * feeds, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: mostAnswer,
		},
	}
}

// deliver makes one delivery. ctx bounds it, with the answer.
func (e *endpoint) deliver(ctx context.Context, d delivery) result {
	d.Endpoint, d.Epoch, d.SentMs = e.Name, e.plugin.host.Timelines().Epoch(), e.plugin.host.Now().UnixMilli()
	started := time.Now()
	r := e.post(ctx, d)
	r.took = time.Since(started)
	e.note(d, r)
	return r
}

func (e *endpoint) post(ctx context.Context, d delivery) result {
	body, err := json.Marshal(d)
	if err != nil {
		return result{verdict: refused, reason: err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, bytes.NewReader(body))
	if err != nil {
		return result{verdict: away, reason: err.Error()}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "freeim-webhook/1")
	req.Header.Set("Freeim-Delivery", d.Delivery)
	req.Header.Set("Freeim-Attempt", strconv.Itoa(d.Attempt))
	req.Header.Set(signatureHeader, sign(e.secrets, e.plugin.host.Now(), body))
	resp, err := e.client.Do(req)
	if err != nil {
		return result{verdict: away, reason: short(faultOf(err).Error())}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer)) // more: the connection is not used again
	r := e.judge(resp)
	r.answer = short(string(answer[:min(len(answer), shownAnswer)]))
	if err != nil && r.verdict == taken {
		return result{verdict: away, status: resp.StatusCode, reason: short("the answer does not end: " + faultOf(err).Error())}
	}
	return r
}

// judge says what a status means.
func (e *endpoint) judge(resp *http.Response) result {
	r := result{status: resp.StatusCode, reason: fmt.Sprintf("answered %d", resp.StatusCode), after: advice(resp.Header.Get("Retry-After"), e.plugin.host.Now())}
	switch status := resp.StatusCode; {
	case status >= 200 && status < 300:
		r.verdict, r.reason, r.after = taken, "", 0
	case e.stopsOn(status):
		r.verdict = gone
	case status >= 300 && status < 400:
		r.verdict, r.reason = away, r.reason+", a redirect, which is not followed"
	case status == http.StatusBadRequest, status == http.StatusConflict, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		r.verdict = refused
	default: // also 401 and 404: they are about the endpoint, not about the events
		r.verdict = away
	}
	return r
}

// advice reads a Retry-After, in seconds or as a date. Source: RFC 9110 §10.2.3.
func advice(text string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n < 1<<20 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// faultOf is an error of http.Client without the URL, which operators know.
func faultOf(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		return outer.Err
	}
	return err
}

// short makes what others said fit for logs, rows and pages.
func short(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "?"))
	if all := []rune(text); len(all) > shownAnswer {
		return string(all[:shownAnswer])
	}
	return text
}

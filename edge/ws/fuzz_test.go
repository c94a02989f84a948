package ws_test

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"testing"

	"freeim/edge/ws"
)

// FuzzReader holds that no bytes make the reader panic, that it does not matter
// how they are cut, and that nothing is kept once it is over.
func FuzzReader(f *testing.F) {
	b, _ := session()
	f.Add(b, byte(1))
	for _, c := range slices.Concat(pings(), fragmentation(), closing()) {
		f.Add(slices.Concat(c.frames...), byte(len(c.name)))
	}
	f.Add(append(frameHead(fin|opBinary, 1<<30), 1, 2, 3, 4), byte(9))
	f.Fuzz(func(t *testing.T, b []byte, step byte) {
		whole, _, wholeErr := read(bytes.Clone(b))
		parts, _, partsErr := read(pieces(b, step)...)
		if !slices.Equal(whole, parts) {
			t.Errorf("whole gives %v, pieces give %v", whole, parts)
		}
		if wholeErr != nil || partsErr != nil {
			if wholeErr == nil || partsErr == nil || wholeErr.Error() != partsErr.Error() {
				t.Errorf("whole gives %v, pieces give %v", wholeErr, partsErr)
			}
			if code := codeOf(wholeErr); code != ws.CodeProtocol && code != ws.CodeInvalidText && code != ws.CodeTooBig {
				t.Errorf("got %v, want a close code", wholeErr)
			}
		}
		var r ws.Reader
		if err := r.Feed(bytes.Clone(b), maxMessage, ignoring{}); r.Buffered() > len(b) || err != nil && r.Buffered() > 0 {
			t.Errorf("%d octets kept of %d, after %v", r.Buffered(), len(b), err)
		}
	})
}

// pieces cuts a copy of b into pieces of uneven lengths that step decides.
func pieces(b []byte, step byte) (out [][]byte) {
	b = bytes.Clone(b)
	for n := int(step); len(b) > 0; n = (n*5 + 1) % 101 {
		size := min(n%37+1, len(b))
		out, b = append(out, b[:size:size]), b[size:]
	}
	return out
}

// FuzzUpgrade holds that every request head gives a sound answer, and that what
// becomes a WebSocket is a request that net/http reads the same.
func FuzzUpgrade(f *testing.F) {
	f.Add([]byte(request()))
	f.Add([]byte(request("Origin: http://evil.example", "+Origin: null")))
	f.Add([]byte(request("Sec-WebSocket-Version: 8")))
	f.Add([]byte(request("POST / HTTP/1.1", "Content-Length: 5")))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\n : \r\n\r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		n, err := ws.HeadSize(p)
		if err != nil || n == 0 {
			return
		}
		switch h := ws.Upgrade(p[:n], ws.Options{}); h.Outcome {
		case ws.Accepted:
			checkAccepted(t, p[:n], h)
		case ws.Refused:
			if _, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(h.Response)), nil); err != nil {
				t.Errorf("%q: %v", h.Response, err)
			}
		case ws.NotUpgrade:
			if len(h.Response) > 0 {
				t.Errorf("got %q for an ordinary request", h.Response)
			}
		}
	})
}

func checkAccepted(t *testing.T, head []byte, h ws.Handshake) {
	if len(h.Response) != len(switching) {
		t.Errorf("got %q, want a response of %d octets", h.Response, len(switching))
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return // net/http also judges the target's form
	}
	if r.Method != http.MethodGet || r.RequestURI != h.Target || r.ContentLength > 0 {
		t.Errorf("net/http reads %s %s with %d octets, we read GET %s", r.Method, r.RequestURI, r.ContentLength, h.Target)
	}
}

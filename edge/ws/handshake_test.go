package ws_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"freeim/edge/ws"
)

// request is the handshake of RFC 6455 §1.3 with its fields changed: "Name: value"
// replaces a field or adds one, "-Name" takes it away, "+Name: value" adds a
// second. What has no colon and no sign is the request line.
func request(changes ...string) string {
	line, fields := "GET /ws?x=1 HTTP/1.1", []string{
		"Host: example.com",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		"Sec-WebSocket-Version: 13",
	}
	for _, change := range changes {
		name, _, isField := strings.Cut(change, ":")
		without := func(field string) bool { return strings.HasPrefix(field, strings.TrimPrefix(name, "-")+":") }
		switch {
		case change[0] == '+':
			fields = append(fields, change[1:])
		case change[0] == '-':
			fields = slices.DeleteFunc(fields, without)
		case isField:
			fields = append(slices.DeleteFunc(fields, without), change)
		default:
			line = change
		}
	}
	return line + "\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
}

// The exact answer of RFC 6455 §1.3, with its key.
const switching = "HTTP/1.1 101 Switching Protocols\r\n" +
	"Upgrade: websocket\r\n" +
	"Connection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

func TestUpgradeAccepts(t *testing.T) {
	tests := []struct{ name, head string }{
		{"the RFC's example", request()},
		{"names and tokens in any case", "GET /ws?x=1 HTTP/1.1\r\nhOST:example.com\r\nUPGRADE:WebSocket\r\n" +
			"connection: \tUPGRADE \r\nsec-websocket-KEY:dGhlIHNhbXBsZSBub25jZQ==\r\nSEC-WebSocket-version: 13\r\n\r\n"},
		{"Connection as a list", request("Connection: keep-alive, Upgrade")},
		{"Connection in two fields", request("Connection: keep-alive", "+Connection: Upgrade")},
		{"Upgrade as a list", request("Upgrade: h2c, websocket")},
		{"extensions and sub-protocols are not taken up",
			request("Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: chat, superchat")},
		{"empty body", request("Content-Length: 0")},
		{"same origin", request("Origin: http://example.com")},
		{"same origin, other case", request("Origin: HTTPS://EXAMPLE.com")},
		{"same origin, port", request("Host: example.com:8080", "Origin: http://example.com:8080")},
		{"same origin, port of the scheme", request("Host: example.com:443", "Origin: https://example.com")},
		{"same origin, IPv6", request("Host: [::1]:80", "Origin: http://[::1]")},
		{"HTTP/1.2", request("GET /ws?x=1 HTTP/1.2")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ws.Upgrade([]byte(tt.head), ws.Options{})
			if got.Outcome != ws.Accepted || string(got.Response) != switching || got.Target != "/ws?x=1" {
				t.Errorf("got %d, %s, %q, want it accepted", got.Outcome, got.Target, got.Response)
			}
		})
	}
}

func TestUpgradeRefuses(t *testing.T) {
	const badKey = "not exactly one Sec-WebSocket-Key of 16 octets in base64"
	tests := []struct {
		name, head string
		status     int
		reason     string
	}{
		{"not GET", request("POST /ws HTTP/1.1"), 405, "a WebSocket begins with GET"},
		{"HTTP/1.0", request("GET /ws HTTP/1.0"), 400, "a WebSocket needs HTTP/1.1"},
		{"no Host", request("-Host"), 400, "not exactly one Host"},
		{"empty Host", request("Host: "), 400, "not exactly one Host"},
		{"two Hosts", request("+Host: evil.example"), 400, "not exactly one Host"},
		{"no Upgrade", request("-Upgrade"), 400, "Upgrade lacks websocket"},
		{"Upgrade to something like it", request("Upgrade: websockets"), 400, "Upgrade lacks websocket"},
		{"no Connection", request("-Connection"), 400, "Connection lacks Upgrade"},
		{"Connection: close", request("Connection: close"), 400, "Connection lacks Upgrade"},
		{"no key", request("-Sec-WebSocket-Key"), 400, badKey},
		{"empty key", request("Sec-WebSocket-Key: "), 400, badKey},
		{"two keys", request("+Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, badKey},
		{"key of 15 octets", request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"), 400, badKey},
		{"key of 17 octets", request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU="), 400, badKey},
		{"key not base64", request("Sec-WebSocket-Key: ........................"), 400, badKey},
		{"key without padding", request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"), 400, badKey},
		{"no version", request("-Sec-WebSocket-Version"), 400, "not exactly one Sec-WebSocket-Version"},
		{"two versions", request("+Sec-WebSocket-Version: 8"), 400, "not exactly one Sec-WebSocket-Version"},
		{"version 8", request("Sec-WebSocket-Version: 8"), 426, "the WebSocket version is 13"},
		{"version 14", request("Sec-WebSocket-Version: 14"), 426, "the WebSocket version is 13"},
		{"body", request("Content-Length: 5"), 400, "a WebSocket handshake has no body"},
		{"chunked body", request("Transfer-Encoding: chunked"), 400, "a WebSocket handshake has no body"},
		{"other origin", request("Origin: http://evil.example"), 403, "this Origin is not allowed"},
		{"null origin", request("Origin: null"), 403, "this Origin is not allowed"},
		{"empty origin", request("Origin: "), 403, "this Origin is not allowed"},
		{"origin's suffix", request("Origin: http://evilexample.com"), 403, "this Origin is not allowed"},
		{"origin's prefix", request("Origin: http://example.com.evil.example"), 403, "this Origin is not allowed"},
		{"origin with a path", request("Origin: http://example.com/x"), 403, "this Origin is not allowed"},
		{"origin with a user", request("Origin: http://example.com@evil.example"), 403, "this Origin is not allowed"},
		{"origin's other scheme", request("Origin: ftp://example.com"), 403, "this Origin is not allowed"},
		{"origin's other port", request("Origin: http://example.com:8080"), 403, "this Origin is not allowed"},
		{"two origins", request("Origin: http://example.com", "+Origin: http://example.com"), 403, "this Origin is not allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ws.Upgrade([]byte(tt.head), ws.Options{})
			if got.Outcome != ws.Refused || got.Reason != tt.reason {
				t.Fatalf("got %d, %q, want refused: %q", got.Outcome, got.Reason, tt.reason)
			}
			checkResponse(t, got.Response, tt.status, tt.reason)
		})
	}
}

// checkResponse reads response as a client of the standard library would.
func checkResponse(t *testing.T, response []byte, status int, reason string) {
	t.Helper()
	rest := bufio.NewReader(bytes.NewReader(response))
	got, err := http.ReadResponse(rest, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(got.Body)
	if err != nil || string(body) != reason+"\n" || got.StatusCode != status || !got.Close {
		t.Errorf("got %d, close %v, %q, %v, want %d, %q", got.StatusCode, got.Close, body, err, status, reason)
	}
	if rest.Buffered() > 0 {
		t.Errorf("%d octets follow the response", rest.Buffered())
	}
	wants := map[int][2]string{405: {"Allow", "GET"}, 426: {"Sec-WebSocket-Version", "13"}}
	if want, ok := wants[status]; ok && got.Header.Get(want[0]) != want[1] {
		t.Errorf("got %v, want %s: %s", got.Header, want[0], want[1])
	}
}

func TestUpgradeRefusesMalformedHeads(t *testing.T) {
	tests := []struct{ name, head string }{
		{"nothing", ""},
		{"no end", "GET / HTTP/1.1\r\nHost: example.com\r\n"},
		{"empty request line", "\r\n\r\n"},
		{"no target", "GET HTTP/1.1\r\n\r\n"},
		{"two spaces", request("GET  /ws HTTP/1.1")},
		{"control character in the target", request("GET /w\x01s HTTP/1.1")},
		{"octet above ASCII in the target", request("GET /ä HTTP/1.1")},
		{"method no token", request("G(T /ws HTTP/1.1")},
		{"HTTP/2", request("GET /ws HTTP/2.0")},
		{"HTTP/1.10", request("GET /ws HTTP/1.10")},
		{"lower-case protocol", request("GET /ws http/1.1")},
		{"no colon", request("+Upgrade")},
		{"empty name", request("+: x")},
		{"space before the colon", request("+X : y")},
		{"folded line", request("+ folded: y")},
		{"bare line feed", request("+X: y\nZ: z")},
		{"bare carriage return", request("+X: y\rZ: z")},
		{"NUL", request("+X: y\x00")},
		{"DEL", request("+X: y\x7f")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ws.Upgrade([]byte(tt.head), ws.Options{})
			if got.Outcome != ws.Refused || got.Target != "" {
				t.Fatalf("got %d, %q, want it refused", got.Outcome, got.Target)
			}
			checkResponse(t, got.Response, 400, "malformed request head")
		})
	}
}

func TestUpgradeLeavesOrdinaryRequestsAlone(t *testing.T) {
	tests := []struct{ name, head, target string }{
		{"page", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", "/"},
		{"form", "POST /form HTTP/1.0\r\nContent-Length: 5\r\n\r\n", "/form"},
		{"HTTP/2 upgrade", "GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", "/x"},
		{"foreign origin", "GET /healthz HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n\r\n", "/healthz"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ws.Upgrade([]byte(tt.head), ws.Options{})
			if got.Outcome != ws.NotUpgrade || got.Target != tt.target || got.Response != nil {
				t.Errorf("got %d, %q, %q, want an ordinary request for %s", got.Outcome, got.Target, got.Response, tt.target)
			}
		})
	}
}

func TestUpgradeAsksTheOriginPolicy(t *testing.T) {
	listed := ws.Options{AllowOrigin: func(origin, host string) bool {
		if host != "example.com" {
			t.Errorf("got the host %q, want example.com", host)
		}
		return origin == "https://chat.example" || origin == "http://localhost:3000"
	}}
	tests := []struct {
		name   string
		origin string
		want   ws.Outcome
	}{
		{"listed", "Origin: https://chat.example", ws.Accepted},
		{"second of the list", "Origin: http://localhost:3000", ws.Accepted},
		{"other scheme", "Origin: http://chat.example", ws.Refused},
		{"prefix", "Origin: https://chat.example.evil", ws.Refused},
		{"suffix", "Origin: https://evil.chat.example", ws.Refused},
		{"same host, not listed", "Origin: http://example.com", ws.Refused},
		{"null", "Origin: null", ws.Refused},
		{"absent", "-Origin", ws.Accepted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ws.Upgrade([]byte(request(tt.origin)), listed); got.Outcome != tt.want {
				t.Errorf("got %d (%s), want %d", got.Outcome, got.Reason, tt.want)
			}
		})
	}
}

func TestHeadSize(t *testing.T) {
	head := request()
	padded := func(n int) string { return fmt.Sprintf("GET / HTTP/1.1\r\nX: %s\r\n\r\n", strings.Repeat("x", n-23)) }
	tests := []struct {
		name, bytes string
		want        int
		err         error
	}{
		{"nothing", "", 0, nil},
		{"whole", head, len(head), nil},
		{"with what follows", head + "\x81\x80", len(head), nil},
		{"largest", padded(ws.MaxHead), ws.MaxHead, nil},
		{"largest but for one octet that is to come", padded(ws.MaxHead)[:ws.MaxHead-1], 0, nil},
		{"too large", padded(ws.MaxHead + 1), 0, ws.ErrHeadTooLarge},
		{"no head at all", strings.Repeat("x", ws.MaxHead), 0, ws.ErrHeadTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := ws.HeadSize([]byte(tt.bytes)); got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %d and %v, want %d and %v", got, err, tt.want, tt.err)
			}
		})
	}
	for cut := range len(head) {
		if got, err := ws.HeadSize([]byte(head[:cut])); got != 0 || err != nil {
			t.Errorf("cut at %d: got %d and %v, want more to be needed", cut, got, err)
		}
	}
	checkResponse(t, ws.TooLargeResponse(), 431, "the request head is over 8 KiB")
}

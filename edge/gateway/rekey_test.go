package gateway_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"strings"
	"testing"

	"freeim/edge/frame"
	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"
)

// sealer makes the records of a client that says what crypto/tls never would. It
// knows the keys from the key log; both versions are used with AES-128-GCM and
// SHA-256.
type sealer struct {
	t      *testing.T
	secret []byte // TLS 1.3: the client's traffic secret
	aead   cipher.AEAD
	iv     []byte // 12 octets in TLS 1.3, 4 in TLS 1.2
	number uint64 // of the next record under this key
}

// Record types.
const (
	handshakeRecord = 22
	dataRecord      = 23
)

// dialSealed passes the handshake of one version and gives the records from then
// on to a sealer; what the edge sends is still read by crypto/tls.
func dialSealed(t *testing.T, e *edge, version uint16) (*peer, *sealer) {
	t.Helper()
	p := newPeer(t, e.TCPSAddr().String())
	keys := new(bytes.Buffer)
	heard := &hearing{TCPConn: p.tcp}
	p.conn = heard
	p.secure(&tls.Config{
		RootCAs: authority.pool(), ServerName: "edge", MinVersion: version, MaxVersion: version, KeyLogWriter: keys,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
	state := p.conn.(*tls.Conn).ConnectionState()
	s := &sealer{t: t}
	if version == tls.VersionTLS13 {
		if state.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
			t.Skipf("this machine prefers %s", tls.CipherSuiteName(state.CipherSuite))
		}
		_, s.secret = logged(t, keys.String(), "CLIENT_TRAFFIC_SECRET_0")
		s.derive()
		return p, s
	}
	clientRandom, master := logged(t, keys.String(), "CLIENT_RANDOM")
	serverRandom := heard.first[5+4+2:][:32] // in a record, a message, a version
	block := prf(master, "key expansion", append(bytes.Clone(serverRandom), clientRandom...), 40)
	s.aead, s.iv, s.number = gcm(t, block[:16]), block[32:36], 1 // Finished was the first
	return p, s
}

// hearing keeps the first that comes.
type hearing struct {
	*net.TCPConn
	first []byte
}

func (h *hearing) Read(p []byte) (int, error) {
	n, err := h.TCPConn.Read(p)
	if len(h.first) < 64 {
		h.first = append(h.first, p[:n]...)
	}
	return n, err
}

// logged finds the line of a key log.
func logged(t *testing.T, log, label string) (random, secret []byte) {
	t.Helper()
	for line := range strings.Lines(log) {
		if word := strings.Fields(line); len(word) == 3 && word[0] == label {
			random, _ = hex.DecodeString(word[1])
			secret, _ = hex.DecodeString(word[2])
			return random, secret
		}
	}
	t.Fatalf("no %s in the key log", label)
	return nil, nil
}

func gcm(t *testing.T, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

// prf is that of TLS 1.2. Source: RFC 5246, section 5.
func prf(secret []byte, label string, seed []byte, n int) (out []byte) {
	sum := func(p ...[]byte) []byte {
		h := hmac.New(sha256.New, secret)
		for _, b := range p {
			h.Write(b)
		}
		return h.Sum(nil)
	}
	seed = append([]byte(label), seed...)
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:n]
}

// expand is HKDF-Expand-Label with no context. Source: RFC 8446, section 7.1.
func (s *sealer) expand(label string, n int) []byte {
	s.t.Helper()
	label = "tls13 " + label
	info := append([]byte{0, byte(n), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, s.secret, string(append(info, 0)), n)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *sealer) derive() {
	s.aead, s.iv, s.number = gcm(s.t, s.expand("key", 16)), s.expand("iv", 12), 0
}

// seal is one record.
func (s *sealer) seal(kind byte, p []byte) []byte {
	number := binary.BigEndian.AppendUint64(nil, s.number)
	s.number++
	if s.secret == nil { // Source: RFC 5246, section 6.2.3.3, and RFC 5288
		extra := append(bytes.Clone(number), kind, 3, 3, byte(len(p)>>8), byte(len(p)))
		sealed := s.aead.Seal(bytes.Clone(number), append(bytes.Clone(s.iv), number...), p, extra)
		return append([]byte{kind, 3, 3, byte(len(sealed) >> 8), byte(len(sealed))}, sealed...)
	}
	nonce := bytes.Clone(s.iv) // Source: RFC 8446, sections 5.2 and 5.3
	for i, b := range number {
		nonce[4+i] ^= b
	}
	n := len(p) + 1 + s.aead.Overhead()
	head := []byte{dataRecord, 3, 3, byte(n >> 8), byte(n)}
	return s.aead.Seal(bytes.Clone(head), nonce, append(bytes.Clone(p), kind), head)
}

// keyUpdate is a record that changes the client's keys, and may ask the edge to
// change its own. Source: RFC 8446, section 4.6.3.
func (s *sealer) keyUpdate(asked bool) []byte {
	message := []byte{24, 0, 0, 1, 0}
	if asked {
		message[4] = 1
	}
	record := s.seal(handshakeRecord, message)
	s.secret = s.expand("traffic upd", 32)
	s.derive()
	return record
}

func (s *sealer) frame(f frame.Frame) []byte { return s.seal(dataRecord, frame.Append(nil, f)) }

func (s *sealer) auth(p *peer) {
	s.t.Helper()
	p.tcp.Write(s.frame(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionAuth, Sequence: 1, Body: []byte("token")}))
	p.want(idl.ActionAuth, 1)
}

// ends waits until the session has ended as malformed, and the client was told.
func (s *sealer) ends(e *edge, p *peer, alert string) {
	s.t.Helper()
	if f, err := p.next(); err == nil || !strings.Contains(err.Error(), alert) {
		s.t.Errorf("got %v, %v, want %q", f, err, alert)
	}
	p.conn.Close()
	eventually(s.t, "the session to end", func() bool { return e.Stats().Conns == 0 })
	if got := e.hub.Stats().Closed[idl.CloseMalformed]; got != 1 {
		s.t.Errorf("counted %d as malformed, want 1", got)
	}
}

// A client of TLS 1.2 that begins another handshake is sent away.
func TestRenegotiationRefused(t *testing.T) {
	for name, in := range map[string]func() []byte{
		"ClientHello":  func() []byte { return clientHello(t)[5:] }, // without the record's head
		"HelloRequest": func() []byte { return []byte{0, 0, 0, 0} },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, gateway.Options{}, session.Options{})
			p, s := dialSealed(t, e, tls.VersionTLS12)
			s.auth(p)
			p.tcp.Write(s.seal(handshakeRecord, in()))
			p.tcp.Write(s.frame(chat(2, "not taken")))
			want := "unexpected message"
			if name == "HelloRequest" {
				want = "EOF" // the alert is a warning, which crypto/tls passes over
			}
			s.ends(e, p, want)
		})
	}
}

// Key updates of TLS 1.3 are followed, asked for or not.
func TestKeyUpdates(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	p, s := dialSealed(t, e, tls.VersionTLS13)
	s.auth(p)
	for i := range uint32(200) {
		p.tcp.Write(append(s.keyUpdate(i%2 == 0), s.frame(chat(i+2, "under new keys"))...))
		p.want(idl.ActionMessage, i+2)
	}
	if got := e.hub.Stats().Live; got != 1 {
		t.Errorf("%d live sessions, want 1", got)
	}
}

// A client that asks for keys all the time is sent away: when it says nothing
// beside, and when it says something that has no answer.
func TestKeyUpdatesAreBounded(t *testing.T) {
	t.Run("nothing else", func(t *testing.T) {
		e := newEdge(t, gateway.Options{}, session.Options{})
		p, s := dialSealed(t, e, tls.VersionTLS13)
		s.auth(p)
		var all []byte
		for range 17 { // crypto/tls takes 16 in a row
			all = append(all, s.keyUpdate(false)...)
		}
		p.tcp.Write(all)
		s.ends(e, p, "unexpected message")
	})
	t.Run("with data", func(t *testing.T) {
		e := newEdge(t, gateway.Options{}, session.Options{})
		p, s := dialSealed(t, e, tls.VersionTLS13)
		s.auth(p)
		before := e.Stats().OctetsOut
		unanswered := frame.Append(nil, frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionGetMessageID, Body: make([]byte, 1000)})
		var all []byte
		for _, octet := range unanswered[:1000] {
			all = append(append(all, s.keyUpdate(true)...), s.seal(dataRecord, []byte{octet})...)
		}
		p.tcp.Write(all)
		s.ends(e, p, "too many non-advancing records") // the answers before Quit are too many for crypto/tls too
		if out := e.Stats().OctetsOut - before; out > 2048 {
			t.Errorf("answered with %d octets", out)
		}
	})
}

package gateway_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"
)

// FuzzTLS holds what comes of a client's records that were damaged, cut, doubled
// or lost on their way, over a real port: no panic, no plaintext but that of the
// whole records before the damage, in their order, and a session that ends as
// malformed. However whole records are cut and joined, they are understood.
func FuzzTLS(f *testing.F) {
	f.Add(false, byte(0), []byte(nil))
	f.Add(true, byte(7), []byte(nil))
	f.Add(false, byte(3), []byte{0, 0, 40, 1})     // an octet changed
	f.Add(true, byte(90), []byte{0, 0, 0, 3})      // no longer data
	f.Add(false, byte(200), []byte{1, 0, 100, 50}) // a piece is lost
	f.Add(true, byte(1), []byte{2, 0, 0, 63})      // a piece comes twice
	f.Add(false, byte(30), []byte{3, 0, 0, 5})     // the rest is lost
	f.Add(false, byte(30), []byte{4, 0, 0, 6})     // foreign octets
	f.Add(true, byte(30), []byte{0, 0, 3, 0xff})   // a record over the limit
	f.Add(false, byte(11), []byte{1, 0, 0, 20, 4, 0, 0, 20})
	e := newEdge(f, gateway.Options{}, session.Options{})
	f.Fuzz(func(t *testing.T, old bool, step byte, script []byte) {
		config := &tls.Config{RootCAs: authority.pool(), ServerName: "edge", MaxVersion: tls.VersionTLS13}
		if old {
			config.MaxVersion = tls.VersionTLS12
		}
		p := newPeer(t, e.TCPSAddr().String())
		tape := &recorder{TCPConn: p.tcp}
		p.conn = tape
		p.secure(config)
		p.auth()
		tape.on = true
		const count = 5
		for i := range uint32(count) {
			p.send(chat(i+2, fmt.Sprintf("%d is plaintext", i)))
		}
		before := e.hub.Stats()
		sent := mangled(bytes.Join(tape.records, nil), script)
		whole, broken := judged(sent, tape.records, !old)
		for _, piece := range pieces(sent, step) {
			if _, err := p.tcp.Write(piece); err != nil {
				break // it has been closed for what came before
			}
		}
		got := 0
		for broken || got < whole {
			in, err := p.next()
			if err != nil {
				break
			}
			if want := fmt.Sprintf("%d is plaintext", got); in.Action != idl.ActionMessage || string(in.Body) != want {
				t.Fatalf("got %v %q, want %q", in.Action, in.Body, want)
			}
			got++
		}
		if got > whole || !broken && got < whole {
			t.Errorf("understood %d records, want %d", got, whole)
		}
		p.tcp.Close()
		eventually(t, "the session to end", func() bool { return e.Stats().Conns == 0 })
		after := e.hub.Stats()
		reason := idl.CloseReason(0)
		if broken {
			reason = idl.CloseMalformed
		}
		if after.Closed[reason] != before.Closed[reason]+1 {
			t.Errorf("ended as %v before, %v after, want one more for %v", before.Closed, after.Closed, reason)
		}
		if n := e.Stats().Panics; n > 0 {
			t.Errorf("%d panics", n)
		}
	})
}

// recorder keeps what is written to it, once it is on.
type recorder struct {
	*net.TCPConn
	on      bool
	records [][]byte
}

func (r *recorder) Write(p []byte) (int, error) {
	if !r.on {
		return r.TCPConn.Write(p)
	}
	r.records = append(r.records, bytes.Clone(p))
	return len(p), nil
}

// mangled does to b what script says: four octets an operation, what, where (2)
// and how much.
func mangled(b, script []byte) []byte {
	b = bytes.Clone(b)
	for ; len(script) >= 4 && len(b) > 0; script = script[4:] {
		at := (int(script[1])<<8 | int(script[2])) % len(b)
		end := min(at+int(script[3]), len(b))
		piece := bytes.Clone(b[at:end])
		switch script[0] % 5 {
		case 0:
			b[at] ^= script[3]
		case 1:
			b = append(b[:at], b[end:]...)
		case 2:
			b = append(b[:end], append(piece, b[end:]...)...)
		case 3:
			b = b[:len(b)-int(script[3])%len(b)]
		case 4:
			b = append(b[:at], append(bytes.Repeat([]byte{script[3]}, int(script[3])%8), b[at:]...)...)
		}
	}
	return b
}

// judged says how many of the records are whole in what is sent, before the first
// that is none of them, and whether that is one that breaks TLS: not so a part of a
// record, whose rest may follow. modern is TLS 1.3, where a record of the
// change_cipher_spec type means nothing.
func judged(sent []byte, records [][]byte, modern bool) (whole int, broken bool) {
	for idle := 0; len(sent) >= 5; {
		size := int(sent[3])<<8 | int(sent[4])
		if sent[1] != 3 || sent[2] != 3 || size > 1<<14+256 && modern || size > 1<<14+2048 {
			return whole, true
		}
		if len(sent) < 5+size {
			return whole, false
		}
		switch record := sent[:5+size]; {
		case whole < len(records) && bytes.Equal(record, records[whole]):
			whole, idle = whole+1, 0
		case modern && bytes.Equal(record, []byte{20, 3, 3, 0, 1, 1}) && idle < 16:
			idle++
		default:
			return whole, true
		}
		sent = sent[5+size:]
	}
	return whole, false
}

// pieces cuts b into pieces of uneven lengths that step decides; 0: not at all.
func pieces(b []byte, step byte) (out [][]byte) {
	if step == 0 {
		return [][]byte{b}
	}
	for n := int(step); len(b) > 0; n = (n*5 + 1) % 257 {
		size := min(n+1, len(b))
		out, b = append(out, b[:size]), b[size:]
	}
	return out
}

// A record is damaged in each of its octets in turn.
func TestEveryOctetOfARecordDamaged(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	for at, size := 0, 1; at < size; at++ {
		p := newPeer(t, e.TCPSAddr().String())
		tape := &recorder{TCPConn: p.tcp}
		p.conn = tape
		p.secure(&tls.Config{RootCAs: authority.pool(), ServerName: "edge"})
		p.auth()
		tape.on = true
		p.send(chat(2, "a"))
		record := tape.records[0]
		size = len(record)
		record[at] ^= 0x80
		before := e.hub.Stats().Closed[idl.CloseMalformed]
		p.tcp.Write(record)
		if at == 4 {
			p.tcp.Write(make([]byte, 0x80)) // the length: its record is as long as it says
		}
		if in, err := p.next(); err == nil {
			t.Errorf("octet %d: got %v", at, in)
		} else if errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("octet %d: no alert, but %v", at, err)
		}
		eventually(t, "it to be malformed", func() bool { return e.hub.Stats().Closed[idl.CloseMalformed] == before+1 })
		p.conn.Close()
	}
}

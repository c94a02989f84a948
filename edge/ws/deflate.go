package ws

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"sync"

	gobwas "github.com/gobwas/ws"
)

// Deflate compresses and inflates messages as permessage-deflate does without
// context takeover, RFC 7692: a message depends on no other, so one compressed once
// is good for every connection. It keeps what it works with for use again. The zero
// value is ready, and safe for concurrent use.
type Deflate struct {
	deflaters sync.Pool // *deflater
	inflaters sync.Pool // *inflater
}

// shortest is below which compressing is not tried, in octets.
const shortest = 256

// deflater is about 1.2 MB.
type deflater struct {
	out bytes.Buffer
	to  *flate.Writer
}

// AppendMessage is AppendMessage with the payload compressed, for connections that
// have agreed on it; one that does not become shorter is appended as it is.
func (d *Deflate) AppendMessage(dst []byte, text bool, payload []byte) []byte {
	if len(payload) < shortest {
		return AppendMessage(dst, text, payload)
	}
	c, _ := d.deflaters.Get().(*deflater)
	if c == nil {
		c = new(deflater)
		c.to, _ = flate.NewWriter(nil, deflateLevel) // fails for a wrong level only
	}
	defer d.deflaters.Put(c)
	c.out.Reset()
	c.to.Reset(&c.out)
	c.to.Write(payload) // to memory: neither fails
	c.to.Flush()
	short := bytes.TrimSuffix(c.out.Bytes(), flushed) // §7.2.1
	if len(short) >= len(payload) {
		return AppendMessage(dst, text, payload)
	}
	op := gobwas.OpBinary
	if text {
		op = gobwas.OpText
	}
	at := len(dst)
	dst = appendHeader(dst, op, len(short))
	dst[at] |= rsv1
	return append(dst, short...)
}

const (
	rsv1         = 0x40 // in a header's first octet: the message is compressed, §6
	deflateLevel = 1    // README.md has what the levels cost and save
)

// flushed ends what a compressor has flushed; it is left out on the wire.
var flushed = []byte{0, 0, 0xff, 0xff}

// ended is flushed, and then an empty last block, so that inflating comes to an end.
const ended = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflater is about 40 kB.
type inflater struct {
	in   source
	from io.ReadCloser
}

// inflate gives the payload of a compressed message, at most longest octets of it:
// a longer one is refused, and so costs no more than a message of that length. Its
// error is an *Error.
func (d *Deflate) inflate(p []byte, longest int) ([]byte, error) {
	c, _ := d.inflaters.Get().(*inflater)
	if c == nil {
		c = new(inflater)
		c.from = flate.NewReader(&c.in)
	}
	defer func() {
		c.in = source{}
		d.inflaters.Put(c)
	}()
	c.in = source{payload: p, end: ended}
	c.from.(flate.Resetter).Reset(&c.in, nil)
	out := make([]byte, 0, min(longest, 4*len(p))+1)
	for {
		n, err := c.from.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		switch {
		case len(out) > longest:
			return nil, &Error{CodeTooBig, fmt.Sprintf("a message is over %d octets", longest)}
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, violation("a compressed message is damaged")
		case len(out) == cap(out):
			grown := make([]byte, len(out), min(2*cap(out), longest+1))
			copy(grown, out)
			out = grown
		}
	}
}

// source is a payload and what was left out behind it. It is an io.ByteReader, so
// that flate puts no buffer of its own before it.
type source struct {
	payload []byte
	end     string
}

func (s *source) Read(p []byte) (n int, err error) {
	n = copy(p, s.payload)
	s.payload = s.payload[n:]
	if n == 0 {
		n = copy(p, s.end)
		s.end = s.end[n:]
	}
	if n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

func (s *source) ReadByte() (byte, error) {
	var one [1]byte
	_, err := s.Read(one[:])
	return one[0], err
}

// deflateAnswer is the extension that is agreed on; windowed answers an offer that
// bounds our window, which is always the greatest.
const (
	deflateAnswer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	windowed      = deflateAnswer + "; server_max_window_bits=15"
)

// agreeDeflate picks the first offer of permessage-deflate that can be served and
// gives the answer to it; empty: none. Source: RFC 7692 §5 and §7.1.
func (h *head) agreeDeflate() string {
	for _, value := range h.values("sec-websocket-extensions") {
		for offer := range strings.SplitSeq(value, ",") {
			if answer := answerOffer(offer); answer != "" {
				return answer
			}
		}
	}
	return ""
}

func answerOffer(offer string) (answer string) {
	name, rest, more := strings.Cut(offer, ";")
	if strings.Trim(name, " \t") != "permessage-deflate" {
		return ""
	}
	answer = deflateAnswer
	seen := make(map[string]bool)
	for more {
		var param string
		param, rest, more = strings.Cut(rest, ";")
		key, value, valued := strings.Cut(param, "=")
		key, value = strings.Trim(key, " \t"), strings.Trim(value, " \t")
		if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
			value = value[1 : n-1]
		}
		switch {
		case seen[key]:
			return ""
		case (key == "server_no_context_takeover" || key == "client_no_context_takeover") && !valued:
		case key == "client_max_window_bits" && (!valued || isWindow(value)):
		case key == "server_max_window_bits" && value == "15":
			answer = windowed
		default: // unknown, malformed, or a window smaller than ours
			return ""
		}
		seen[key] = true
	}
	return answer
}

// isWindow reports whether s is 8 to 15, §7.1.2.
func isWindow(s string) bool {
	switch s {
	case "8", "9", "10", "11", "12", "13", "14", "15":
		return true
	}
	return false
}

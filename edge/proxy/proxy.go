// Package proxy reads what a trusted proxy says of the client behind it: the
// PROXY protocol, version 1 and 2, and X-Forwarded-For. Whom to trust is not its
// matter; edge/gateway asks it.
// Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// Header is what a PROXY header says.
type Header struct {
	// Source is the client. It is not valid when the proxy speaks for itself, as
	// in a health check, or does not know: then the connection's own address
	// stands.
	Source netip.AddrPort
}

// ErrMalformed is wrapped by every error of Parse.
var ErrMalformed = errors.New("malformed PROXY header")

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n" // of version 2, §2.2
	maxLine   = 107                      // octets of a header of version 1, §2.1
	fixed     = 16                       // octets of version 2 before its addresses

	// MaxSize is the longest header that is read, in octets: version 2 may carry
	// extensions, which are passed over.
	MaxSize = 4096
)

// Parse reads the header at the start of p. n is its length; 0 without an error
// says that more octets are needed.
func Parse(p []byte) (h Header, n int, err error) {
	if k := min(len(p), len(signature)); string(p[:k]) != signature[:k] {
		h, n, err = parseLine(p)
	} else if len(p) >= fixed {
		h, n, err = parseBinary(p)
	}
	if err != nil {
		return Header{}, 0, err
	}
	return h, n, nil
}

// parseLine reads version 1.
func parseLine(p []byte) (Header, int, error) {
	const begin = "PROXY "
	if k := min(len(p), len(begin)); string(p[:k]) != begin[:k] {
		return Header{}, 0, fmt.Errorf("%w: it begins with neither signature", ErrMalformed)
	}
	end := bytes.IndexByte(p[:min(len(p), maxLine)], '\n')
	switch {
	case end < 0 && len(p) >= maxLine:
		return Header{}, 0, fmt.Errorf("%w: a line of over %d octets", ErrMalformed, maxLine)
	case end < 0:
		return Header{}, 0, nil
	}
	line, ok := bytes.CutSuffix(p[:end], []byte("\r"))
	if !ok {
		return Header{}, 0, fmt.Errorf("%w: the line does not end with CRLF", ErrMalformed)
	}
	source, err := parseFields(strings.Split(string(line), " "))
	return Header{source}, end + 1, err
}

// parseFields reads "PROXY", the family, both addresses and both ports.
func parseFields(f []string) (netip.AddrPort, error) {
	if len(f) >= 2 && f[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil // the rest must be ignored
	}
	if len(f) != 6 || f[1] != "TCP4" && f[1] != "TCP6" {
		return netip.AddrPort{}, fmt.Errorf("%w: want PROXY TCP4 or TCP6, two addresses and two ports", ErrMalformed)
	}
	source, err := endpoint(f[1], f[2], f[4])
	if err == nil {
		_, err = endpoint(f[1], f[3], f[5])
	}
	return source, err
}

func endpoint(family, host, port string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" || addr.Is4() != (family == "TCP4") {
		return netip.AddrPort{}, fmt.Errorf("%w: %q is no address for %s", ErrMalformed, host, family)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, fmt.Errorf("%w: %q is no port", ErrMalformed, port)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), nil
}

// parseBinary reads version 2, of which p holds the fixed part at least.
func parseBinary(p []byte) (Header, int, error) {
	version, command := p[12]>>4, p[12]&15
	if version != 2 || command > 1 {
		return Header{}, 0, fmt.Errorf("%w: version %d, command %d", ErrMalformed, version, command)
	}
	size := fixed + int(binary.BigEndian.Uint16(p[14:]))
	switch {
	case size > MaxSize:
		return Header{}, 0, fmt.Errorf("%w: %d octets, at most %d are read", ErrMalformed, size, MaxSize)
	case len(p) < size:
		return Header{}, 0, nil
	case command == 0: // LOCAL: the proxy speaks for itself
		return Header{}, size, nil
	}
	source, err := parseAddresses(p[13], p[fixed:size])
	return Header{source}, size, err
}

// Families over a stream, §2.2. Others, a unix socket among them, have no
// address that could stand for a client.
const (
	tcp4 = 0x11
	tcp6 = 0x21
)

func parseAddresses(family byte, p []byte) (netip.AddrPort, error) {
	length := 0
	switch family {
	case tcp4:
		length = 4
	case tcp6:
		length = 16
	default:
		return netip.AddrPort{}, nil
	}
	if len(p) < 2*length+4 {
		return netip.AddrPort{}, fmt.Errorf("%w: %d octets of addresses, want %d", ErrMalformed, len(p), 2*length+4)
	}
	addr, _ := netip.AddrFromSlice(p[:length])
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(p[2*length:])), nil
}

// Read reads a header; rest is what came with it. The caller bounds the time.
func Read(r io.Reader) (h Header, rest []byte, err error) {
	buf := make([]byte, 0, 256)
	for {
		h, n, err := Parse(buf)
		if err != nil || n > 0 {
			return h, buf[n:], err
		}
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, MaxSize+256), buf...)
		}
		n, err = r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil && n == 0 {
			return Header{}, nil, err
		}
	}
}

// Forwarded gives the client behind a chain of proxies: the rightmost address of
// the X-Forwarded-For field lines that is not trusted, since only what trusted
// proxies have appended is worth anything. peer is who sent the request; it is
// the answer when it is not trusted itself or nobody stands before it. An entry
// that is no address ends the search: what is left of it nobody vouches for.
func Forwarded(peer netip.AddrPort, lines []string, trusted func(netip.Addr) bool) netip.AddrPort {
	client := peer
	for i := len(lines) - 1; i >= 0; i-- {
		rest, more := lines[i], true
		for more && trusted(client.Addr()) {
			var entry string
			if at := strings.LastIndexByte(rest, ','); at >= 0 {
				rest, entry = rest[:at], rest[at+1:]
			} else {
				entry, more = rest, false
			}
			next, ok := parseEntry(strings.Trim(entry, " \t"))
			if !ok {
				return client
			}
			client = next
		}
	}
	return client
}

// parseEntry reads an address with or without a port.
func parseEntry(s string) (netip.AddrPort, bool) {
	if at, err := netip.ParseAddrPort(s); err == nil {
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), at.Addr().Zone() == ""
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	addr, err := netip.ParseAddr(s)
	return netip.AddrPortFrom(addr.Unmap(), 0), err == nil && addr.Zone() == ""
}

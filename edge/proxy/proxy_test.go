package proxy_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"freeim/edge/proxy"
)

const signature = "\r\n\r\n\x00\r\nQUIT\n"

// binaryHeader is a header of version 2.
func binaryHeader(command, family byte, addresses string) string {
	head := append([]byte(signature), 0x20|command, family)
	return string(binary.BigEndian.AppendUint16(head, uint16(len(addresses)))) + addresses
}

const (
	addresses4 = "\xcb\x00\x71\x07" + "\x0a\x00\x00\x01" + "\x9c\x40" + "\x1b\x9e" // 203.0.113.7, 10.0.0.1, 40000, 7070
	v6         = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	mapped     = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xcb\x00\x71\x07"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, row := range []struct {
		name, in, want string // want: the source, "" for none, "bad" for malformed
	}{
		{"line, IPv4", "PROXY TCP4 203.0.113.7 10.0.0.1 40000 7070\r\n", "203.0.113.7:40000"},
		{"line, IPv6", "PROXY TCP6 2001:db8::1 ::1 40000 7070\r\n", "[2001:db8::1]:40000"},
		{"line, IPv4 in IPv6", "PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n", "203.0.113.7:1"},
		{"line, unknown", "PROXY UNKNOWN\r\n", ""},
		{"line, unknown with more", "PROXY UNKNOWN ffff::1 what 1 2 3\r\n", ""},
		{"the longest line", "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", ""},
		{"binary, IPv4", binaryHeader(1, 0x11, addresses4), "203.0.113.7:40000"},
		{"binary, IPv6", binaryHeader(1, 0x21, v6+v6+"\x9c\x40\x1b\x9e"), "[2001:db8::1]:40000"},
		{"binary, IPv4 in IPv6", binaryHeader(1, 0x21, mapped+v6+"\x00\x01\x00\x02"), "203.0.113.7:1"},
		{"binary with extensions", binaryHeader(1, 0x11, addresses4+"\x03\x00\x04abcd"+long), "203.0.113.7:40000"},
		{"binary, the proxy itself", binaryHeader(0, 0x11, addresses4), ""},
		{"binary, the proxy itself, bare", binaryHeader(0, 0, ""), ""},
		{"binary, unix socket", binaryHeader(1, 0x31, strings.Repeat("\x00", 216)), ""},
		{"binary, datagrams", binaryHeader(1, 0x12, addresses4), ""},

		{"no header", "GET / HTTP/1.1\r\n", "bad"},
		{"a frame", "\x00\x02\x00\x01\x0a", "bad"},
		{"lower case", "proxy TCP4 203.0.113.7 10.0.0.1 40000 7070\r\n", "bad"},
		{"another protocol", "PROXY UDP4 203.0.113.7 10.0.0.1 40000 7070\r\n", "bad"},
		{"the wrong family", "PROXY TCP4 2001:db8::1 ::1 1 2\r\n", "bad"},
		{"a zone", "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "bad"},
		{"a port too high", "PROXY TCP4 203.0.113.7 10.0.0.1 65536 1\r\n", "bad"},
		{"a negative port", "PROXY TCP4 203.0.113.7 10.0.0.1 -1 1\r\n", "bad"},
		{"a port with a zero before", "PROXY TCP4 203.0.113.7 10.0.0.1 01 1\r\n", "bad"},
		{"a bad destination", "PROXY TCP4 203.0.113.7 nobody 1 1\r\n", "bad"},
		{"two spaces", "PROXY  TCP4 203.0.113.7 10.0.0.1 1 1\r\n", "bad"},
		{"a field too few", "PROXY TCP4 203.0.113.7 10.0.0.1 1\r\n", "bad"},
		{"only LF", "PROXY TCP4 203.0.113.7 10.0.0.1 1 1\n", "bad"},
		{"an endless line", "PROXY UNKNOWN " + long, "bad"},
		{"binary, version 1", signature + "\x11\x11\x00\x0c" + addresses4, "bad"},
		{"binary, command 2", signature + "\x22\x11\x00\x0c" + addresses4, "bad"},
		{"binary, addresses cut", binaryHeader(1, 0x11, addresses4[:11]), "bad"},
		{"binary, too long", signature + "\x21\x11\xff\xff", "bad"},
	} {
		t.Run(row.name, func(t *testing.T) {
			h, n, err := proxy.Parse([]byte(row.in))
			if row.want == "bad" {
				if !errors.Is(err, proxy.ErrMalformed) || n != 0 || h.Source.IsValid() {
					t.Fatalf("got %v, %d, %v, want it refused", h, n, err)
				}
				return
			}
			got := ""
			if h.Source.IsValid() {
				got = h.Source.String()
			}
			if err != nil || n != len(row.in) || got != row.want {
				t.Fatalf("got %q, %d of %d octets, %v, want %q", got, n, len(row.in), err, row.want)
			}
			for cut := range len(row.in) {
				if _, n, err := proxy.Parse([]byte(row.in[:cut])); n != 0 || err != nil {
					t.Fatalf("the first %d octets: got %d, %v, want more to be asked for", cut, n, err)
				}
			}
			if _, more, err := proxy.Parse([]byte(row.in + "PROXY")); more != n || err != nil {
				t.Fatalf("with more behind it: got %d, %v", more, err)
			}
		})
	}
}

func TestRead(t *testing.T) {
	in := binaryHeader(1, 0x11, addresses4+strings.Repeat("\x04\x00\x01x", 500)) + "rest"
	for name, r := range map[string]io.Reader{
		"at once": strings.NewReader(in), "octet by octet": iotest.OneByteReader(strings.NewReader(in)),
		"with its end": iotest.DataErrReader(strings.NewReader(in)),
	} {
		h, rest, err := proxy.Read(r)
		if err != nil || h.Source.String() != "203.0.113.7:40000" || !strings.HasPrefix("rest", string(rest)) {
			t.Errorf("%s: got %v, rest %q, %v", name, h, rest, err)
		}
	}
	for _, bad := range []string{"", in[:20], "nonsense", strings.Repeat("PROXY ", 1000)} {
		if _, _, err := proxy.Read(strings.NewReader(bad)); err == nil {
			t.Errorf("%.20q: got no error", bad)
		}
	}
}

func TestForwarded(t *testing.T) {
	inside := netip.MustParsePrefix("10.0.0.0/8")
	for _, row := range []struct {
		name, peer string
		lines      []string
		want       string
	}{
		{"nobody stands before it", "10.0.0.1:5", nil, "10.0.0.1:5"},
		{"the client", "10.0.0.1:5", []string{"203.0.113.7"}, "203.0.113.7:0"},
		{"with its port", "10.0.0.1:5", []string{"203.0.113.7:99"}, "203.0.113.7:99"},
		{"IPv6", "10.0.0.1:5", []string{"2001:db8::1"}, "[2001:db8::1]:0"},
		{"IPv6 in brackets", "10.0.0.1:5", []string{"[2001:db8::1]"}, "[2001:db8::1]:0"},
		{"IPv6 with its port", "10.0.0.1:5", []string{"[2001:db8::1]:99"}, "[2001:db8::1]:99"},
		{"two proxies", "10.0.0.1:5", []string{"203.0.113.7, 10.0.0.2"}, "203.0.113.7:0"},
		{"on two lines", "10.0.0.1:5", []string{"203.0.113.7", "10.0.0.2"}, "203.0.113.7:0"},
		{"what the client claims does not count", "10.0.0.1:5", []string{"192.0.2.66, 203.0.113.7"}, "203.0.113.7:0"},
		{"claims to be inside", "10.0.0.1:5", []string{"10.6.6.6, 203.0.113.7, 10.0.0.2"}, "203.0.113.7:0"},
		{"a stranger's word", "203.0.113.7:5", []string{"192.0.2.66"}, "203.0.113.7:5"},
		{"all inside", "10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"},
		{"rubbish", "10.0.0.1:5", []string{"203.0.113.7, unknown"}, "10.0.0.1:5"},
		{"rubbish further left", "10.0.0.1:5", []string{"unknown, 10.0.0.2"}, "10.0.0.2:0"},
		{"empty", "10.0.0.1:5", []string{""}, "10.0.0.1:5"},
		{"a zone", "10.0.0.1:5", []string{"fe80::1%eth0"}, "10.0.0.1:5"},
	} {
		got := proxy.Forwarded(netip.MustParseAddrPort(row.peer), row.lines, inside.Contains)
		if got.String() != row.want {
			t.Errorf("%s: got %v, want %s", row.name, got, row.want)
		}
	}
}

// FuzzParse: no panic, nothing read past the header, and the same answer when the
// octets come one after the other.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 203.0.113.7 10.0.0.1 40000 7070\r\nrest", "PROXY UNKNOWN\r\n", "PROXY TCP6 ::1 ::1 1 2\r\n",
		binaryHeader(1, 0x11, addresses4), binaryHeader(0, 0, ""), binaryHeader(1, 0x21, v6+v6+"1234"), signature, "GET /",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		h, n, err := proxy.Parse(bytes.Clone(p))
		if n < 0 || n > len(p) || n > proxy.MaxSize || err != nil && n != 0 {
			t.Fatalf("got %d of %d octets, %v", n, len(p), err)
		}
		if n == 0 {
			return
		}
		again, m, err := proxy.Parse(p[:n])
		if again != h || m != n || err != nil {
			t.Fatalf("without what follows: got %v, %d, %v", again, m, err)
		}
		_, rest, err := proxy.Read(iotest.OneByteReader(bytes.NewReader(p)))
		if err != nil || len(rest) != 0 {
			t.Fatalf("octet by octet: got rest %q, %v", rest, err)
		}
	})
}

func FuzzForwarded(f *testing.F) {
	f.Add("203.0.113.7, 10.0.0.2")
	f.Add("[::1]:80,,")
	inside := netip.MustParsePrefix("10.0.0.0/8")
	peer := netip.MustParseAddrPort("10.0.0.1:5")
	f.Fuzz(func(t *testing.T, line string) {
		if got := proxy.Forwarded(peer, []string{line}, inside.Contains); !got.IsValid() {
			t.Fatalf("got %v", got)
		}
	})
}

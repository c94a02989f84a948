package ws

import (
	"bytes"
	"errors"
	"strings"
)

// MaxHead is the longest request head accepted, in octets.
const MaxHead = 8 << 10

// ErrHeadTooLarge says that MaxHead octets hold no end of a request head. The
// answer is TooLargeResponse.
var ErrHeadTooLarge = errors.New("the request head is over 8 KiB")

// HeadSize finds the end of an HTTP request head at the start of p. It returns
// its length with the empty line that ends it, 0 when more octets are needed,
// or ErrHeadTooLarge.
func HeadSize(p []byte) (int, error) {
	i := bytes.Index(p[:min(len(p), MaxHead)], []byte("\r\n\r\n"))
	switch {
	case i >= 0:
		return i + 4, nil
	case len(p) >= MaxHead:
		return 0, ErrHeadTooLarge
	}
	return 0, nil
}

// head is a request head, parsed: RFC 9112 §3 and §5.
type head struct {
	method, target, proto string
	fields                []field
}

type field struct{ name, value string } // the name in lower case

// parseHead reads a whole head. Nothing is repaired: a bare line feed, a folded
// line or a space before the colon, by which proxies are fooled, make it
// malformed. ok is false then.
func parseHead(p []byte) (h head, ok bool) {
	text, ok := strings.CutSuffix(string(p), "\r\n\r\n")
	if !ok {
		return head{}, false
	}
	first, rest, more := strings.Cut(text, "\r\n")
	if !h.parseRequestLine(first) {
		return head{}, false
	}
	for more {
		var line string
		line, rest, more = strings.Cut(rest, "\r\n")
		f, ok := parseField(line)
		if !ok {
			return head{}, false
		}
		h.fields = append(h.fields, f)
	}
	return h, true
}

func (h *head) parseRequestLine(line string) bool {
	var ok1, ok2 bool
	h.method, line, ok1 = strings.Cut(line, " ")
	h.target, h.proto, ok2 = strings.Cut(line, " ")
	return ok1 && ok2 && isToken(h.method) && isTarget(h.target) && isProto(h.proto)
}

func isTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// isProto accepts HTTP/1.0 to HTTP/1.9.
func isProto(s string) bool {
	digit, ok := strings.CutPrefix(s, "HTTP/1.")
	return ok && len(digit) == 1 && digit[0] >= '0' && digit[0] <= '9'
}

func parseField(line string) (field, bool) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		return field{}, false
	}
	value = strings.Trim(value, " \t")
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return field{}, false
		}
	}
	return field{strings.ToLower(name), value}, true
}

// isToken reports whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && !strings.Contains("!#$%&'*+-.^_`|~", s[i:i+1]) {
			return false
		}
	}
	return s != ""
}

// values are the field lines called name, which is in lower case.
func (h *head) values(name string) []string {
	var out []string
	for _, f := range h.fields {
		if f.name == name {
			out = append(out, f.value)
		}
	}
	return out
}

// one is the value of a field that must stand once; ok is false when it is
// absent or repeated.
func (h *head) one(name string) (value string, ok bool) {
	all := h.values(name)
	if len(all) != 1 {
		return "", false
	}
	return all[0], true
}

// lists reports whether the comma-separated field name holds token, in any case
// of letters.
func (h *head) lists(name, token string) bool {
	for _, value := range h.values(name) {
		for item := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}

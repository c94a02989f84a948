package ws

import "unicode/utf8"

// wholeRunes finds how far p, a text that goes on later, can be judged: its
// first n octets are whole runes, and the others (3 at most) begin one that may
// still become valid. ok is false when p cannot be the start of valid UTF-8.
// Source: RFC 6455 §8.1; judging octets as they arrive is Autobahn's 6.4.
func wholeRunes(p []byte) (n int, ok bool) {
	n = len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		start := len(p) - back
		if utf8.RuneStart(p[start]) {
			if !utf8.FullRune(p[start:]) {
				n = start
			}
			break
		}
	}
	return n, utf8.Valid(p[:n])
}

package room

import (
	"unicode"
	"unicode/utf8"

	"freeim/core/im"

	"golang.org/x/text/unicode/norm"
)

const (
	maxName       = 64  // characters
	maxNameOctets = 128 // in UTF-8
)

// canonical is the one spelling of a room's name, NFC, or the refusal of it.
func canonical(name string) (string, error) {
	if len(name) > 4*maxNameOctets { // NFC of more is never short enough
		return "", im.Invalid("room", "must have 1-%d characters, has %d octets", maxName, len(name))
	}
	name = norm.NFC.String(name)
	if n := utf8.RuneCountInString(name); n < 1 || n > maxName || len(name) > maxNameOctets {
		return "", im.Invalid("room", "must have 1-%d characters and at most %d octets, has %d and %d", maxName, maxNameOctets, n, len(name))
	}
	for _, r := range name {
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control) || r == utf8.RuneError || unseen(r) {
			return "", im.Invalid("room", "may not hold the character %U", r)
		}
	}
	first, _ := utf8.DecodeRuneInString(name)
	if last, _ := utf8.DecodeLastRuneInString(name); unicode.IsSpace(first) || unicode.IsSpace(last) {
		return "", im.Invalid("room", "may not begin or end with white space")
	}
	return name, nil
}

// unseen reports whether r shows nothing and joins nothing, so that two names with and
// without it would look the same: zero-width space, word joiner, byte order mark. The
// joiners of scripts and of emoji stay.
func unseen(r rune) bool { return r == '\u200b' || r == '\u2060' || r == '\ufeff' }

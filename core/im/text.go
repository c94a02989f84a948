package im

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckText refuses a text of people's of several lines, as in a message, by its length
// in characters and by what it holds: control characters but newline (also as CR LF) and
// tab, which act on terminals instead of being read, and the two overrides of direction,
// which make it read otherwise than it is. One that must be there is not blank.
// Source: idl/README.md, Texts.
func CheckText(field, text string, least, most int) error {
	if least > 0 && blank(text) {
		return blankness(field)
	}
	return check(field, text, least, most, func(r rune, rest string) bool {
		return r > unicode.MaxLatin1 || r == '\n' || r == '\t' || r == '\r' && strings.HasPrefix(rest, "\n")
	})
}

// CheckLine is CheckText for what is shown in one line, as a name or a title: no newline,
// tab, or separator of lines either, and it is never blank: a name that nobody sees.
func CheckLine(field, text string, least, most int) error {
	if blank(text) {
		return blankness(field)
	}
	return check(field, text, least, most, func(rune, string) bool { return false })
}

func blankness(field string) error { return Invalid(field, "must have a character that is seen") }

// blank reports whether a text, which is not empty, shows nothing: spaces, and what is invisible by Unicode's
// Default_Ignorable_Code_Point, or a pattern of no dots.
func blank(text string) bool {
	for _, r := range text {
		if !unicode.IsSpace(r) && r != '\u2800' && !unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return false
		}
	}
	return text != ""
}

// check has breaks say which characters that break lines may be there, by what follows.
func check(field, text string, least, most int, breaks func(r rune, rest string) bool) error {
	if n := utf8.RuneCountInString(text); n < least || n > most {
		return Invalid(field, "must have %d-%d characters, has %d", least, most, n)
	}
	for i, r := range text {
		switch {
		case r == '\u202d', r == '\u202e':
		case r == '\u2028', r == '\u2029', unicode.IsControl(r):
			if breaks(r, text[i+utf8.RuneLen(r):]) {
				continue
			}
		default:
			continue
		}
		return Invalid(field, "may not hold the character %U", r)
	}
	return nil
}

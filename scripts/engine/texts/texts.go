// Package texts knows how people write and how they hide what they write: folding,
// look-alikes, what a text shows, its links and mentions, and how alike two texts are.
// It is fast on what most texts are made of, ASCII and ideographs, and takes any octets:
// what is no UTF-8 is compared as the replacement character, or as it is.
//
// It knows nothing of scripts and charges nobody: its functions take time in proportion to
// a text, and whoever gives them what strangers wrote bounds and pays for it before. The
// functions of im.text and im.count.alike (scripts/engine) call it, and so does package wordlist.
//
// All functions are safe for concurrent use; a Comparer belongs to one goroutine.
package texts

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// FoldRune maps what readers take for the same character to one: upper to lower
// case, full-width forms to ASCII. One character stays one character.
func FoldRune(r rune) rune {
	if r >= utf8.RuneSelf {
		return foldOdd(r)
	}
	if r >= 'A' && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

// foldOdd is FoldRune of what is not ASCII.
func foldOdd(r rune) rune {
	switch {
	case r >= '！' && r <= '～': // U+FF01 to U+FF5E
		return FoldRune(r - '！' + '!')
	case r == '\u3000': // the ideographic space
		return ' '
	case Ideographic(r):
		return r
	}
	return unicode.ToLower(r)
}

// Ideographic reports the characters of most Chinese and Japanese texts: letters without
// case, which stand for themselves only.
func Ideographic(r rune) bool { return r >= '\u4E00' && r <= '\u9FFF' }

// Fold is FoldRune of each character. A text that is folded already is given back as it is;
// octets that are no UTF-8 become the replacement character.
func Fold(text string) string {
	for _, r := range text {
		if r == utf8.RuneError || FoldRune(r) != r {
			return strings.Map(FoldRune, text)
		}
	}
	return text
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

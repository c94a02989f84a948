package texts

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// plainLooks is LooksLike of ASCII, which most texts are of: by the character's number.
const plainLooks = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f" +
	" l\"#s%&'()*t,-./olzeas6tbg:;<=>?" +
	"aABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_" +
	"`abcdefghljklmnopqrstuvwxyz{l}~\x7f"

// LooksLike maps a folded character to the Latin letter that readers take it for:
// Cyrillic and Greek letters, Latin ones with marks, and the digits and signs of
// "leet". i, l, 1 and | are one.
func LooksLike(r rune) rune {
	if r >= 0 && r < utf8.RuneSelf {
		return rune(plainLooks[r])
	}
	switch r {
	case 'а', 'ӓ', 'ӑ', 'α', 'ά', 'à', 'á', 'â', 'ã', 'ä', 'å', 'ā', 'ă', 'ą', 'ǎ', 'ạ', 'ả', 'ɑ':
		return 'a'
	case 'в', 'ь', 'β', 'ß', 'ḃ', 'ḅ':
		return 'b'
	case 'с', 'ϲ', 'ç', 'ć', 'ĉ', 'ċ', 'č', '¢', 'ⅽ':
		return 'c'
	case 'ԁ', 'ď', 'đ', 'ḋ', 'ḍ', 'ⅾ':
		return 'd'
	case 'е', 'ё', 'ӗ', 'є', 'ε', 'έ', 'è', 'é', 'ê', 'ë', 'ē', 'ĕ', 'ė', 'ę', 'ě', 'ẹ', 'ẻ', 'ẽ', '€':
		return 'e'
	case 'ғ', 'ƒ', 'ḟ', 'ſ':
		return 'f'
	case 'ԍ', 'ɡ', 'ĝ', 'ğ', 'ġ', 'ģ', 'ǧ':
		return 'g'
	case 'һ', 'н', 'ĥ', 'ħ', 'ḣ', 'ḥ':
		return 'h'
	case 'і', 'ї', 'ι', 'ί', 'ì', 'í', 'î', 'ï', 'ĩ', 'ī', 'ĭ', 'į', 'ı', 'ị', 'ỉ', 'ǐ', 'ӏ', 'ĺ', 'ľ', 'ļ', 'ł', 'ŀ', 'ⅰ', 'ⅼ':
		return 'l'
	case 'ј', 'ĵ', 'ǰ', 'ϳ':
		return 'j'
	case 'к', 'κ', 'ќ', 'ķ', 'ǩ', 'ḳ':
		return 'k'
	case 'м', 'ṁ', 'ṃ', 'ⅿ':
		return 'm'
	case 'п', 'η', 'ή', 'ñ', 'ń', 'ņ', 'ň', 'ṅ', 'ṇ':
		return 'n'
	case 'о', 'ӧ', 'ο', 'ό', 'σ', 'ò', 'ó', 'ô', 'õ', 'ö', 'ø', 'ō', 'ŏ', 'ő', 'ơ', 'ǒ', 'ọ', 'ỏ', 'օ':
		return 'o'
	case 'р', 'ρ', 'ṗ', 'þ':
		return 'p'
	case 'ԛ':
		return 'q'
	case 'г', 'ŕ', 'ŗ', 'ř', 'ṙ', 'ṛ':
		return 'r'
	case 'ѕ', 'ś', 'ŝ', 'ş', 'š', 'ș', 'ṡ', 'ṣ':
		return 's'
	case 'т', 'τ', 'ţ', 'ť', 'ț', 'ṫ', 'ṭ':
		return 't'
	case 'υ', 'ύ', 'ù', 'ú', 'û', 'ü', 'ũ', 'ū', 'ŭ', 'ů', 'ű', 'ų', 'ư', 'ǔ', 'ụ', 'ủ', 'ц', 'µ', 'μ':
		return 'u'
	case 'ν', 'ѵ', 'ⅴ':
		return 'v'
	case 'ω', 'ώ', 'ԝ', 'ш', 'щ', 'ŵ', 'ẁ', 'ẃ', 'ẅ':
		return 'w'
	case 'х', 'χ', 'ẋ', 'ⅹ':
		return 'x'
	case 'у', 'ў', 'γ', 'ý', 'ÿ', 'ŷ', 'ỳ', 'ỵ', 'ỷ', 'ỹ':
		return 'y'
	case 'ź', 'ż', 'ž', 'ẓ', 'ʐ':
		return 'z'
	}
	return r
}

// Invisible reports what shows nothing: zero-width and other format characters.
func Invisible(r rune) bool {
	return r >= 0x80 && (unicode.Is(unicode.Cf, r) || r == '\u034F' || r == '\u115F' || r == '\u1160' || r == '\u3164' || r >= '\uFE00' && r <= '\uFE0F')
}

// Mark reports a mark that sits on the letter before it, in scripts that can do
// without.
func Mark(r rune) bool {
	return r >= '\u0300' && r <= '\u036F' || r >= '\u1AB0' && r <= '\u1AFF' || r >= '\u1DC0' && r <= '\u1DFF' || r >= '\u20D0' && r <= '\u20FF'
}

// Skeleton is what a text looks like: texts with equal skeletons are taken for
// one another.
func Skeleton(text string) string {
	var room [512]byte // of most texts
	out := room[:0]
	if len(text) > len(room) {
		out = make([]byte, 0, len(text))
	}
	for _, r := range text {
		switch k := FoldRune(r); {
		case k < utf8.RuneSelf:
			out = append(out, plainLooks[k])
		case Ideographic(r):
			out = utf8.AppendRune(out, r)
		default:
			return oddSkeleton(text)
		}
	}
	return string(out)
}

// oddSkeleton is the Skeleton of any text; the other one is for ASCII, full-width forms and
// ideographs, which act on nothing beside them.
func oddSkeleton(text string) string {
	return norm.NFC.String(strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf && (Mark(r) || Invisible(r)) {
			return -1
		}
		return LooksLike(FoldRune(r))
	}, norm.NFKD.String(text)))
}

// Normalize is the text in NFKC: composed letters, and compatible forms made plain.
func Normalize(text string) string { return norm.NFKC.String(text) }

// Width is how many columns a text takes: wide characters 2, marks and invisible ones 0.
func Width(text string) (columns int) {
	for _, r := range text {
		switch kind := width.LookupRune(r).Kind(); {
		case Mark(r) || Invisible(r) || unicode.In(r, unicode.Mn, unicode.Me, unicode.Cc):
		case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
			columns += 2
		default:
			columns++
		}
	}
	return columns
}

package engine

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// looksLike maps a folded character to the Latin letter that readers take it for:
// Cyrillic and Greek letters, Latin ones with marks, and the digits and signs of
// "leet". i, l, 1 and | are one.
func looksLike(r rune) rune {
	switch r {
	case 'а', 'ӓ', 'ӑ', 'α', 'ά', 'à', 'á', 'â', 'ã', 'ä', 'å', 'ā', 'ă', 'ą', 'ǎ', 'ạ', 'ả', 'ɑ', '4', '@':
		return 'a'
	case 'в', 'ь', 'β', 'ß', 'ḃ', 'ḅ', '8':
		return 'b'
	case 'с', 'ϲ', 'ç', 'ć', 'ĉ', 'ċ', 'č', '¢', 'ⅽ':
		return 'c'
	case 'ԁ', 'ď', 'đ', 'ḋ', 'ḍ', 'ⅾ':
		return 'd'
	case 'е', 'ё', 'ӗ', 'є', 'ε', 'έ', 'è', 'é', 'ê', 'ë', 'ē', 'ĕ', 'ė', 'ę', 'ě', 'ẹ', 'ẻ', 'ẽ', '3', '€':
		return 'e'
	case 'ғ', 'ƒ', 'ḟ', 'ſ':
		return 'f'
	case 'ԍ', 'ɡ', 'ĝ', 'ğ', 'ġ', 'ģ', 'ǧ', '9':
		return 'g'
	case 'һ', 'н', 'ĥ', 'ħ', 'ḣ', 'ḥ':
		return 'h'
	case 'i', 'і', 'ї', 'ι', 'ί', 'ì', 'í', 'î', 'ï', 'ĩ', 'ī', 'ĭ', 'į', 'ı', 'ị', 'ỉ', 'ǐ', 'ӏ', '1', '|', '!', 'ĺ', 'ľ', 'ļ', 'ł', 'ŀ', 'ⅰ', 'ⅼ':
		return 'l'
	case 'ј', 'ĵ', 'ǰ', 'ϳ':
		return 'j'
	case 'к', 'κ', 'ќ', 'ķ', 'ǩ', 'ḳ':
		return 'k'
	case 'м', 'ṁ', 'ṃ', 'ⅿ':
		return 'm'
	case 'п', 'η', 'ή', 'ñ', 'ń', 'ņ', 'ň', 'ṅ', 'ṇ':
		return 'n'
	case 'о', 'ӧ', 'ο', 'ό', 'σ', 'ò', 'ó', 'ô', 'õ', 'ö', 'ø', 'ō', 'ŏ', 'ő', 'ơ', 'ǒ', 'ọ', 'ỏ', 'օ', '0':
		return 'o'
	case 'р', 'ρ', 'ṗ', 'þ':
		return 'p'
	case 'ԛ':
		return 'q'
	case 'г', 'ŕ', 'ŗ', 'ř', 'ṙ', 'ṛ':
		return 'r'
	case 'ѕ', 'ś', 'ŝ', 'ş', 'š', 'ș', 'ṡ', 'ṣ', '5', '$':
		return 's'
	case 'т', 'τ', 'ţ', 'ť', 'ț', 'ṫ', 'ṭ', '7', '+':
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
	case 'ź', 'ż', 'ž', 'ẓ', 'ʐ', '2':
		return 'z'
	}
	return r
}

// invisible reports what shows nothing: zero-width and other format characters.
func invisible(r rune) bool {
	return r >= 0x80 && (unicode.Is(unicode.Cf, r) || r == '\u034F' || r == '\u115F' || r == '\u1160' || r == '\u3164' || r >= '\uFE00' && r <= '\uFE0F')
}

// mark reports a mark that sits on the letter before it, in scripts that can do
// without.
func mark(r rune) bool {
	return r >= '\u0300' && r <= '\u036F' || r >= '\u1AB0' && r <= '\u1AFF' || r >= '\u1DC0' && r <= '\u1DFF' || r >= '\u20D0' && r <= '\u20FF'
}

// skeleton is what a text looks like: texts with equal skeletons are taken for
// one another.
func skeleton(text string) string {
	return norm.NFC.String(strings.Map(func(r rune) rune {
		if mark(r) || invisible(r) {
			return -1
		}
		return looksLike(foldRune(r))
	}, norm.NFKD.String(text)))
}

package texts

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What is found in one text, at most.
const (
	maxLinks    = 32
	maxMentions = 64
)

// Link is a link as written, and its host in lower case.
type Link struct{ URL, Host string }

// Links finds the first 32 links of a text: with a scheme, with www., or a bare name under
// a common top-level domain. Addresses of e-mail are none.
func Links(text string) []Link {
	var out []Link
	for _, word := range strings.FieldsFunc(text, ends) {
		if len(out) == maxLinks {
			break
		}
		if at := strings.Index(word, "://"); at > 0 {
			for at > 0 && isAlpha(word[at-1]) {
				at--
			}
			word = word[at:]
		} else {
			word = strings.TrimLeftFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		}
		word = strings.TrimRight(word, ".,;:!?)]}*_~'")
		if host := hostOf(word); host != "" {
			out = append(out, Link{word, host})
		}
	}
	return out
}

// ends reports what a link cannot contain.
func ends(r rune) bool {
	return unicode.IsSpace(r) || strings.ContainsRune("<>\"`|，。！？；：、“”‘’（）【】《》「」", r)
}

// hostOf is the host of what may be a link, empty when it is none.
func hostOf(word string) string {
	scheme, rest, schemed := strings.Cut(word, "://")
	if !schemed {
		rest = word
	} else if scheme == "" {
		return ""
	}
	host := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host = rest[:end]
	}
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		if !schemed {
			return "" // an address of e-mail
		}
		host = host[at+1:]
	}
	if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:at]
	}
	host = strings.TrimSuffix(Fold(host), ".")
	if schemed {
		return host
	}
	last := strings.LastIndexByte(host, '.')
	if last <= 0 || strings.Contains(host, "..") {
		return ""
	}
	for _, r := range host {
		if r != '-' && r != '.' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return ""
		}
	}
	if strings.HasPrefix(host, "www.") || common(host[last+1:]) {
		return host
	}
	return ""
}

// common reports top-level domains that people write without a scheme.
func common(domain string) bool {
	switch domain {
	case "com", "net", "org", "info", "biz", "io", "co", "me", "cc", "tv", "ly", "gg", "gl", "to", "cn", "hk", "tw", "jp", "kr", "ru", "de", "fr", "uk", "eu", "in", "br",
		"xyz", "top", "vip", "club", "site", "online", "shop", "link", "live", "app", "dev", "work", "icu", "fun", "store", "website", "space", "click", "中国", "公司", "网络":
		return true
	}
	return false
}

// Mentions finds the first 64 names after an @ that follows no letter or digit.
func Mentions(text string) []string {
	var out []string
	before := ' '
	for i, r := range text {
		if (r == '@' || r == '＠') && !unicode.IsLetter(before) && !unicode.IsDigit(before) && len(out) < maxMentions {
			rest := text[i+utf8.RuneLen(r):]
			end := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
			if end < 0 {
				end = len(rest)
			}
			if end > 0 {
				out = append(out, rest[:end])
			}
		}
		before = r
	}
	return out
}

// Emoji counts what is shown as one picture each: a joined sequence, a flag and a skin
// tone are part of one.
func Emoji(text string) int {
	n, joined, flag := 0, false, false
	before := ' '
	for _, r := range text {
		switch {
		case r >= 0x1F1E6 && r <= 0x1F1FF: // two letters make a flag
			if !flag {
				n++
			}
			flag = !flag
			before = r
			continue
		case r >= 0x1F3FB && r <= 0x1F3FF && pictured(before): // skin tones
		case r == '\uFE0F' && !pictured(before) && before > ' ' && !isDigit(byte(min(before, 127))) && before != '#' && before != '*':
			n++ // ©️
		case r == '\u20E3': // keycaps
			n++
		case pictured(r):
			if !joined {
				n++
			}
		}
		joined, flag = r == '\u200D', false
		if r != '\uFE0F' {
			before = r
		}
	}
	return n
}

// pictured reports characters that are shown as a picture.
func pictured(r rune) bool {
	return r >= 0x1F300 && r <= 0x1FAFF || r >= 0x2600 && r <= 0x27BF || r >= 0x2B1B && r <= 0x2B55 || r == 0x231A || r == 0x231B || r >= 0x23E9 && r <= 0x23F3 || r >= 0x1F000 && r <= 0x1F2FF
}

package account

import (
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/accountpb"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// The rules for the fields of a profile, as idl/account.proto states them.

// changed gives what becomes of was by req, or says which field breaks its rule. now is
// for birthdays.
func changed(was profile, req *accountpb.UpdateProfileRequest, now time.Time) (is profile, err error) {
	is = was
	set := func(to *string, text *string, rule func(string) (string, error)) {
		if text != nil && err == nil {
			*to, err = rule(*text)
		}
	}
	set(&is.nickname, req.Nickname, func(text string) (string, error) { return shownName("nickname", text) })
	set(&is.avatar, req.Avatar, avatarURL)
	if req.Gender != nil && err == nil {
		if is.gender = *req.Gender; is.gender < accountpb.Gender_GENDER_UNKNOWN || is.gender > accountpb.Gender_GENDER_OTHER {
			err = im.Invalid("gender", "must be 0 unknown, 1 male, 2 female or 3 other")
		}
	}
	set(&is.birthday, req.Birthday, func(text string) (string, error) { return birthday(text, now) })
	set(&is.signature, req.Signature, func(text string) (string, error) { return line("signature", text, 200) })
	set(&is.city, req.City, func(text string) (string, error) { return line("city", text, 64) })
	set(&is.handle, req.Handle, handleName)
	set(&is.language, req.Language, languageTag)
	for bit, may := range map[int]*bool{foundByHandle: req.FoundByHandle, foundByAccount: req.FoundByAccount, foundByNickname: req.FoundByNickname} {
		if may != nil && *may {
			is.foundBy |= bit
		} else if may != nil {
			is.foundBy &^= bit
		}
	}
	return is, err
}

// changes names the fields of a profile that differ.
func changes(was, is profile) (names []string) {
	for _, field := range []struct {
		name    string
		differs bool
	}{
		{"nickname", was.nickname != is.nickname},
		{"avatar", was.avatar != is.avatar},
		{"gender", was.gender != is.gender},
		{"birthday", was.birthday != is.birthday},
		{"signature", was.signature != is.signature},
		{"city", was.city != is.city},
		{"handle", was.handle != is.handle},
		{"language", was.language != is.language},
		{"found_by", was.foundBy != is.foundBy},
	} {
		if field.differs {
			names = append(names, field.name)
		}
	}
	return names
}

// line is a text of one line in the form in which it is stored: composed (NFC), without
// space around it.
func line(field, text string, most int) (string, error) {
	if len(text) > 4*4*most { // composing what is that long is work for nothing
		return "", im.Invalid(field, "must have 0-%d characters", most)
	}
	text = strings.TrimSpace(norm.NFC.String(text))
	if err := im.CheckLine(field, text, 0, most); err != nil {
		return "", err
	}
	return text, nil
}

// shownName is line for a name that everybody sees: it must have something to see.
func shownName(field, text string) (string, error) {
	text, err := line(field, text, 64)
	if err == nil && text == "" {
		return "", im.Invalid(field, "must have 1-64 characters")
	}
	return text, err
}

// avatarURL is a URL that a browser may load a picture from, or a reference to a file.
func avatarURL(text string) (string, error) {
	const rule = `must be an https or http URL of at most 512 octets, or "file:ID"`
	if text == "" {
		return "", nil
	}
	if _, is := plugin.FileOf(text); is {
		return text, nil
	}
	u, err := url.Parse(text)
	if err != nil || len(text) > 512 || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"'<>\\^`{|}", r) }) {
		return "", im.Invalid("avatar", rule)
	}
	return text, nil
}

// birthday is a date that has come somewhere on Earth.
func birthday(text string, now time.Time) (string, error) {
	if text == "" {
		return "", nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil || day.Year() < 1900 || day.After(now.UTC().Add(14*time.Hour)) {
		return "", im.Invalid("birthday", "must be a date from 1900-01-01 to today, as 2001-12-31")
	}
	return text, nil
}

// handleName is a handle in the form in which it is stored and compared, as accountName's;
// an @ before it is no part of it.
func handleName(text string) (string, error) {
	const rule = "must be 3-32 of a-z 0-9 . _, a letter first"
	if text == "" {
		return "", nil
	}
	name, err := accountName(strings.TrimPrefix(text, "@"))
	if err != nil || strings.Contains(name, "-") {
		return "", im.Invalid("handle", rule)
	}
	return name, nil
}

// languageTag is a tag in its canonical form.
func languageTag(text string) (string, error) {
	const rule = "must be a BCP 47 tag, as zh-Hans"
	if text == "" {
		return "", nil
	}
	if len(text) > 64 {
		return "", im.Invalid("language", rule)
	}
	tag, err := language.Parse(text)
	if err != nil || len(tag.String()) > 64 {
		return "", im.Invalid("language", rule)
	}
	return tag.String(), nil
}

// searchKey is what a nickname is found by: compatibility forms and case folded, the first
// 64 characters.
func searchKey(nickname string) string {
	key := norm.NFC.String(cases.Fold().String(norm.NFKC.String(nickname)))
	for i, n := 0, 0; i < len(key); n++ {
		if n == 64 {
			return key[:i]
		}
		_, size := utf8.DecodeRuneInString(key[i:])
		i += size
	}
	return key
}

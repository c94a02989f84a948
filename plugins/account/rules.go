package account

import (
	"strings"
	"unicode/utf8"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"

	"golang.org/x/text/unicode/norm"
)

// The rules for fields, as idl/account.proto states them.

// accountName gives the name in the form in which it is stored and compared:
// compatibility forms folded (NFKC), lower case.
func accountName(text string) (string, error) {
	const rule = "must be 3-32 of a-z 0-9 . _ -, a letter first"
	if len(text) > 4*32 {
		return "", im.Invalid("account", rule)
	}
	name := strings.ToLower(norm.NFKC.String(text))
	if len(name) < 3 || len(name) > 32 || name[0] < 'a' || name[0] > 'z' {
		return "", im.Invalid("account", rule)
	}
	for i := range len(name) {
		if c := name[i]; !lowerLetter(c) && !digit(c) && !punctuation(c) {
			return "", im.Invalid("account", rule)
		}
	}
	return name, nil
}

// newPassword checks a password that is about to be set.
func newPassword(field, password string) error {
	if n := utf8.RuneCountInString(password); n < 8 || n > 128 {
		return im.Invalid(field, "must be 8-128 characters")
	}
	return nil
}

// triedPassword checks a password that is to be compared: only its size, so that
// a password set under another rule still works.
func triedPassword(password string) error {
	if n := utf8.RuneCountInString(password); n < 1 || n > 128 {
		return im.Invalid("password", "must be 1-128 characters")
	}
	return nil
}

// label checks a name that is only shown.
func label(field, text string) error { return im.CheckLine(field, text, 0, 64) }

func deviceID(field, id string) error {
	ok := len(id) >= 1 && len(id) <= 64
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = lowerLetter(c|0x20) || digit(c) || punctuation(c)
	}
	if !ok {
		return im.Invalid(field, "must be 1-64 of A-Z a-z 0-9 . _ -")
	}
	return nil
}

func deviceRules(d *accountpb.Device) error {
	if d == nil {
		return im.Invalid("device", "must be given")
	}
	if err := deviceID("device.id", d.Id); err != nil {
		return err
	}
	switch d.Type {
	case idl.DeviceMobile, idl.DeviceDesktop, idl.DeviceWeb, idl.DeviceTablet:
	default:
		return im.Invalid("device.type", "must be 1 mobile, 2 desktop, 3 web or 4 tablet")
	}
	if err := label("device.name", d.Name); err != nil {
		return err
	}
	return label("device.client", d.Client)
}

func lowerLetter(c byte) bool { return c >= 'a' && c <= 'z' }
func digit(c byte) bool       { return c >= '0' && c <= '9' }
func punctuation(c byte) bool { return c == '.' || c == '_' || c == '-' }

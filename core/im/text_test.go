package im_test

import (
	"errors"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/idl"
)

func TestTexts(t *testing.T) {
	for _, row := range []struct {
		name, text string
		asText     bool // as a text it is taken
		line       bool // as a line
	}{
		{"plain", "héllo 界", true, true},
		{"right to left, with marks", "\u2067שלום\u2069 \u200f!", true, true},
		{"emoji that are joined", "👩\u200d👩\u200d👧 \ufe0f", true, true},
		{"at the bound", strings.Repeat("界", 30), true, true},
		{"over it", strings.Repeat("x", 31), false, false},
		{"nothing", "", false, false},
		{"spaces", " \u00a0\u3000", false, false},
		{"lines of nothing", "\n\t\n", false, false},
		{"what is invisible", "\u200b\u2060\u3164\u2800\ufe0f\U000e0041", false, false},
		{"a flag's tags", "🏴\U000e0067\U000e007f", true, true},
		{"a dot between", "\u200b.\u200b", true, true},
		{"lines", "a\nb\r\nc\td", true, false},
		{"a line separator", "a\u2028b", true, false},
		{"a paragraph separator", "a\u2029b", true, false},
		{"a lone CR", "a\rb", false, false},
		{"a CR at the end", "a\r", false, false},
		{"NUL", "a\x00b", false, false},
		{"an escape", "\x1b[2J", false, false},
		{"DEL", "a\x7f", false, false},
		{"C1", "a\u009bb", false, false},
		{"an override to the left", "a\u202eb", false, false},
		{"an override to the right", "a\u202db", false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			for name, check := range map[string]struct {
				err   error
				taken bool
			}{
				"text": {im.CheckText("f", row.text, 1, 30), row.asText},
				"line": {im.CheckLine("f", row.text, 1, 30), row.line},
			} {
				no, refused := errors.AsType[*im.Error](check.err)
				if refused == check.taken || refused && (no.Code != idl.CodeInvalidArgument || no.Field != "f") {
					t.Errorf("as a %s: got %v", name, check.err)
				}
			}
		})
	}
}

// A text that may be missing may be blank, as a draft is; a line is a name that people are to see.
func TestBlankTexts(t *testing.T) {
	if err := im.CheckText("f", " \n", 0, 5); err != nil {
		t.Error(err)
	}
	if err := im.CheckLine("f", "", 0, 5); err != nil {
		t.Error(err)
	}
	if err := im.CheckLine("f", " ", 0, 5); im.CodeOf(err) != idl.CodeInvalidArgument {
		t.Errorf("got %v", err)
	}
}

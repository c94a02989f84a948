package idl_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"freeim/idl"
)

// Every code has a status, INTERNAL alone that of a fault, and the README has the same table.
func TestEveryCodeHasAStatus(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]int{}
	for _, row := range regexp.MustCompile("(?m)^\\| ([45][0-9][0-9])[^|]*\\|([^|]*)\\|$").FindAllStringSubmatch(string(text), -1) {
		status, _ := strconv.Atoi(row[1])
		for _, code := range regexp.MustCompile("`([A-Z_]+)`").FindAllStringSubmatch(row[2], -1) {
			written[strings.ToLower(code[1])] = status
		}
	}
	for _, name := range idl.CodeNames() {
		code := idl.CodeNamed(name)
		got := idl.HTTPStatus(code)
		if (got == 500) != (code == idl.CodeInternal) {
			t.Errorf("%s: got %d", name, got)
		}
		if written[name] != got {
			t.Errorf("%s: README.md says %d, want %d", name, written[name], got)
		}
	}
}

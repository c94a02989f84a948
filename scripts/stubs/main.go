// Command stubs writes what is made from the engine's table of the API: the stubs
// and settings for lua-language-server, and the reference in the README. "make gen"
// runs it; a server does not contain it.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"freeim/scripts/engine"
)

// The lines of the README between which the reference lies, and the rules of Lint.
const (
	begin = "<!-- Made by make gen from the table in scripts/engine. -->\n"
	rules = "<!-- Made by make gen from the rules of Lint in scripts/engine. -->\n"
	end   = "<!-- End of what make gen made. -->\n"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: stubs DIRECTORY-OF-THE-SCRIPTS")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "stubs:", err)
		os.Exit(1)
	}
}

// write brings the three files below dir up to date.
func write(dir string) error {
	readme := filepath.Join(dir, "README.md")
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	updated, err := insert(string(text), begin, engine.Reference())
	if err == nil {
		updated, err = insert(updated, rules, engine.LintReference())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", readme, err)
	}
	for name, content := range map[string]string{"README.md": updated, "im.d.lua": engine.Stubs(), ".luarc.json": engine.LuaRC()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// insert puts reference between the lines begin and end.
func insert(text, begin, reference string) (string, error) {
	before, rest, found := strings.Cut(text, begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", fmt.Errorf("it lacks the lines %q and %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return before + begin + reference + "\n" + end + after, nil
}

package engine

import (
	"errors"
	"fmt"
	"strings"

	"freeim/scripts/engine/syntax"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// compile turns a script into code that every VM of the bundle shares. Errors
// begin with file:line.
func compile(f file) (proto *lua.FunctionProto, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%s:1: the compiler gave up: %v", f.Path, cause)
		}
	}()
	chunk, err := parse.Parse(strings.NewReader(f.Text), f.Path)
	if err != nil {
		return nil, syntaxError(f, err)
	}
	chunk, err = syntax.Reshape(f.Path, chunk)
	if err != nil {
		return nil, err
	}
	proto, err = lua.Compile(chunk, f.Path)
	if fault, ok := errors.AsType[*lua.CompileError](err); ok {
		return nil, fmt.Errorf("%s:%d: %s", f.Path, fault.Line, fault.Message)
	}
	return proto, err
}

func syntaxError(f file, err error) error {
	fault, ok := errors.AsType[*parse.Error](err)
	if !ok {
		return fmt.Errorf("%s:1: %w", f.Path, err)
	}
	message := strings.TrimSpace(fault.Message)
	if fault.Pos.Line == parse.EOF {
		last := 1 + strings.Count(strings.TrimRight(f.Text, "\n"), "\n")
		return fmt.Errorf("%s:%d: %s at the end of the file", f.Path, last, message)
	}
	return fmt.Errorf("%s:%d:%d: %s near %q", f.Path, fault.Pos.Line, fault.Pos.Column, message, clip(fault.Token, 40))
}

// clip shortens text for a message.
func clip(text string, octets int) string {
	if len(text) <= octets {
		return text
	}
	return strings.ToValidUTF8(text[:octets], "") + "…"
}

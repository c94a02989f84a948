package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

const (
	maxJSON       = 64 << 10 // octets
	maxJSONDepth  = 32
	maxJSONValues = 4096
)

// jsonSymbols are im.json.
func jsonSymbols() []symbol {
	return []symbol{
		{name: "im.json.decode", in: anywhere, fn: (*vm).jsonDecode, args: []param{{"text", "string", "64 KiB, 32 levels and 4,096 values at most"}}, results: []param{{"value", "any", "nil when it is no JSON or beyond a limit"}, {"problem", "string?", "what is wrong then"}},
			doc:     "A JSON text as a Lua value. Whole numbers from 2^53 on become strings. null is left out of objects and is false in arrays.",
			example: `assert(im.json.decode([[{"a": [1, 2]}]]).a[2] == 2) assert(im.json.decode("{") == nil)`},
		{name: "im.json.encode", in: anywhere, fn: (*vm).jsonEncode, args: []param{{"value", "any", "the same limits"}}, results: []param{{"text", "string", ""}},
			doc:     "A Lua value as JSON. A table with the keys 1 to n is an array, others and the empty one are objects with sorted keys.",
			example: `assert(im.json.encode({b = {1, 2}, a = "x"}) == [[{"a":"x","b":[1,2]}]])`},
	}
}

// decoder reads one JSON text into Lua values.
type decoder struct {
	v      *vm
	L      *lua.LState
	tokens *json.Decoder
	values int
}

// jsonDecode is im.json.decode(text). What strangers wrote raises no error.
func (v *vm) jsonDecode(L *lua.LState) int {
	text := L.CheckString(1)
	if len(text) > maxJSON {
		L.Push(lua.LNil)
		L.Push(lua.LString("longer than 64 KiB"))
		return 2
	}
	v.spend(L, len(text)+10)
	value, err := v.decodeJSON(L, text)
	if err != nil {
		L.Push(lua.LNil)
		L.Push(lua.LString(clip(err.Error(), 256)))
		return 2
	}
	L.Push(value)
	return 1
}

func (v *vm) decodeJSON(L *lua.LState, text string) (lua.LValue, error) {
	d := decoder{v: v, L: L, tokens: json.NewDecoder(strings.NewReader(text))}
	d.tokens.UseNumber()
	value, err := d.value(1)
	if err == nil {
		if _, err = d.tokens.Token(); err == io.EOF {
			return value, nil
		} else if err == nil {
			err = errors.New("more after the value")
		}
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = errors.New("the text ends too early")
	}
	return nil, err
}

func (d *decoder) value(depth int) (lua.LValue, error) {
	token, err := d.tokens.Token()
	if err != nil {
		return nil, err
	}
	if d.values++; d.values > maxJSONValues {
		return nil, errors.New("more than 4096 values")
	}
	d.v.spend(d.L, 16)
	switch token := token.(type) {
	case string:
		return lua.LString(token), nil
	case bool:
		return lua.LBool(token), nil
	case json.Number:
		return number(token)
	case json.Delim:
		if depth > maxJSONDepth {
			return nil, errors.New("more than 32 levels")
		}
		if token == '[' {
			return d.array(depth)
		}
		return d.object(depth)
	}
	return lua.LNil, nil
}

// number keeps a whole number that Lua cannot hold as a string.
func number(n json.Number) (lua.LValue, error) {
	f, err := n.Float64()
	if err != nil {
		return nil, errors.New("a number is out of range")
	}
	if math.Abs(f) >= exact && !strings.ContainsAny(n.String(), ".eE") {
		return lua.LString(n), nil
	}
	return lua.LNumber(f), nil
}

func (d *decoder) array(depth int) (lua.LValue, error) {
	list := d.L.NewTable()
	for d.tokens.More() {
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if value == lua.LNil {
			value = lua.LFalse
		}
		list.Append(value)
	}
	_, err := d.tokens.Token()
	return list, err
}

func (d *decoder) object(depth int) (lua.LValue, error) {
	object := d.L.NewTable()
	for d.tokens.More() {
		key, err := d.tokens.Token()
		if err != nil {
			return nil, err
		}
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		object.RawSetString(key.(string), value)
	}
	_, err := d.tokens.Token()
	return object, err
}

// encoder writes one Lua value as JSON.
type encoder struct {
	v      *vm
	L      *lua.LState
	out    bytes.Buffer
	values int
}

func (v *vm) jsonEncode(L *lua.LState) int {
	L.Push(lua.LString(v.json(L, L.CheckAny(1))))
	return 1
}

// json is a value as JSON, paid for; what cannot be one is an error.
func (v *vm) json(L *lua.LState, value lua.LValue) string {
	e := encoder{v: v, L: L}
	e.value(value, 1)
	return e.out.String()
}

// grown checks what was written so far.
func (e *encoder) grown() {
	if e.out.Len() > maxJSON {
		e.L.RaiseError("im.json.encode: longer than 64 KiB")
	}
}

func (e *encoder) value(value lua.LValue, depth int) {
	if e.values++; e.values > maxJSONValues {
		e.L.RaiseError("im.json.encode: more than %d values", maxJSONValues)
	}
	e.v.spend(e.L, 4)
	switch value := value.(type) {
	case *lua.LNilType:
		e.out.WriteString("null")
	case lua.LBool:
		e.out.WriteString(value.String())
	case lua.LString:
		e.text(string(value))
	case lua.LNumber:
		if f := float64(value); f == math.Trunc(f) && math.Abs(f) <= exact {
			e.out.WriteString(strconv.FormatInt(int64(f), 10))
		} else if math.IsNaN(f) || math.IsInf(f, 0) {
			e.L.RaiseError("im.json.encode: %s is no number of JSON", value)
		} else {
			e.out.WriteString(strconv.FormatFloat(f, 'g', -1, 64))
		}
	case *lua.LTable:
		if depth > maxJSONDepth {
			e.L.RaiseError("im.json.encode: more than %d levels", maxJSONDepth)
		}
		e.table(value, depth)
	default:
		e.L.RaiseError("im.json.encode: a %s has no form in JSON", value.Type())
	}
	e.grown()
}

func (e *encoder) text(text string) {
	if e.out.Len()+len(text) > maxJSON {
		e.L.RaiseError("im.json.encode: longer than 64 KiB")
	}
	e.v.spend(e.L, len(text)/16)
	to := json.NewEncoder(&e.out)
	to.SetEscapeHTML(false)
	_ = to.Encode(text) // a buffer takes everything
	e.out.Truncate(e.out.Len() - 1)
}

// table writes an array if the keys are 1 to n, else an object.
func (e *encoder) table(t *lua.LTable, depth int) {
	n := t.Len()
	var keys []string
	t.ForEach(func(key, _ lua.LValue) {
		e.v.spend(e.L, 1)
		switch key := key.(type) {
		case lua.LString:
			keys = append(keys, string(key))
		case lua.LNumber:
			if i := float64(key); i != math.Trunc(i) || i < 1 || i > float64(n) {
				e.L.RaiseError("im.json.encode: the key %s is no string, and not of an array", key)
			}
		default:
			e.L.RaiseError("im.json.encode: a key is a %s", key.Type())
		}
	})
	if n > 0 && len(keys) > 0 {
		e.L.RaiseError("im.json.encode: a table has both an array and keys, like %q", clip(keys[0], 64))
	}
	if n > 0 {
		e.out.WriteByte('[')
		for i := 1; i <= n; i++ {
			if i > 1 {
				e.out.WriteByte(',')
			}
			e.value(element(t, i), depth+1)
		}
		e.out.WriteByte(']')
		return
	}
	slices.Sort(keys)
	e.out.WriteByte('{')
	for i, key := range keys {
		if i > 0 {
			e.out.WriteByte(',')
		}
		e.text(key)
		e.out.WriteByte(':')
		e.value(t.RawGetString(key), depth+1)
	}
	e.out.WriteByte('}')
}

package engine

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

var memberName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// schema reads {question = {type = "string", max = 200}, …} of an option of im.action.
func (v *vm) schema(L *lua.LState, what string, value lua.LValue) *object {
	table, ok := value.(*lua.LTable)
	if !ok {
		L.RaiseError("im.action: %s must be a table: {field = {type = …}, …}", what)
	}
	var members []Member
	table.ForEach(func(key, value lua.LValue) {
		v.spend(L, 20)
		name := key.String()
		switch {
		case key.Type() != lua.LTString || !memberName.MatchString(name):
			L.RaiseError("im.action: %s: a field's name is of a-z, 0-9 and _, 40 at most, and begins with a letter", what)
		case secret(name):
			L.RaiseError("im.action: %s: a field with the name %s would be hidden from rules", what, name)
		case len(members) == maxMembers:
			L.RaiseError("im.action: %s has more than %d fields", what, maxMembers)
		}
		members = append(members, v.member(L, what+"."+name, name, value, false))
	})
	return newObject(members)
}

// member reads what a schema says of one field, or with element of a list's entries.
func (v *vm) member(L *lua.LState, path, name string, value lua.LValue, element bool) Member {
	m := Member{Name: name, Min: math.NaN(), Max: math.NaN()}
	if text, ok := value.(lua.LString); ok && element {
		m.Type = string(text)
	} else if table, ok := value.(*lua.LTable); ok {
		v.memberOptions(L, path, &m, table, element)
	} else {
		L.RaiseError(`im.action: %s must be a table: {type = "string"}`, path)
	}
	least, most := 0.0, 0.0
	switch m.Type {
	case "string":
		least, most = 0, maxLong
		m.Min, m.Max = orElse(m.Min, 0), orElse(m.Max, maxShort)
	case "integer":
		least, most = -mostExact, mostExact
		m.Min, m.Max = orElse(m.Min, least), orElse(m.Max, most)
	case "number":
		least, most = -math.MaxFloat64, math.MaxFloat64
		m.Min, m.Max = orElse(m.Min, least), orElse(m.Max, most)
	case "list":
		least, most = 0, maxElements
		m.Min, m.Max = orElse(m.Min, 0), orElse(m.Max, 100)
		if element || m.Of == nil {
			L.RaiseError(`im.action: %s: a list needs of = "string" or another type, and is not inside of a list`, path)
		}
	case "boolean", "id":
		if !math.IsNaN(m.Min) || !math.IsNaN(m.Max) {
			L.RaiseError("im.action: %s: this type has no min and max", path)
		}
		m.Min, m.Max = 0, 0
	default:
		L.RaiseError("im.action: %s: type must be string, integer, number, boolean, id or list", path)
	}
	switch {
	case m.Min < least || m.Max > most || m.Min > m.Max:
		L.RaiseError("im.action: %s: min and max must be from %s to %s", path, figure(least), figure(most))
	case len(m.OneOf) > 0 && m.Type != "string", m.Of != nil && m.Type != "list":
		L.RaiseError("im.action: %s: one_of is for strings, of is for lists", path)
	}
	return m
}

func orElse(n, standard float64) float64 {
	if math.IsNaN(n) {
		return standard
	}
	return n
}

func (v *vm) memberOptions(L *lua.LState, path string, m *Member, table *lua.LTable, element bool) {
	number := func(into *float64) func(lua.LValue) bool {
		return func(value lua.LValue) bool {
			n, ok := value.(lua.LNumber)
			*into = float64(n)
			return ok && !math.IsNaN(*into)
		}
	}
	set := map[string]func(lua.LValue) bool{
		"type": func(value lua.LValue) bool { m.Type = lua.LVAsString(value); return true },
		"min":  number(&m.Min),
		"max":  number(&m.Max),
		"one_of": func(value lua.LValue) (ok bool) {
			m.OneOf, ok = someTexts(value)
			return ok
		},
		"doc": func(value lua.LValue) bool { return value.Type() == lua.LTString },
	}
	if !element {
		set["optional"] = func(value lua.LValue) bool {
			flag, ok := value.(lua.LBool)
			m.Optional = bool(flag)
			return ok
		}
		set["of"] = func(value lua.LValue) bool {
			of := v.member(L, path+".of", "", value, true)
			m.Of = &of
			return true
		}
	}
	v.eachMemberOption(L, path, table, set)
}

func (v *vm) eachMemberOption(L *lua.LState, path string, table *lua.LTable, set map[string]func(lua.LValue) bool) {
	table.ForEach(func(key, value lua.LValue) {
		v.spend(L, 5)
		take, known := set[key.String()]
		if !known {
			L.RaiseError("im.action: %s: unknown key '%s'", path, clip(key.String(), 64))
		}
		if !take(value) {
			L.RaiseError("im.action: %s: bad value for %s", path, key)
		}
	})
}

// someTexts reads a list of 1 to maxOneOf strings.
func someTexts(value lua.LValue) (list []string, ok bool) {
	table, ok := value.(*lua.LTable)
	if !ok || table.Len() == 0 || table.Len() > maxOneOf {
		return nil, false
	}
	for i := 1; i <= table.Len(); i++ {
		text, ok := table.RawGetInt(i).(lua.LString)
		if !ok {
			return nil, false
		}
		list = append(list, string(text))
	}
	return list, true
}

// noField is the reason for a field of a table that the schema does not have.
const noField = "there is no such field"

// fromLua makes a struct of a table, whose metatable nobody asks. Values are as hooks
// read them: IDs are strings. One long string can be in many places of a table at no
// cost: what cannot be in maxBody octets of JSON is refused before it is looked at.
func (o *object) fromLua(table *lua.LTable) (any, *FieldError) {
	into, room := o.empty(), maxBody
	v := reflect.ValueOf(into).Elem()
	for key, _ := table.Next(lua.LNil); key != lua.LNil; key, _ = table.Next(key) {
		if name, _ := key.(lua.LString); !o.has(string(name)) {
			return nil, &FieldError{Field: clip(key.String(), 64), Reason: noField}
		}
	}
	for i := range o.members {
		m := &o.members[i]
		if reason := m.fromLua(v.Field(i), table.RawGetString(m.Name), &room); reason != "" {
			return nil, &FieldError{Field: m.Name, Reason: reason}
		}
	}
	return into, nil
}

// fromLua takes what the value needs as JSON at least from room.
func (m *Member) fromLua(into reflect.Value, value lua.LValue, room *int) (reason string) {
	if value == lua.LNil {
		return ""
	}
	if m.Type != "list" {
		into.Set(reflect.New(into.Type().Elem()))
		return m.valueFromLua(into.Elem(), value, room)
	}
	list, ok := value.(*lua.LTable)
	if !ok {
		return "must be a list, got a " + value.Type().String()
	}
	n := list.Len()
	if n > int(m.Max) {
		return fmt.Sprintf("has %d entries: from %v to %v are allowed", n, m.Min, m.Max)
	}
	into.Set(reflect.MakeSlice(into.Type(), n, n))
	for i := range n {
		if reason := m.Of.valueFromLua(into.Index(i), list.RawGetInt(i+1), room); reason != "" {
			return fmt.Sprintf("entry %d: %s", i+1, reason)
		}
	}
	return ""
}

func (m *Member) valueFromLua(into reflect.Value, value lua.LValue, room *int) (reason string) {
	text, _ := value.(lua.LString)
	if *room -= 1 + len(text); *room < 0 {
		return fmt.Sprintf("is too long: all fields together may have %d octets as JSON", maxBody)
	}
	switch value := value.(type) {
	case lua.LString:
		switch m.Type {
		case "string":
			into.SetString(strings.ToValidUTF8(string(value), "\ufffd")) // a script may have cut a character
			return ""
		case "id":
			n, err := strconv.ParseInt(string(value), 10, 64)
			if into.SetInt(n); err == nil {
				return ""
			}
			return "is no ID"
		}
	case lua.LNumber:
		if m.Type == "integer" || m.Type == "number" {
			if into.SetFloat(float64(value)); math.IsNaN(float64(value)) || math.IsInf(float64(value), 0) {
				return "is no number of JSON"
			}
			return ""
		}
	case lua.LBool:
		if m.Type == "boolean" {
			into.SetBool(bool(value))
			return ""
		}
	}
	if m.Type == "id" {
		return "must be an ID, which is a string, got a " + value.Type().String()
	}
	return "must be a " + m.Type + ", got a " + value.Type().String()
}

// toLua is a struct as a table, for tests of bundles.
func (o *object) toLua(L *lua.LState, from any) *lua.LTable {
	v, out := reflect.ValueOf(from).Elem(), L.NewTable()
	for i := range o.members {
		m, field := &o.members[i], v.Field(i)
		switch {
		case field.IsNil():
		case m.Type != "list":
			out.RawSetString(m.Name, m.valueToLua(field.Elem()))
		default:
			list := L.CreateTable(field.Len(), 0)
			for n := range field.Len() {
				list.Append(m.Of.valueToLua(field.Index(n)))
			}
			out.RawSetString(m.Name, list)
		}
	}
	return out
}

func (m *Member) valueToLua(v reflect.Value) lua.LValue {
	switch m.Type {
	case "string":
		return lua.LString(v.String())
	case "boolean":
		return lua.LBool(v.Bool())
	case "id":
		return lua.LString(strconv.FormatInt(v.Int(), 10))
	}
	return lua.LNumber(v.Float())
}

package engine

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// view is a message of the request, or a list in it, as a script holds it. It
// reads the decoded Go struct when a field is asked for, and nothing before.
type view struct {
	value reflect.Value // a struct, or a slice
	shape *typeShape    // of the struct; of the elements when they are structs
	item  *fieldShape   // of a slice: its elements
	path  string        // "c.req", for errors
	turn  uint64
	top   bool           // the request itself, whose fields may be rewritable
	owner *lua.LUserData // the only handle that it is good for
}

// typeShape is what scripts can read of one generated type. It is made once.
type typeShape struct {
	fields map[string]*fieldShape
}

// fieldShape is how one field's value becomes a Lua value.
type fieldShape struct {
	index  int
	kind   fieldKind
	typ    reflect.Type // of the element, without pointer or slice
	hidden bool         // a secret
}

type fieldKind uint8

const (
	textKind fieldKind = iota
	boolKind
	numberKind // fits a Lua number
	idKind     // 64 bits: a string
	enumKind   // by name
	octetsKind
	messageKind
	listKind
	nullable    // a pointer to one of the above but messages
	unknownKind // maps and oneofs
)

// secret reports whether a field is never shown to scripts: what signs people in
// must not get into a log.
func secret(name string) bool {
	return strings.Contains(name, "password") || strings.Contains(name, "token") || strings.Contains(name, "secret")
}

// shapeOf finds the shape of a struct type.
func (b *bundle) shapeOf(t reflect.Type) *typeShape {
	if known, ok := b.shapes.Load(t); ok {
		return known.(*typeShape)
	}
	s := &typeShape{fields: map[string]*fieldShape{}}
	for field := range t.Fields() {
		name := protoName(field)
		if !field.IsExported() || name == "" {
			continue
		}
		f := &fieldShape{index: field.Index[0], hidden: secret(name)}
		f.kind, f.typ = kindOf(field.Type)
		s.fields[name] = f
	}
	known, _ := b.shapes.LoadOrStore(t, s)
	return known.(*typeShape)
}

// protoName is a field's name in the proto file, empty for a field that is none.
func protoName(field reflect.StructField) string {
	for part := range strings.SplitSeq(field.Tag.Get("protobuf"), ",") {
		if name, ok := strings.CutPrefix(part, "name="); ok {
			return name
		}
	}
	return ""
}

func kindOf(t reflect.Type) (fieldKind, reflect.Type) {
	switch t.Kind() {
	case reflect.String:
		return textKind, t
	case reflect.Bool:
		return boolKind, t
	case reflect.Int32:
		if t.Implements(reflect.TypeFor[fmt.Stringer]()) {
			return enumKind, t
		}
		return numberKind, t
	case reflect.Uint32, reflect.Float32, reflect.Float64:
		return numberKind, t
	case reflect.Int64, reflect.Uint64:
		return idKind, t
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Struct {
			return messageKind, t.Elem()
		}
		if kind, _ := kindOf(t.Elem()); kind < messageKind {
			return nullable, t.Elem()
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return octetsKind, t
		}
		if kind, _ := kindOf(t.Elem()); kind <= messageKind {
			return listKind, t.Elem()
		}
	}
	return unknownKind, t
}

// requestType is the metatable of c.req and of what is inside it.
func (v *vm) requestType() *lua.LTable {
	mt := v.metatable(nil, v.readView)
	v.set(mt, map[string]lua.LGFunction{
		"__newindex": v.writeView,
		"__len":      v.viewLen,
		"__tostring": func(L *lua.LState) int {
			L.Push(lua.LString("request"))
			return 1
		},
	})
	return mt
}

// request is c.req.
func (p *proxy) request(L *lua.LState) lua.LValue {
	if p.c.Request == nil {
		L.RaiseError("%s has no request here", p.c.Action)
	}
	if p.req.turn != p.turn {
		value := reflect.ValueOf(p.c.Request).Elem()
		p.req = view{value: value, shape: p.v.b.shapeOf(value.Type()), path: "c.req", turn: p.turn, top: true}
		p.req.owner = p.v.handles.next(&p.req, p.v.env, p.v.views)
	}
	return p.req.owner
}

// replied is c.reply, nil if there is none.
func (p *proxy) replied() lua.LValue {
	if p.c.Reply == nil {
		return lua.LNil
	}
	if p.reply.turn != p.turn {
		value := reflect.ValueOf(p.c.Reply).Elem()
		p.reply = view{value: value, shape: p.v.b.shapeOf(value.Type()), path: "c.reply", turn: p.turn}
		p.reply.owner = p.v.handles.next(&p.reply, p.v.env, p.v.views)
	}
	return p.reply.owner
}

// within is a handle of something inside of the request.
func (v *vm) within(w *view) *lua.LUserData {
	w.owner = v.handle(w, v.views)
	return w.owner
}

// viewed is argument 1 as a view that is still good.
func (v *vm) viewed(L *lua.LState) *view {
	handle, ok := L.Get(1).(*lua.LUserData)
	if ok {
		if w, ok := handle.Value.(*view); ok && w.owner == handle && w.turn == v.proxy.turn && v.proxy.c != nil {
			return w
		}
	}
	L.RaiseError("request used outside its hook")
	return nil
}

func (v *vm) readView(L *lua.LState) int {
	w := v.viewed(L)
	if w.item != nil {
		n, ok := L.Get(2).(lua.LNumber)
		if i := int(n); ok && i >= 1 && i <= w.value.Len() && lua.LNumber(i) == n {
			L.Push(v.toLua(w.value.Index(i-1), w.item, w, strconv.Itoa(i)))
		} else if ok {
			L.Push(lua.LNil)
		} else {
			L.RaiseError("%s is a list: it has numbers, and a length by #", w.path)
		}
		return 1
	}
	f := v.fieldOf(L, w)
	L.Push(v.toLua(w.value.Field(f.index), f, w, string(L.Get(2).(lua.LString))))
	return 1
}

// fieldOf finds the field that argument 2 names.
func (v *vm) fieldOf(L *lua.LState, w *view) *fieldShape {
	name, _ := L.Get(2).(lua.LString)
	f := w.shape.fields[string(name)]
	switch {
	case f == nil:
		L.RaiseError("%s has no field '%s'", w.path, clip(L.Get(2).String(), 64))
	case f.hidden:
		L.RaiseError("%s.%s is hidden from rules", w.path, string(name))
	case f.kind == unknownKind:
		L.RaiseError("%s.%s is of a kind that rules cannot read", w.path, string(name))
	}
	return f
}

// viewUnits is what a handle of something inside of the request costs.
const viewUnits = 4

// toLua is a value of the request as scripts see it. Octets are copied, and paid for;
// else nothing is but what a number becomes.
func (v *vm) toLua(value reflect.Value, f *fieldShape, within *view, name string) lua.LValue {
	switch f.kind {
	case textKind:
		return lua.LString(value.String())
	case boolKind:
		return lua.LBool(value.Bool())
	case numberKind:
		switch {
		case value.CanInt():
			return lua.LNumber(value.Int())
		case value.CanUint():
			return lua.LNumber(value.Uint())
		}
		return lua.LNumber(value.Float())
	case idKind:
		if value.CanInt() {
			return lua.LString(strconv.FormatInt(value.Int(), 10))
		}
		return lua.LString(strconv.FormatUint(value.Uint(), 10))
	case enumKind:
		return lua.LString(enumName(value))
	case octetsKind:
		v.claim(v.L, value.Len())
		return lua.LString(string(value.Bytes()))
	case nullable:
		if value.IsNil() {
			return lua.LNil
		}
		kind, typ := kindOf(f.typ)
		return v.toLua(value.Elem(), &fieldShape{kind: kind, typ: typ}, within, name)
	case messageKind:
		if value.IsNil() {
			return lua.LNil
		}
		v.spend(v.L, viewUnits)
		return v.within(&view{value: value.Elem(), shape: v.b.shapeOf(f.typ), path: within.path + "." + name, turn: within.turn})
	}
	kind, typ := kindOf(f.typ)
	v.spend(v.L, viewUnits)
	return v.within(&view{value: value, item: &fieldShape{kind: kind, typ: typ}, path: within.path + "." + name, turn: within.turn})
}

func enumName(value reflect.Value) string { return value.Interface().(fmt.Stringer).String() }

// viewLen is #list.
func (v *vm) viewLen(L *lua.LState) int {
	w := v.viewed(L)
	if w.item == nil {
		L.RaiseError("%s is no list", w.path)
	}
	L.Push(lua.LNumber(w.value.Len()))
	return 1
}

// writeView is c.req.field = "…": of a text that the host has declared rewritable.
func (v *vm) writeView(L *lua.LState) int {
	w := v.viewed(L)
	if w.item != nil {
		L.RaiseError("%s is read-only", w.path)
	}
	f := v.fieldOf(L, w)
	name := string(L.Get(2).(lua.LString))
	if w.top && f.kind == textKind && !v.proxy.late {
		if may := v.b.rewritable(v.proxy.c.Action, name); may != nil {
			v.proxy.assign(name, w.value.Field(f.index).Addr().Interface().(*string), v.newText(L, w.path+"."+name, L.Get(3), may.Max))
			return 0
		}
	}
	L.RaiseError("%s.%s is read-only", w.path, name)
	return 0
}

package engine

import (
	"reflect"
	"time"
)

// question is a copy of what a bundle was asked, which stays as it was while the
// action goes on. Secrets are left out of it.
type question struct {
	sample
	point Point
	at    time.Time
}

// copied makes the copy. The call must not change meanwhile.
func copied(p Point, c *Call, at time.Time) *question {
	q := &question{point: p, at: at}
	q.Call, q.Explain = *c, nil
	q.Pin, q.Facts = Pin{}, q
	if c.Facts != nil {
		for f := range facts {
			q.facts[f] = c.Facts.Fact(f)
		}
	}
	cp := copier{from: c.Text}
	if c.Request != nil {
		q.Request = cp.request(c.Request)
	}
	if c.Text != nil {
		q.text = *c.Text
		if q.Text = cp.to; q.Text == nil {
			q.Text = &q.text
		}
	}
	return q
}

// copier copies generated structs in depth.
type copier struct {
	from *string // the message's text
	to   *string // where it is in the copy; nil: not in the request
	edit func(text string) string
}

func (c *copier) request(r any) any {
	from := reflect.ValueOf(r)
	to := reflect.New(from.Type().Elem())
	c.value(to.Elem(), from.Elem())
	return to.Interface()
}

func (c *copier) value(to, from reflect.Value) {
	switch from.Kind() {
	case reflect.Pointer:
		if !from.IsNil() {
			to.Set(reflect.New(from.Type().Elem()))
			c.value(to.Elem(), from.Elem())
		}
	case reflect.Interface: // one of several messages
		if !from.IsNil() {
			one := reflect.New(from.Elem().Type()).Elem()
			c.value(one, from.Elem())
			to.Set(one)
		}
	case reflect.Struct:
		for field, value := range from.Fields() {
			if field.IsExported() && !secret(protoName(field)) {
				c.value(to.FieldByIndex(field.Index), value)
			}
		}
	case reflect.Slice:
		if from.IsNil() {
			return
		}
		to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
		if from.Type().Elem().Kind() == reflect.Uint8 {
			c.octets(to, from)
			return
		}
		for i := range from.Len() {
			c.value(to.Index(i), from.Index(i))
		}
	case reflect.Map:
		if from.IsNil() {
			return
		}
		to.Set(reflect.MakeMapWithSize(from.Type(), from.Len()))
		for key, value := range from.Seq2() {
			one := reflect.New(value.Type()).Elem()
			c.value(one, value)
			to.SetMapIndex(key, one)
		}
	case reflect.String:
		c.text(to, from)
	default:
		to.Set(from)
	}
}

func (c *copier) octets(to, from reflect.Value) {
	if c.edit != nil {
		to.SetBytes([]byte(c.edit(string(from.Bytes()))))
		return
	}
	reflect.Copy(to, from)
}

func (c *copier) text(to, from reflect.Value) {
	text := from.String()
	if c.edit != nil {
		text = c.edit(text)
	}
	to.SetString(text)
	if c.from != nil && from.CanAddr() && to.CanAddr() && from.Addr().UnsafePointer() == reflect.ValueOf(c.from).UnsafePointer() {
		c.to = (*string)(to.Addr().Interface().(*string))
	}
}

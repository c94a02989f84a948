package plugintest_test

import (
	"context"
	stdsql "database/sql"
	"errors"
	"reflect"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/files"
)

// holder is a plugin that refers to files.
type holder struct {
	host  plugin.Host
	files plugin.Files
}

func (p *holder) Info() plugin.Info {
	return plugin.Info{Name: "holder", Needs: []string{plugin.ServiceFiles}}
}

func (p *holder) Provision(_ context.Context, h plugin.Host) (err error) {
	p.host = h
	p.files, err = plugin.Need[plugin.Files](h, plugin.ServiceFiles)
	return err
}

func (p *holder) Register(*plugin.Registrar) {}

// References are made and ended with the transaction, or by themselves.
func TestFilesKeepsReferences(t *testing.T) {
	p, fake := &holder{}, &plugintest.Files{}
	plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{fake.Stub()}})
	a, b := fake.Add(1, "image/png"), fake.Add(1, "video/mp4")
	undone := errors.New("undone")
	err := p.host.Tx(t.Context(), func(tx *stdsql.Tx) error {
		_, err := p.files.Use(t.Context(), tx, plugin.FileUse{Holder: "holder:1", User: 1, IDs: []string{a}})
		return errors.Join(err, undone)
	})
	if !errors.Is(err, undone) || len(fake.References(t)) != 0 {
		t.Fatalf("got %v, references %v", err, fake.References(t))
	}
	for range 2 {
		used, err := p.files.Use(t.Context(), nil, plugin.FileUse{Holder: "holder:1", User: 1, IDs: []string{a, b}})
		if err != nil || len(used) != 2 || used[0].ID != a || used[1].Type != "video/mp4" {
			t.Fatalf("got %v, %v", used, err)
		}
	}
	if err := p.files.Release(t.Context(), nil, "holder:1", b); err != nil {
		t.Fatal(err)
	}
	if got := fake.References(t); !reflect.DeepEqual(got, map[string][]string{"holder:1": {a}}) {
		t.Errorf("got %v", got)
	}
	err = p.host.Tx(t.Context(), func(tx *stdsql.Tx) error { return p.files.Release(t.Context(), tx, "holder:1") })
	if got := fake.References(t); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestFilesRefuses(t *testing.T) {
	p, fake := &holder{}, &plugintest.Files{}
	plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{fake.Stub()}})
	good := fake.Add(1, "image/png")
	for name, row := range map[string]struct {
		use  plugin.FileUse
		code idl.Code
	}{
		"unknown":       {plugin.FileUse{User: 1, IDs: []string{good, files.NewID()}}, idl.CodeNotFound},
		"another's":     {plugin.FileUse{User: 2, IDs: []string{good}}, idl.CodeNotFound},
		"not committed": {plugin.FileUse{User: 1, IDs: []string{fake.AddRaw(1, "image/png")}}, idl.CodeInvalidArgument},
		"of a type":     {plugin.FileUse{User: 1, Type: "video/", IDs: []string{good}}, idl.CodeInvalidArgument},
		"too many":      {plugin.FileUse{User: 1, IDs: make([]string, plugin.MostFiles+1)}, idl.CodeInvalidArgument},
		"passed on":     {plugin.FileUse{IDs: []string{good}}, 0},
	} {
		row.use.Holder, row.use.Field = "holder:1", "images"
		_, err := p.files.Use(t.Context(), nil, row.use)
		if no, _ := errors.AsType[*im.Error](err); row.code == 0 && err != nil || row.code != 0 && (no == nil || no.Code != row.code || no.Field != "images") {
			t.Errorf("%s: got %v, want %v", name, err, row.code)
		}
	}
}

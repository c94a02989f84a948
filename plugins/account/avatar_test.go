package account_test

import (
	"reflect"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/files"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

// An avatar that is a file is the person's own picture, and is kept as long as it is the avatar.
func TestAvatarUsesFile(t *testing.T) {
	kept := &plugintest.Files{}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{account.Cheap()}, Stubs: []plugintest.Stub{kept.Stub()}})
	alice := signUp(t, h, "alice")
	set := func(avatar string) error {
		_, err := update(h.As(alice, "a", idl.CodecJSON), &accountpb.UpdateProfileRequest{Avatar: &avatar})
		return err
	}
	a, b := kept.Add(alice, "image/png"), kept.Add(alice, "image/jpeg")
	for name, row := range map[string]struct {
		id   string
		code idl.Code
	}{
		"unknown": {files.NewID(), idl.CodeNotFound}, "another's": {kept.Add(alice+1, "image/png"), idl.CodeNotFound},
		"no picture": {kept.Add(alice, "text/html"), idl.CodeInvalidArgument}, "not committed": {kept.AddRaw(alice, "image/png"), idl.CodeInvalidArgument},
	} {
		if err := set("file:" + row.id); im.CodeOf(err) != row.code {
			t.Errorf("%s: got %v, want %v", name, err, row.code)
		}
	}
	holder := "account:" + alice.String()
	for _, step := range []struct {
		avatar string
		want   map[string][]string
	}{
		{"file:" + a, map[string][]string{holder: {a}}},
		{"file:" + b, map[string][]string{holder: {b}}},
		{"https://x.example/a.png", map[string][]string{}},
		{"file:" + a, map[string][]string{holder: {a}}},
		{"", map[string][]string{}},
	} {
		if err := set(step.avatar); err != nil {
			t.Fatal(err)
		}
		if got := kept.References(t); !reflect.DeepEqual(got, step.want) {
			t.Errorf("avatar %q: got %v, want %v", step.avatar, got, step.want)
		}
	}
}

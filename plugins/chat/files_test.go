package chat_test

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"

	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// A message keeps the files that it names, which must be its sender's, until it is recalled or never comes;
// a copy keeps them by itself.
func TestFiles(t *testing.T) {
	files, p := new(plugintest.Files), chat.New()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{directory, files.Stub()}, Scripts: map[string]string{"a.lua": holding}})
	r := review{h, p, p.Pages()}
	phone, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "tab", idl.CodecProtobuf)
	image, other, raw := files.Add(alice, "image/png"), files.Add(bob, "image/png"), files.AddRaw(alice, "image/png")
	req := func(clientID, text, file string) *chatpb.SendRequest {
		return &chatpb.SendRequest{ClientId: clientID, ToUserId: int64(bob), Kind: kindImage, Text: text, Media: &chatpb.Media{File: file}}
	}
	for name, row := range map[string]struct {
		req  *chatpb.SendRequest
		code idl.Code
	}{
		"unknown":       {req("x", "", aFile), idl.CodeNotFound},
		"another's":     {req("x", "", "file:"+other), idl.CodeNotFound},
		"not committed": {req("x", "", "file:"+raw), idl.CodeInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, phone.Call(idl.ActionMessage, row.req, nil), row.code, "media.file")
		})
	}
	video := req("x", "", "file:"+image)
	video.Kind = kindVideo
	wantRefusal(t, phone.Call(idl.ActionMessage, video, nil), idl.CodeInvalidArgument, "media.file")
	if got := files.References(t); len(got) != 0 {
		t.Errorf("files are kept for nothing: %v", got)
	}
	first := sends(t, phone, req("m", "", "file:"+image))
	sends(t, phone, req("m", "", "file:"+image))
	copied := sends(t, bobs, &chatpb.SendRequest{ClientId: "f", ToUserId: int64(carol), Forward: &chatpb.Source{ConversationId: first.ConversationId, Seq: 1, MessageId: first.MessageId}})
	held := sends(t, phone, req("h", "wait", "file:"+image))
	if got := files.References(t); len(got) != 3 || len(got["chat:100001:m"]) != 1 || len(got["chat:100002:f"]) != 1 || len(got["chat:100001:h"]) != 1 {
		t.Errorf("got %v", got)
	}
	if code := r.ask(t, 1, url.Values{"id": {held.HeldId}, "verdict": {"deny"}}, nil); code != http.StatusOK {
		t.Error(code)
	}
	if _, err := recall(phone, first); err != nil {
		t.Error(err)
	}
	if got := files.References(t); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	if _, err := recall(bobs, copied); err != nil {
		t.Error(err)
	}
	if got := files.References(t); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// meddling is a store with which something happens just before a message is committed.
type meddling struct {
	timeline.Store
	before *atomic.Pointer[func()] // once
}

func (m meddling) Append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	if do := m.before.Swap(nil); do != nil {
		(*do)()
	}
	return m.Store.Append(ctx, d)
}

// Of two messages by one client ID that are under way at once one is committed, and refers to its files and no others,
// whichever of them was first to refer to what.
func TestFilesOfRacingSends(t *testing.T) {
	files := new(plugintest.Files)
	at := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory, files.Stub()}})
	m := meddling{at.Timelines(), new(atomic.Pointer[func()])}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory, files.Stub()}, Timelines: m})
	phone, desk := h.As(alice, "phone", idl.CodecJSON), h.As(alice, "desk", idl.CodecProtobuf)
	one, two, three := files.Add(alice, "video/mp4"), files.Add(alice, "image/png"), files.Add(alice, "image/png")
	for name, row := range map[string]struct{ first, second *chatpb.Media }{
		"others":         {&chatpb.Media{File: "file:" + one}, &chatpb.Media{File: "file:" + one, Cover: "file:" + two}},
		"fewer":          {&chatpb.Media{File: "file:" + one, Cover: "file:" + two}, &chatpb.Media{File: "file:" + one}},
		"another-of-two": {&chatpb.Media{File: "file:" + one, Cover: "file:" + two}, &chatpb.Media{File: "file:" + one, Cover: "file:" + three}},
	} {
		t.Run(name, func(t *testing.T) {
			send := func(s *plugintest.Session, media *chatpb.Media) error {
				return s.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: name, ToUserId: int64(bob), Kind: kindVideo, Media: media}, nil)
			}
			meddle := func() {
				if err := send(desk, row.second); err != nil {
					t.Error(err)
				}
			}
			m.before.Store(&meddle)
			wantRefusal(t, send(phone, row.first), idl.CodeConflict, "client_id")
			want := []string{one}
			if row.second.Cover != "" {
				want = append(want, row.second.Cover[len("file:"):])
			}
			slices.Sort(want)
			if got := files.References(t)["chat:100001:"+name]; !slices.Equal(got, want) {
				t.Errorf("refers to %v, want %v", got, want)
			}
		})
	}
	// The same message, twice at once: what the first to refer lets go of, the other refers to again.
	media := &chatpb.Media{File: "file:" + one}
	meddle := func() {
		if err := files.Release(t.Context(), nil, "chat:100001:again", one); err != nil {
			t.Error(err)
		}
	}
	// Another try has referred to it, and is refused while this one is committed.
	if _, err := files.Use(t.Context(), nil, plugin.FileUse{Holder: "chat:100001:again", User: alice, IDs: []string{one}}); err != nil {
		t.Fatal(err)
	}
	m.before.Store(&meddle)
	sent := &chatpb.SendReply{}
	req := &chatpb.SendRequest{ClientId: "again", ToUserId: int64(bob), Kind: kindVideo, Media: media}
	if err := phone.Call(idl.ActionMessage, req, sent); err != nil {
		t.Fatal(err)
	}
	if got := files.References(t)["chat:100001:again"]; !slices.Equal(got, []string{one}) {
		t.Errorf("refers to %v", got)
	}
	// Sent again when it was recalled, it refers to nothing.
	if _, err := recall(phone, sent); err != nil {
		t.Fatal(err)
	}
	if err := phone.Call(idl.ActionMessage, req, nil); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(files.References(t))); slices.Contains(got, "chat:100001:again") {
		t.Errorf("holders are %v", got)
	}
}

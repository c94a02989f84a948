package chat_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// Programs of the operator's send as an account of his: to one, to many, to a group of which he is no member; done again it
// is sent once.
func TestSystemMessages(t *testing.T) {
	p, c := chat.New(), &company{members: []im.UserID{bob, carol}}
	c.guard = func(im.UserID, im.UserID) error { return errOut } // nobody asks
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p, c}, Stubs: []plugintest.Stub{directory}})
	bobs, carols := h.As(bob, "phone", idl.CodecJSON), h.As(carol, "phone", idl.CodecProtobuf)
	post := func(form url.Values) (status int, sent []string) {
		t.Helper()
		return postMessages(t, p, form)
	}
	form := func(values ...string) url.Values {
		f := url.Values{"from": {alice.String()}, "client_id": {"news-1"}}
		for i := 0; i < len(values); i += 2 {
			f[values[i]] = append(f[values[i]], values[i+1])
		}
		return f
	}
	for _, test := range []struct {
		name string
		form url.Values
		want string
	}{
		{"to many, one of whom there is not", form("to", "100002, 100003", "to", "5", "text", "hello"),
			"[100002 1 false   100003 1 false   5 0 false NOT_FOUND to_user_id: no such user]"},
		{"once more", form("to", "100002", "to", "100003", "text", "hello"), "[100002 1 true   100003 1 true  ]"},
		{"another under the same name", form("to", "100002", "text", "bye"), "[100002 0 false CONFLICT client_id: used before for another message]"},
		{"to a group", form("conversation", "g_1", "text", "to all"), "[g_1 1 false  ]"},
		{"to a group once more", form("conversation", "g_1", "text", "to all"), "[g_1 1 true  ]"},
		{"another kind", form("to", "100002", "client_id", "x", "message", `{"kind": 2, "place": {"name": "here"}}`), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.want == "" {
				test.form["client_id"] = []string{"news-2"}
				test.want = "[100002 2 false  ]"
			}
			if status, got := post(test.form); status != http.StatusOK || fmt.Sprint(got) != test.want {
				t.Errorf("got %d %v, want %s", status, got, test.want)
			}
		})
	}
	var seen []string
	for _, e := range entries(t, bobs) {
		seen = append(seen, fmt.Sprint(e.Message.SenderId, " ", e.Message.Text, e.Message.Place.GetName()))
	}
	if got, want := fmt.Sprint(seen), "[100001 hello 100001 to all 100001 here]"; got != want {
		t.Errorf("bob got %s, want %s", got, want)
	}
	wantList(t, carols, "g_1 1 to all", "c_100001_100003 1 hello")
	if _, err := sendTo(h.As(alice, "phone", idl.CodecJSON), "g_1", "a", "hi"); im.CodeOf(err) != idl.CodePermissionDenied {
		t.Errorf("alice is a member by that: %v", err)
	}
	for name, bad := range map[string]url.Values{
		"without a name at all":  {"from": {"100001"}, "to": {"100002"}, "text": {"hi"}},
		"with a name of signs":   {"from": {"100001"}, "client_id": {"a b"}, "to": {"100002"}, "text": {"hi"}},
		"from nobody":            {"from": {"x"}, "client_id": {"a"}, "to": {"100002"}, "text": {"hi"}},
		"to nobody":              form("text", "hi"),
		"to two kinds":           form("to", "100002", "conversation", "g_1", "text", "hi"),
		"to somebody twice":      form("to", "100002,100002", "text", "hi"),
		"to too many":            form("to", strings.Repeat("7,", 1001)+"8", "text", "hi"),
		"to a chat of others":    form("conversation", "c_100002_100003", "text", "hi"),
		"nothing":                form("to", "100002"),
		"two things":             form("to", "100002", "text", "hi", "message", "{}"),
		"no JSON":                form("to", "100002", "message", "{"),
		"what the form says":     form("to", "100002", "message", `{"text": "hi", "client_id": "x"}`),
		"by lines":               form("to", "100002", "text", "hi", "by", "a\nb"),
		"a message of two texts": form("to", "100002", "message", `{"text": "hi", "forward": {"seq": 1}}`),
	} {
		t.Run(name, func(t *testing.T) {
			if status, sent := post(bad); status != http.StatusBadRequest {
				t.Errorf("got %d %v", status, sent)
			}
		})
	}
	for name, refused := range map[string]struct {
		form url.Values
		want string
	}{
		"from somebody who is not": {url.Values{"from": {"5"}, "client_id": {"a"}, "to": {"100002"}, "text": {"hi"}}, "NOT_FOUND"},
		"with too long a name":     {url.Values{"from": {"100001"}, "client_id": {strings.Repeat("a", 64)}, "to": {"100002"}, "text": {"hi"}}, "INVALID_ARGUMENT"},
		"to notices":               {form("conversation", "n_100002", "text", "hi"), "PERMISSION_DENIED"},
		"to a room":                {form("conversation", "r_1", "text", "hi"), "PERMISSION_DENIED"},
		"control characters":       {form("to", "100002", "text", "\x07"), "INVALID_ARGUMENT"},
	} {
		t.Run(name, func(t *testing.T) {
			if status, sent := post(refused.form); status != http.StatusOK || len(sent) != 1 || !strings.Contains(sent[0], refused.want) {
				t.Errorf("got %d %v", status, sent)
			}
		})
	}
}

// A reaction is what one says: who is muted, or may not write, takes his own away at most.
func TestReactionsOfWhoMayNotWrite(t *testing.T) {
	c := &company{members: []im.UserID{alice, bob}, reach: map[im.UserID]plugin.Reach{bob: {}}}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), c}, Stubs: []plugintest.Stub{directory}})
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	m, err := sendTo(alices, "g_1", "m", "hi")
	if err != nil {
		t.Fatal(err)
	}
	react := func(name string, remove bool) error {
		return bobs.Call(idl.ActionReact, &chatpb.ReactRequest{ConversationId: "g_1", Seq: m.Seq, MessageId: m.MessageId, Reaction: name, Remove: remove}, nil)
	}
	if err := react("👍", false); err != nil {
		t.Fatal(err)
	}
	if sent := c.last(); sent.Kind != "reaction" {
		t.Errorf("the owner was asked about %+v", sent)
	}
	c.set(func() { c.members = []im.UserID{alice} }) // he reads still, and may not write
	wantRefusal(t, react("👎", false), idl.CodePermissionDenied, "conversation_id")
	if err := react("👍", true); err != nil {
		t.Errorf("his own stays: %v", err)
	}
}

// postMessages is a request of a program's of the operator's to send, and what is answered of each message.
func postMessages(t *testing.T, p *chat.Chat, form url.Values) (status int, sent []string) {
	t.Helper()
	for _, page := range p.Pages() {
		if page.Pattern != "POST /messages" {
			continue
		}
		req := httptest.NewRequest(http.MethodPost, "/messages", strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rec := httptest.NewRecorder()
		page.Handler.ServeHTTP(rec, req)
		var got struct {
			Sent []struct {
				To, Code, Reason string
				Seq              int64
				Duplicate        bool
			}
		}
		if rec.Code == http.StatusOK {
			if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
				t.Fatalf("%s: %v", rec.Body, err)
			}
		}
		for _, one := range got.Sent {
			sent = append(sent, fmt.Sprint(one.To, " ", one.Seq, " ", one.Duplicate, " ", one.Code, " ", one.Reason))
		}
		return rec.Code, sent
	}
	t.Fatal("there is no such page")
	return 0, nil
}

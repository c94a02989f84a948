package chat_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"freeim/core/dispatch"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// The people of these tests. Nobody else exists.
const (
	alice im.UserID = 100001
	bob   im.UserID = 100002
	carol im.UserID = 100003
)

type everybody struct{}

func (everybody) Absent(context.Context, im.UserID) (bool, error) { return false, nil }

func (everybody) MadeOf(_ context.Context, users []im.UserID) (map[im.UserID]time.Time, error) {
	made := map[im.UserID]time.Time{}
	for _, u := range users {
		made[u] = time.Time{}
	}
	return made, nil
}

func (everybody) Exists(_ context.Context, u im.UserID) (bool, error) {
	return u >= alice && u <= carol, nil
}

var directory = plugintest.Stub{Name: "account.directory", Service: everybody{}}

func start(t *testing.T, hooks dispatch.Hooks) *plugintest.Host {
	t.Helper()
	return plugintest.New(t, plugintest.Options{
		Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory}, Hooks: hooks})
}

func TestConformance(t *testing.T) {
	plugintest.Conform(t, func() plugin.Plugin { return chat.New() }, directory)
}

func wantRefusal(t *testing.T, err error, code idl.Code, field string) {
	t.Helper()
	refused, ok := errors.AsType[*im.Error](err)
	if !ok || refused.Code != code || refused.Field != field {
		t.Errorf("got %v, want %v of field %q", err, code, field)
	}
}

// send sends a text and gives the answer; it must be accepted.
func send(t *testing.T, from *plugintest.Session, to im.UserID, clientID, text string) *chatpb.SendReply {
	t.Helper()
	var rep chatpb.SendReply
	if err := from.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: clientID, ToUserId: int64(to), Text: text}, &rep); err != nil {
		t.Fatal(err)
	}
	return &rep
}

// entries decodes the messages that were pushed to a session.
func entries(t *testing.T, s *plugintest.Session) (out []*chatpb.InboxEntry) {
	t.Helper()
	for _, p := range s.Pushes() {
		if p.Action != idl.ActionMessage {
			continue
		}
		e := new(chatpb.InboxEntry)
		if err := p.Decode(e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestConfiguration(t *testing.T) {
	for name, change := range map[string]func(*chat.Config){
		"no text":        func(c *chat.Config) { c.MaxText = 0 },
		"endless text":   func(c *chat.Config) { c.MaxText = 1 << 20 },
		"no page":        func(c *chat.Config) { c.PageBytes = 0 },
		"page too large": func(c *chat.Config) { c.PageBytes = 1 << 30 },
		"none held":      func(c *chat.Config) { c.HeldOfOne = 0 },
		"all but one":    func(c *chat.Config) { c.HeldOfAll = c.HeldOfOne - 1 },
		"endless lines":  func(c *chat.Config) { c.HeldOfAll = 1 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			p := chat.New()
			change(p.Config().(*chat.Config))
			_, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{directory}})
			if im.CodeOf(err) != idl.CodeInvalidArgument {
				t.Errorf("got %v", err)
			}
		})
	}
}

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
)

// filer is a plugin that files events.
type filer struct {
	host     plugin.Host
	messages plugin.Messages
}

func (f *filer) Info() plugin.Info {
	return plugin.Info{Name: "filer", Needs: []string{plugin.ServiceMessages, plugin.ServicePeople}}
}

func (f *filer) Provision(_ context.Context, h plugin.Host) (err error) {
	f.host = h
	f.messages, err = plugin.Need[plugin.Messages](h, plugin.ServiceMessages)
	return err
}

func (f *filer) Register(*plugin.Registrar) {}

func newFiler(t *testing.T) (*filer, *plugintest.Messages) {
	f, messages := &filer{}, &plugintest.Messages{}
	stubs := append(plugintest.NewPeople(1, 2).Stubs(), messages.Stub())
	plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{f}, Stubs: stubs})
	return f, messages
}

// What is filed in a transaction that was undone never was.
func TestMessagesKeepsWhatIsCommitted(t *testing.T) {
	f, messages := newFiler(t)
	undone := errors.New("undone")
	for i, row := range []struct {
		name string
		end  error
	}{{"filer.first", nil}, {"filer.second", undone}, {"filer.third", nil}} {
		err := f.host.Tx(t.Context(), func(tx *stdsql.Tx) error {
			if err := f.messages.File(t.Context(), tx, plugin.Event{Users: []im.UserID{1, 2}, Actor: im.UserID(i), Name: row.name, Data: `{"a":1}`}); err != nil {
				return err
			}
			return row.end
		})
		if !errors.Is(err, row.end) {
			t.Fatal(err)
		}
	}
	want := []plugin.Event{{Users: []im.UserID{1, 2}, Actor: 0, Name: "filer.first", Data: `{"a":1}`}, {Users: []im.UserID{1, 2}, Actor: 2, Name: "filer.third", Data: `{"a":1}`}}
	if got := messages.Filed(t); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := messages.Filed(t); len(got) != 0 {
		t.Errorf("got %+v a second time", got)
	}
}

func TestMessagesPosts(t *testing.T) {
	f, messages := newFiler(t)
	p := plugin.Post{Conversation: "g_1", Actor: 1, ClientID: "~1", Name: "filer.posted", Audience: []im.UserID{1, 2}}
	first, err := f.messages.Post(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.messages.Post(t.Context(), p)
	if err != nil || again.ID != first.ID || !again.Duplicate {
		t.Errorf("got %+v and %v, first %+v", again, err, first)
	}
	if got := messages.Posts(); len(got) != 1 || !reflect.DeepEqual(got[0], p) {
		t.Errorf("got %+v", got)
	}
	page, err := f.host.Timelines().Inbox(t.Context(), 2, 0, 10)
	if err != nil || len(page.Items) != 1 || page.Items[0].ID != first.ID {
		t.Errorf("got %+v and %v", page, err)
	}
}

func TestMessagesAsksOwnersAndGuards(t *testing.T) {
	f, messages := newFiler(t)
	refused := errors.New("refused")
	f.messages.Own(im.Group, owner{})
	f.messages.Guard(guard{refused})
	if messages.Owner(im.Group) == nil || messages.Owner(im.Room) != nil {
		t.Error("owners are not those that were given")
	}
	if err := messages.Chat(t.Context(), 1, 2); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
}

type owner struct{}

func (owner) Send(context.Context, im.ConversationID, im.UserID, plugin.Outgoing) (plugin.Audience, error) {
	return plugin.Audience{}, nil
}

func (owner) Read(context.Context, im.ConversationID, im.UserID) (plugin.Reach, error) {
	return plugin.Reach{}, nil
}

type guard struct{ err error }

func (g guard) Chat(context.Context, im.UserID, im.UserID) error { return g.err }

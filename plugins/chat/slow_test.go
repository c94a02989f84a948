package chat_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"freeim/core/dispatch"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
	"freeim/plugins/chat"
)

// freezing is the host of a core whose databases become slower and slower: each
// call stays below its own limit until the last, which takes what time there is.
type freezing struct {
	plugin.Host
	timelines freezingStore
	directory *sql.DB // set by ask
}

type freezingStore struct {
	timeline.Store
	corrupt bool // instead: what is stored cannot be read
}

func (f freezing) Timelines() timeline.Store                       { return f.timelines }
func (f freezing) DB() *sql.DB                                     { return f.directory }
func (f freezing) Service(name string) (any, bool)                 { return f, name == "account.directory" }
func (freezing) Provide(string, any)                               {}
func (freezing) Limiter(string, int, time.Duration) plugin.Limiter { return nil }
func (freezing) Dialect() string                                   { return "mysql" }
func (freezing) Go(_ string, run func(context.Context))            { go run(context.Background()) }

// empty is a directory in which nothing waits.
type empty struct{}

func (e empty) Connect(context.Context) (driver.Conn, error) { return e, nil }
func (empty) Driver() driver.Driver                          { return nil }
func (empty) Prepare(string) (driver.Stmt, error)            { return nil, errors.ErrUnsupported }
func (empty) Begin() (driver.Tx, error)                      { return nil, errors.ErrUnsupported }
func (empty) Close() error                                   { return nil }

func (empty) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return empty{}, nil
}

func (empty) Columns() []string         { return nil }
func (empty) Next([]driver.Value) error { return io.EOF }

func (f freezingStore) Find(context.Context, im.UserID, string) (c timeline.Committed, _ [32]byte, found bool, err error) {
	if f.corrupt {
		return c, [32]byte{}, false, timeline.ErrCorrupt
	}
	time.Sleep(4900 * time.Millisecond)
	return c, [32]byte{}, false, nil
}

func (freezing) MadeOf(context.Context, []im.UserID) (map[im.UserID]time.Time, error) {
	return nil, nil
}

func (freezing) Absent(context.Context, im.UserID) (bool, error) { return false, nil }

func (freezing) Exists(context.Context, im.UserID) (bool, error) {
	time.Sleep(4900 * time.Millisecond)
	return true, nil
}

func (f freezingStore) Append(ctx context.Context, _ timeline.Draft) (timeline.Committed, error) {
	<-ctx.Done()
	return timeline.Committed{}, ctx.Err()
}

func (f freezingStore) Log(context.Context, im.ConversationID, int64, int) (p timeline.Page[im.Message], err error) {
	return timeline.Page[im.Message]{Head: 1, Items: []im.Message{{Seq: 1, Body: []byte("\xff")}}}, nil
}

func (f freezingStore) LogBefore(context.Context, im.ConversationID, int64, int) (p timeline.Page[im.Message], err error) {
	return p, nil
}

// ask has alice make one call of the chat plugin over f.
func ask(t *testing.T, ctx context.Context, f freezing, action idl.Action, req idl.Message) *wirepb.Error {
	t.Helper()
	p, r := chat.New(), plugin.NewRegistrar("chat")
	f.directory = sql.OpenDB(empty{})
	defer f.directory.Close()
	if err := p.Provision(ctx, f); err != nil {
		t.Fatal(err)
	}
	p.Register(r)
	d, err := dispatch.New(dispatch.Options{Specs: r.Specs()})
	if err != nil {
		t.Fatal(err)
	}
	body, err := idl.Append(nil, idl.CodecProtobuf, req)
	if err != nil {
		t.Fatal(err)
	}
	rep, refusal := d.Do(ctx, &plugin.Call{Action: action, Codec: idl.CodecProtobuf, User: alice}, body), new(wirepb.Error)
	if err := idl.Decode(rep.Body, idl.CodecProtobuf, refusal); err != nil || rep.Action != idl.ActionError {
		t.Fatalf("got %+v, %v, want a refusal", rep, err)
	}
	return refusal
}

// A send into a database that freezes says when to try again, also when no store
// took longer than it may and the action's time ended all the same.
func TestSendWhileTheStoresFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		req := &chatpb.SendRequest{ClientId: "m1", ToUserId: int64(bob), Text: "hi"}
		e := ask(t, t.Context(), freezing{}, idl.ActionMessage, req)
		if e.Code != idl.CodeUnavailable || e.RetryAfterMs <= 0 {
			t.Errorf("got %+v, want UNAVAILABLE with a time", e)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("the edge is gone"))
		if e := ask(t, ctx, freezing{}, idl.ActionMessage, req); e.Code != idl.CodeDeadlineExceeded {
			t.Errorf("a caller that is gone: got %+v, want DEADLINE_EXCEEDED", e)
		}
	})
}

// What is stored and cannot be read is not mended by trying again.
func TestUnreadableIsInternal(t *testing.T) {
	f := freezing{timelines: freezingStore{corrupt: true}}
	for name, e := range map[string]*wirepb.Error{
		"a value": ask(t, t.Context(), f, idl.ActionMessage, &chatpb.SendRequest{ClientId: "m1", ToUserId: int64(bob), Text: "hi"}),
		"a body":  ask(t, t.Context(), f, idl.ActionHistory, &chatpb.HistoryRequest{WithUserId: int64(bob), AfterSeq: 1}),
	} {
		if e.Code != idl.CodeInternal || e.Message != "internal error" {
			t.Errorf("%s: got %+v, want INTERNAL", name, e)
		}
	}
}

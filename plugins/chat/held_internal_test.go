package chat

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// slowDirectory is one that takes its time, and holds no line.
type slowDirectory struct {
	delay time.Duration
	asked atomic.Int64
}

func (d *slowDirectory) Connect(context.Context) (driver.Conn, error) { return d, nil }
func (d *slowDirectory) Driver() driver.Driver                        { return nil }
func (d *slowDirectory) Prepare(string) (driver.Stmt, error)          { return nil, errors.ErrUnsupported }
func (d *slowDirectory) Begin() (driver.Tx, error)                    { return nil, errors.ErrUnsupported }
func (d *slowDirectory) Close() error                                 { return nil }

func (d *slowDirectory) QueryContext(ctx context.Context, _ string, _ []driver.NamedValue) (driver.Rows, error) {
	d.asked.Add(1)
	select {
	case <-time.After(d.delay):
		return noRows{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type noRows struct{}

func (noRows) Columns() []string         { return make([]string, 5) }
func (noRows) Close() error              { return nil }
func (noRows) Next([]driver.Value) error { return io.EOF }

// While nobody holds anything a slow directory is asked twice by all sends that come at
// once, also when an answer takes longer than it is good for.
func TestSlowDirectoryStopsNoSends(t *testing.T) {
	for _, delay := range []time.Duration{trusted - 100*time.Millisecond, trusted + 100*time.Millisecond, 3 * trusted} {
		synctest.Test(t, func(t *testing.T) {
			d := &slowDirectory{delay: delay}
			db := sql.OpenDB(d)
			defer db.Close()
			l := newLines(&heldStore{db: db}, true)
			began := time.Now()
			var sends sync.WaitGroup
			for i := range 40 {
				sends.Go(func() {
					if may, err := l.may(t.Context(), line{im.UserID(i + 1), "c_1_2"}); may || err != nil {
						t.Errorf("got %v, %v", may, err)
					}
				})
			}
			sends.Wait()
			if took := time.Since(began); took > 2*delay || d.asked.Load() > 2 {
				t.Errorf("a directory of %v: 40 sends took %v, with %d queries", delay, took, d.asked.Load())
			}
		})
	}
}

// stalled is a timeline store whose first commit waits.
type stalled struct {
	timeline.Store
	under, goOn chan struct{} // a commit is under way; it may go on
}

func (s *stalled) Append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	select {
	case s.under <- struct{}{}:
		<-s.goOn
	default:
	}
	return s.Store.Append(ctx, d)
}

type everybody struct{}

func (everybody) Absent(context.Context, im.UserID) (bool, error) { return false, nil }

func (everybody) MadeOf(_ context.Context, users []im.UserID) (map[im.UserID]time.Time, error) {
	made := map[im.UserID]time.Time{}
	for _, u := range users {
		made[u] = time.Time{}
	}
	return made, nil
}
func (everybody) Exists(context.Context, im.UserID) (bool, error) { return true, nil }

// A send is still being committed when its resend comes, which the rules hold. It can be
// denied no more.
func TestHeldWhileItIsCommitted(t *testing.T) {
	p := New()
	s := &stalled{plugintest.New(t, plugintest.Options{}).Timelines(), make(chan struct{}, 1), make(chan struct{})}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Timelines: s, Stubs: []plugintest.Stub{{Name: "account.directory", Service: everybody{}}},
		Scripts: map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c)
  if not im.rate("r", 1, "1h") then return im.hold("newcomers", {deadline = "24h"}) end
end, {name = "hold", on_error = "closed"})`}})
	old, phone, bob := h.As(1, "phone", idl.CodecProtobuf), h.As(1, "phone", idl.CodecProtobuf), h.As(2, "tab", idl.CodecProtobuf)
	req := &chatpb.SendRequest{ClientId: "m1", ToUserId: 2, Text: "buy"}
	first := make(chan error, 1)
	go func() { first <- old.Call(idl.ActionMessage, req, nil) }()
	<-s.under
	s.under <- struct{}{} // no other commit waits
	var rep chatpb.SendReply
	if err := phone.Call(idl.ActionMessage, req, &rep); err != nil || rep.HeldId == "" {
		t.Fatalf("got %v, %v, want it held", &rep, err)
	}
	close(s.goOn)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	form := url.Values{"verdict": {"deny"}, "reason": {"spam"}, "id": {rep.HeldId}}
	p.decideHeld(w, httptest.NewRequest(http.MethodPost, "/held?"+form.Encode(), nil))
	var shown chatpb.SyncReply
	if err := bob.Call(idl.ActionSync, &chatpb.SyncRequest{}, &shown); err != nil || len(shown.Entries) != 1 {
		t.Errorf("bob has %v, %v", shown.Entries, err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		rep = chatpb.SendReply{}
		if err := phone.Call(idl.ActionMessage, req, &rep); err != nil {
			t.Fatalf("denied, though it is committed: %v", err)
		}
		if rep.HeldId == "" && rep.Seq == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it waits on: %v", &rep)
		}
	}
}

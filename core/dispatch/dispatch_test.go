package dispatch_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"freeim/core/dispatch"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

type handler = func(context.Context, *plugin.Call, *chatpb.SendRequest) (*chatpb.SendReply, error)
type option = plugin.Option[chatpb.SendRequest, chatpb.SendReply]

func spec(fn handler, options ...option) []plugin.Spec {
	r := plugin.NewRegistrar("test")
	plugin.Handle(r, idl.ActionMessage, "send", fn, options...)
	return r.Specs()
}

func echo(_ context.Context, _ *plugin.Call, req *chatpb.SendRequest) (*chatpb.SendReply, error) {
	return &chatpb.SendReply{Text: req.Text}, nil
}

// hooks judge messages.
type hooks func(m plugin.Reviewed) error

func (h hooks) Wants(_ *plugin.Call, message bool) bool                           { return message }
func (h hooks) Review(_ context.Context, _ *plugin.Call, m plugin.Reviewed) error { return h(m) }

func (hooks) Bundle(*plugin.Call) string    { return "bundle" }
func (hooks) Answered(*plugin.Call, string) {}

// everywhere are hooks on every action.
type everywhere struct{ hooks }

func (everywhere) Wants(*plugin.Call, bool) bool { return true }

func encoded(t *testing.T, c idl.Codec, m idl.Message) []byte {
	t.Helper()
	b, err := idl.Append(nil, c, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDo(t *testing.T) {
	text := plugin.Message[chatpb.SendRequest, chatpb.SendReply](
		func(_ *plugin.Call, req *chatpb.SendRequest) plugin.Reviewed {
			return plugin.Reviewed{Text: &req.Text}
		})
	fails := func(err error) handler {
		return func(context.Context, *plugin.Call, *chatpb.SendRequest) (*chatpb.SendReply, error) { return nil, err }
	}
	rows := []struct {
		name    string
		fn      handler
		options []option
		hooks   dispatch.Hooks
		action  idl.Action
		user    im.UserID
		text    string
		raw     []byte // instead of a body with text
		want    string // the answer's text
		code    idl.Code
		field   string
	}{
		{name: "handled", fn: echo, user: 1, text: "hi", want: "hi"},
		{name: "unknown action", fn: echo, action: 77, user: 1, code: idl.CodeUnknownAction},
		{name: "action beyond the table", fn: echo, action: 999, user: 1, code: idl.CodeUnknownAction},
		{name: "negative action", fn: echo, action: -1, user: 1, code: idl.CodeUnknownAction},
		{name: "before Auth", fn: echo, text: "hi", code: idl.CodeUnauthenticated},
		{name: "open before Auth", fn: echo, options: []option{plugin.Open[chatpb.SendRequest, chatpb.SendReply]()}, text: "hi", want: "hi"},
		{name: "body over the limit", fn: echo, options: []option{plugin.MaxBody[chatpb.SendRequest, chatpb.SendReply](4)}, user: 1, text: "too long", code: idl.CodeTooLarge},
		{name: "body that is no protobuf", fn: echo, user: 1, raw: []byte{0xff, 0xff}, code: idl.CodeMalformedBody},
		{name: "refused by the handler", fn: fails(im.Invalid("text", "bad")), user: 1, code: idl.CodeInvalidArgument, field: "text"},
		{name: "wrapped refusal", fn: fails(errors.Join(errors.New("x"), im.Errorf(idl.CodeNotFound, "none"))), user: 1, code: idl.CodeNotFound},
		{name: "fault without a code", fn: fails(errors.New("disk on fire")), user: 1, code: idl.CodeInternal},
		{name: "deadline", fn: fails(context.DeadlineExceeded), user: 1, code: idl.CodeDeadlineExceeded},
		{name: "panic", fn: func(context.Context, *plugin.Call, *chatpb.SendRequest) (*chatpb.SendReply, error) {
			panic("no")
		}, user: 1, code: idl.CodeInternal},
		{name: "rewritten by a rule", fn: echo, options: []option{text}, user: 1, text: "bad", want: "***",
			hooks: hooks(func(m plugin.Reviewed) error { *m.Text = "***"; return nil })},
		{name: "refused by a rule", fn: echo, options: []option{text}, user: 1, text: "bad", code: idl.CodeRejected,
			hooks: hooks(func(plugin.Reviewed) error { return im.Errorf(idl.CodeRejected, "no") })},
		{name: "refused by a rule for every action", fn: echo, user: 1, text: "bad", code: idl.CodeRejected,
			hooks: everywhere{hooks(func(m plugin.Reviewed) error {
				if m.Text != nil {
					return im.Errorf(idl.CodeInternal, "got %+v", m)
				}
				return im.Errorf(idl.CodeRejected, "no")
			})}},
		{name: "rules for messages do not see what is none", fn: echo, user: 1, text: "bad", want: "bad",
			hooks: hooks(func(plugin.Reviewed) error { return im.Errorf(idl.CodeRejected, "no") })},
	}
	for _, row := range rows {
		for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
			t.Run(row.name+"/"+codec.String(), func(t *testing.T) {
				d, err := dispatch.New(dispatch.Options{Specs: spec(row.fn, row.options...), Hooks: row.hooks, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				body := row.raw
				if body == nil {
					body = encoded(t, codec, &chatpb.SendRequest{Text: row.text})
				}
				call := &plugin.Call{Action: idl.ActionMessage, Codec: codec, User: row.user}
				if row.action != 0 {
					call.Action = row.action
				}
				check(t, d.Do(t.Context(), call, body), codec, row.want, row.code, row.field)
			})
		}
	}
}

// check holds a reply against the text or the refusal that is wanted.
func check(t *testing.T, got dispatch.Reply, codec idl.Codec, want string, code idl.Code, field string) {
	t.Helper()
	if code == idl.CodeUnknown {
		var rep chatpb.SendReply
		if err := idl.Decode(got.Body, codec, &rep); err != nil || got.Action != idl.ActionMessage || rep.Text != want {
			t.Errorf("got action %v, text %q, %v; want %q", got.Action, rep.Text, err, want)
		}
		return
	}
	var refusal wirepb.Error
	if err := idl.Decode(got.Body, codec, &refusal); err != nil {
		t.Fatal(err)
	}
	if got.Action != idl.ActionError || refusal.Code != code || refusal.Field != field {
		t.Errorf("got action %v, refusal %+v; want %v, field %q", got.Action, &refusal, code, field)
	}
	if strings.Contains(refusal.Message, "fire") {
		t.Errorf("the refusal tells an internal fault: %q", refusal.Message)
	}
}

// A request that was answered before gets that answer, whatever the rules say now.
func TestAnsweredComesBeforeTheRules(t *testing.T) {
	answered := plugin.Answered(func(context.Context, *plugin.Call, *chatpb.SendRequest) (*chatpb.SendReply, error) {
		return &chatpb.SendReply{Text: "as before"}, nil
	})
	text := plugin.Message[chatpb.SendRequest, chatpb.SendReply](
		func(_ *plugin.Call, req *chatpb.SendRequest) plugin.Reviewed { return plugin.Reviewed{Text: &req.Text} })
	refuse := hooks(func(plugin.Reviewed) error { return im.Errorf(idl.CodeRejected, "no") })
	d, err := dispatch.New(dispatch.Options{Specs: spec(echo, answered, text), Hooks: refuse})
	if err != nil {
		t.Fatal(err)
	}
	got := d.Do(t.Context(), &plugin.Call{Action: idl.ActionMessage, User: 1}, nil)
	check(t, got, idl.CodecJSON, "as before", 0, "")
}

func TestDeadlineReachesTheHandler(t *testing.T) {
	waits := func(ctx context.Context, _ *plugin.Call, _ *chatpb.SendRequest) (*chatpb.SendReply, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	d, err := dispatch.New(dispatch.Options{Specs: spec(waits), Timeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	got := d.Do(t.Context(), &plugin.Call{Action: idl.ActionMessage, User: 1}, nil)
	check(t, got, idl.CodecJSON, "", idl.CodeDeadlineExceeded, "")
}

// Whoever is told "not now" is told when, and nobody to come back in no time.
func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want int64
	}{
		{"as the handler says", im.Unavailable(2*time.Second, nil), 2000},
		{"unavailable without advice", im.Unavailable(0, errors.New("a value that cannot be read")), 1000},
		{"less than a millisecond", &im.Error{Code: idl.CodeRateLimited, RetryAfter: time.Microsecond}, 1},
		{"a refusal for good", im.Errorf(idl.CodeNotFound, "none"), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := dispatch.New(dispatch.Options{Log: slog.New(slog.DiscardHandler), Specs: spec(
				func(context.Context, *plugin.Call, *chatpb.SendRequest) (*chatpb.SendReply, error) {
					return nil, test.err
				})})
			if err != nil {
				t.Fatal(err)
			}
			var refusal wirepb.Error
			got := d.Do(t.Context(), &plugin.Call{Action: idl.ActionMessage, Codec: idl.CodecProtobuf, User: 1}, nil)
			if err := refusal.Unmarshal(got.Body); err != nil || refusal.RetryAfterMs != test.want {
				t.Errorf("got %+v, %v, want retry_after_ms %d", &refusal, err, test.want)
			}
		})
	}
}

func TestBindIsPartOfTheReply(t *testing.T) {
	binds := func(_ context.Context, call *plugin.Call, _ *chatpb.SendRequest) (*chatpb.SendReply, error) {
		call.Bind(plugin.Identity{User: 7})
		return &chatpb.SendReply{}, nil
	}
	d, err := dispatch.New(dispatch.Options{Specs: spec(binds)})
	if err != nil {
		t.Fatal(err)
	}
	got := d.Do(t.Context(), &plugin.Call{Action: idl.ActionMessage, User: 1}, nil)
	if got.Bound == nil || got.Bound.User != 7 {
		t.Errorf("got %+v, want user 7", got.Bound)
	}
}

func TestNewRefusesClashes(t *testing.T) {
	one := spec(echo)
	renumbered := spec(echo)
	renumbered[0].Action = 99
	edges := spec(echo)
	edges[0].Action = idl.ActionHeartbeat
	for name, specs := range map[string][]plugin.Spec{
		"number used twice":    append(spec(echo), one...),
		"name used twice":      append(spec(echo), renumbered...),
		"number of the edge's": edges,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := dispatch.New(dispatch.Options{Specs: specs}); err == nil {
				t.Error("got no error")
			}
		})
	}
}

func TestAnswersAreCounted(t *testing.T) {
	figures := prometheus.NewRegistry()
	d, err := dispatch.New(dispatch.Options{Specs: spec(echo), Figures: figures})
	if err != nil {
		t.Fatal(err)
	}
	d.Do(t.Context(), &plugin.Call{Action: idl.ActionMessage, User: 1}, nil)
	d.Do(t.Context(), &plugin.Call{Action: idl.ActionMessage}, nil)
	want := `
		# HELP freeim_actions_total Actions handled, by name and the code of the answer.
		# TYPE freeim_actions_total counter
		freeim_actions_total{action="test.send",code="CODE_UNAUTHENTICATED"} 1
		freeim_actions_total{action="test.send",code="OK"} 1
	`
	if err := testutil.GatherAndCompare(figures, strings.NewReader(want), "freeim_actions_total"); err != nil {
		t.Error(err)
	}
}

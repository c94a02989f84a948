package plugin_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

type (
	findRequest = accountpb.FindUserRequest
	findReply   = accountpb.FindUserReply
)

// TestWayOfARequest registers an action with every option and has each station
// in turn end the request: those behind it must not see it.
func TestWayOfARequest(t *testing.T) {
	for _, test := range []struct {
		name  string
		ends  string   // the station that ends the request
		want  []string // the stations that saw it
		reply string   // the account in the reply; "": a refusal
	}{
		{"to the end", "", []string{"validate", "answered", "permit", "review rewritten", "handler rewritten"}, "rewritten"},
		{"invalid", "validate", []string{"validate"}, ""},
		{"answered before", "answered", []string{"validate", "answered"}, "as before"},
		{"not permitted", "permit", []string{"validate", "answered", "permit"}, ""},
		{"denied", "review", []string{"validate", "answered", "permit", "review rewritten"}, ""},
		{"refused", "handler", []string{"validate", "answered", "permit", "review rewritten", "handler rewritten"}, ""},
	} {
		for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
			t.Run(test.name+" in "+codec.String(), func(t *testing.T) {
				var saw []string
				see := func(station, what string) error {
					saw = append(saw, strings.TrimSpace(station+" "+what))
					if station == test.ends {
						return errPlanted
					}
					return nil
				}
				spec := wayStations(see)
				got, err := invoke(t, spec, codec, rewriter(see))
				if !slices.Equal(saw, test.want) {
					t.Errorf("seen by %q, want %q", saw, test.want)
				}
				if got != test.reply || (test.reply == "") != errors.Is(err, errPlanted) {
					t.Errorf("got %q and %v, want %q", got, err, test.reply)
				}
			})
		}
	}
}

// wayStations is an action whose every station calls see.
func wayStations(see func(station, what string) error) plugin.Spec {
	r := plugin.NewRegistrar("people")
	plugin.Handle(r, idl.ActionFindUser, "find",
		func(_ context.Context, _ *plugin.Call, req *findRequest) (*findReply, error) {
			return &findReply{Account: req.Account}, see("handler", req.Account)
		},
		plugin.Validate[findRequest, findReply](func(*plugin.Call, *findRequest) error { return see("validate", "") }),
		plugin.Answered(func(context.Context, *plugin.Call, *findRequest) (*findReply, error) {
			if see("answered", "") != nil {
				return &findReply{Account: "as before"}, nil
			}
			return nil, nil
		}),
		plugin.Permit[findRequest, findReply](func(context.Context, *plugin.Call, *findRequest) error { return see("permit", "") }),
		plugin.Message[findRequest, findReply](func(_ *plugin.Call, req *findRequest) plugin.Reviewed {
			return plugin.Reviewed{Kind: "text", Text: &req.Account}
		}))
	return r.Specs()[0]
}

// rewriter is rules that rewrite every message.
type rewriter func(station, what string) error

func (r rewriter) Wants(_ *plugin.Call, message bool) bool { return message }

func (r rewriter) Review(_ context.Context, call *plugin.Call, m plugin.Reviewed) error {
	*m.Text = "rewritten"
	return r("review", call.Request.(*findRequest).Account)
}

func invoke(t *testing.T, spec plugin.Spec, codec idl.Codec, rules plugin.Rules) (string, error) {
	t.Helper()
	body, err := idl.Append(nil, codec, &findRequest{Account: "original"})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := spec.Invoke(t.Context(), &plugin.Call{Codec: codec}, body, rules, []byte("before"))
	if err != nil {
		return "", err
	}
	var rep findReply
	rest, ok := strings.CutPrefix(string(answer), "before")
	if !ok {
		t.Errorf("the reply is not appended: %q", answer)
	}
	if err := idl.Decode([]byte(rest), codec, &rep); err != nil {
		t.Fatal(err)
	}
	return rep.Account, nil
}

func TestOptionsReachTheSpec(t *testing.T) {
	r := plugin.NewRegistrar("people")
	nothing := func(context.Context, *plugin.Call, *findRequest) (*findReply, error) { return &findReply{}, nil }
	plugin.Handle(r, 150, "plain", nothing)
	plugin.Handle(r, 151, "special", nothing, plugin.Open[findRequest, findReply](), plugin.MaxBody[findRequest, findReply](7), plugin.Timeout[findRequest, findReply](9), plugin.InRooms[findRequest, findReply](),
		plugin.Rewrite[findRequest, findReply]("account", 3))
	plain, special := r.Specs()[0], r.Specs()[1]
	if plain.Name != "people.plain" || plain.Action != 150 || plain.Open || plain.MaxBody != 0 || plain.Timeout != 0 || plain.Rooms || plain.Message || plain.Rewritable != nil {
		t.Errorf("got %+v", plain)
	}
	if special.Name != "people.special" || special.Action != 151 || !special.Open || special.MaxBody != 7 || special.Timeout != 9 || !special.Rooms || !slices.Equal(special.Rewritable, []plugin.Rewritable{{Name: "account", Max: 3}}) {
		t.Errorf("got %+v", special)
	}
	for _, again := range []struct {
		number idl.Action
		verb   string
	}{{150, "other"}, {152, "plain"}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d %s is registered twice without complaint", again.number, again.verb)
				}
			}()
			plugin.Handle(r, again.number, again.verb, nothing)
		}()
	}
}

func TestBodiesThatCannotBeRead(t *testing.T) {
	spec := wayStations(func(station, _ string) error {
		t.Errorf("%s sees a body that cannot be read", station)
		return nil
	})
	for _, test := range []struct {
		name  string
		codec idl.Codec
		body  string
		field string
	}{
		{"no JSON", idl.CodecJSON, "{", ""},
		{"a wrong type", idl.CodecJSON, `{"user_id":"x"}`, "user_id"},
		{"a text", idl.CodecJSON, `"x"`, ""},
		{"a list", idl.CodecJSON, `[1]`, ""},
		{"a number", idl.CodecJSON, `5`, ""},
		{"a number too large", idl.CodecJSON, `{"user_id":9007199254740993}`, "user_id"},
		{"no protobuf", idl.CodecProtobuf, "\x0a\xff", ""},
		{"no UTF-8", idl.CodecProtobuf, "\x0a\x01\xff", "account"},
		{"no codec", 9, "x", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := spec.Invoke(t.Context(), &plugin.Call{Codec: test.codec}, []byte(test.body), nil, nil)
			refused, ok := errors.AsType[*im.Error](err)
			if !ok || refused.Code != idl.CodeMalformedBody || refused.Field != test.field {
				t.Errorf("got %v, want MALFORMED_BODY with field %q", err, test.field)
			}
		})
	}
}

func TestNeed(t *testing.T) {
	h := hosts()(plugin.Info{Name: "one"})
	h.Provide("number", 7)
	if n, err := plugin.Need[int](h, "number"); err != nil || n != 7 {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := plugin.Need[string](h, "number"); err == nil || !strings.Contains(err.Error(), "int") {
		t.Errorf("another type: got %v, want an error that names the one that is there", err)
	}
	if _, err := plugin.Need[int](h, "letter"); err == nil || !strings.Contains(err.Error(), "letter") {
		t.Errorf("a service that is not there: got %v", err)
	}
}

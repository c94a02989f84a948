package dispatch_test

import (
	"context"
	"testing"

	"freeim/core/dispatch"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/wirepb"
)

// tokens knows one token, and lets nobody with the device "banned" arrive.
type tokens struct {
	device  im.DeviceID
	arrived int
}

func (k *tokens) Identify(_ context.Context, token string) (plugin.Identity, error) {
	if token != "good" {
		return plugin.Identity{}, im.Errorf(idl.CodeUnauthenticated, "no such token")
	}
	return plugin.Identity{User: 7, Device: k.device, TokenID: 3}, nil
}

func (k *tokens) Arrive(_ context.Context, _ *plugin.Call, who plugin.Identity) error {
	k.arrived++
	if who.Device == "banned" {
		return im.Errorf(idl.CodeRejected, "go away")
	}
	return nil
}

// A call without a session has its token's identity, which its handler sees, and not the
// token; what needs a session is refused; and Auth only asks whose a token is.
func TestCallsAlone(t *testing.T) {
	var seen *plugin.Call
	who := func(_ context.Context, call *plugin.Call, _ *accountpb.FindUserRequest) (*accountpb.FindUserReply, error) {
		seen = call
		return &accountpb.FindUserReply{}, nil
	}
	r := plugin.NewRegistrar("t")
	plugin.Handle(r, idl.ActionFindUser, "who", who)
	plugin.Handle(r, idl.ActionSignUp, "open", who, plugin.Open[accountpb.FindUserRequest, accountpb.FindUserReply]())
	plugin.Handle(r, idl.ActionAuth, "auth", who, plugin.Open[accountpb.FindUserRequest, accountpb.FindUserReply](),
		plugin.NeedsSession[accountpb.FindUserRequest, accountpb.FindUserReply]())
	for name, row := range map[string]struct {
		call    plugin.Call
		device  im.DeviceID
		none    bool // no plugin knows tokens
		refused idl.Code
		user    im.UserID // of the call in the end
		handled bool
		arrived int
	}{
		"a good token":                {call: plugin.Call{Action: idl.ActionFindUser, Alone: true, Bearer: "good"}, user: 7, handled: true},
		"a bad one":                   {call: plugin.Call{Action: idl.ActionFindUser, Alone: true, Bearer: "bad"}, refused: idl.CodeUnauthenticated},
		"none":                        {call: plugin.Call{Action: idl.ActionFindUser, Alone: true}, refused: idl.CodeUnauthenticated},
		"open, without":               {call: plugin.Call{Action: idl.ActionSignUp, Alone: true}, handled: true},
		"open, with":                  {call: plugin.Call{Action: idl.ActionSignUp, Alone: true, Bearer: "good"}, user: 7, handled: true},
		"open, with a bad one":        {call: plugin.Call{Action: idl.ActionSignUp, Alone: true, Bearer: "bad"}, refused: idl.CodeUnauthenticated},
		"a session's":                 {call: plugin.Call{Action: idl.ActionFindUser, Bearer: "good"}, refused: idl.CodeUnauthenticated},
		"nobody knows tokens":         {call: plugin.Call{Action: idl.ActionFindUser, Alone: true, Bearer: "good"}, none: true, refused: idl.CodeUnauthenticated},
		"needs a session":             {call: plugin.Call{Action: idl.ActionAuth, Alone: true}, refused: idl.CodeUnknownAction},
		"whose a token is":            {call: plugin.Call{Action: idl.ActionAuth, Alone: true, Bearer: "good"}, user: 7, arrived: 1},
		"whose is who is turned away": {call: plugin.Call{Action: idl.ActionAuth, Alone: true, Bearer: "good"}, device: "banned", refused: idl.CodeRejected, arrived: 1},
	} {
		t.Run(name, func(t *testing.T) {
			k := &tokens{device: row.device}
			o := dispatch.Options{Specs: r.Specs(), Tokens: k}
			if row.none {
				o.Tokens = nil
			}
			d, err := dispatch.New(o)
			if err != nil {
				t.Fatal(err)
			}
			seen = nil
			reply := d.Do(t.Context(), &row.call, nil)
			var no wirepb.Error
			if reply.Action == idl.ActionError {
				if err := idl.Decode(reply.Body, row.call.Codec, &no); err != nil {
					t.Fatal(err)
				}
			}
			if no.Code != row.refused || row.call.User != row.user || (seen != nil) != row.handled || k.arrived != row.arrived {
				t.Errorf("got %v, user %d, handled %v, arrived %d", no.Code, row.call.User, seen != nil, k.arrived)
			}
			if seen != nil && seen.Bearer != "" {
				t.Error("the handler sees the token")
			}
		})
	}
}

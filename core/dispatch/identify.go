package dispatch

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
)

// asksWho reports whether the call asks whose its token is, and nothing else.
func asksWho(call *plugin.Call) bool {
	return call.Alone && call.Bearer != "" && call.Action == idl.ActionAuth
}

// identify makes the call its token's. only says that this was all that was asked.
func (d *Dispatcher) identify(ctx context.Context, call *plugin.Call) (only bool, err error) {
	token := call.Bearer
	only = asksWho(call)
	call.Bearer = "" // nobody else is to see it
	if d.tokens == nil || !call.Alone {
		return only, im.Errorf(idl.CodeUnauthenticated, "no tokens are known here")
	}
	who, err := d.tokens.Identify(ctx, token)
	if err != nil {
		return only, err
	}
	if only {
		if err := d.tokens.Arrive(ctx, call, who); err != nil {
			return only, err
		}
	}
	call.User, call.Device, call.DeviceType, call.TokenID = who.User, who.Device, who.DeviceType, who.TokenID
	return only, nil
}

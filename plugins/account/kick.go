package account

import (
	"context"
	"errors"
	"slices"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
)

// kickTime bounds the search for the sessions of devices that were ended.
const kickTime = 5 * time.Second

// displaces is the kick policy: whether signing in on fresh ends old. One device
// of each type, the newer wins. The unique index account_devices_type holds two
// racing sign-ins to it.
func displaces(fresh, old device) bool {
	return old.id == fresh.id || old.deviceType == fresh.deviceType
}

// cut ends the live sessions that rest on sign-ins which are no more. It is
// called after the commit that ended them, and so it does not stop when the
// call's context does. The calling session itself goes last, after its reply.
func (p *Account) cut(ctx context.Context, call *plugin.Call, u im.UserID, ended []device, reason idl.CloseReason, message string) {
	if len(ended) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), kickTime)
	defer cancel()
	routes, err := p.routesOf(ctx, u)
	if err != nil {
		p.host.Log().Error("sessions of ended devices stay until they reconnect", "user", u, "err", err)
		return
	}
	routes = slices.DeleteFunc(routes, func(r presence.Route) bool {
		return !slices.ContainsFunc(ended, func(d device) bool { return d.signIn == r.TokenID })
	})
	own := slices.IndexFunc(routes, func(r presence.Route) bool { return r.SessionRef == call.Session })
	if own >= 0 {
		self := []presence.Route{routes[own]}
		call.After(func() { p.host.Kick(self, reason, message) })
		routes = slices.Delete(routes, own, own+1)
	}
	if len(routes) > 0 {
		p.host.Kick(routes, reason, message)
	}
}

// routesOf gives the live sessions of one user.
func (p *Account) routesOf(ctx context.Context, u im.UserID) ([]presence.Route, error) {
	routes, err := p.host.Presence().Routes(ctx, u)
	if err != nil {
		return nil, err
	}
	if len(routes) != 1 {
		return nil, errors.New("presence does not answer for one user")
	}
	return slices.Clone(routes[0]), nil
}

// ids names devices, for a reply.
func ids(devices []device) []string {
	names := make([]string, len(devices))
	for i, d := range devices {
		names[i] = string(d.id)
	}
	return names
}

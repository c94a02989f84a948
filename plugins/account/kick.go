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

const (
	// kickTime bounds the search for the sessions of devices that were ended.
	kickTime = 5 * time.Second
	// cutAgain is the pause between two such searches while presence does not
	// answer, cutTries how many there are, and cutsWaiting for how many users at
	// one time; beyond that the sessions stay until they are listed without a route.
	cutAgain    = time.Second
	cutTries    = 120
	cutsWaiting = 1024
)

// cut ends the live sessions that rest on sign-ins which are no more. It is
// called after the commit that ended them, and so it does not stop when the
// call's context does. The calling session itself goes last, after its reply.
func (p *Account) cut(ctx context.Context, call *plugin.Call, u im.UserID, ended []device, reason idl.CloseReason, message string) {
	if len(ended) == 0 {
		return
	}
	ctx = context.WithoutCancel(ctx)
	routes, err := p.endedRoutes(ctx, u, ended)
	if err != nil {
		p.host.Log().Warn("sessions of ended devices are looked for again", "user", u, "err", err)
		p.cutLater(u, ended, reason, message)
		return
	}
	own := slices.IndexFunc(routes, func(r presence.Route) bool { return r.SessionRef == call.Session })
	if own >= 0 {
		self := []presence.Route{routes[own]}
		call.After(func() { p.end(ctx, self, reason, message) })
		routes = slices.Delete(routes, own, own+1)
	}
	p.end(ctx, routes, reason, message)
}

// cutLater looks again, aside, until presence answers.
func (p *Account) cutLater(u im.UserID, ended []device, reason idl.CloseReason, message string) {
	if p.cuts.Add(1) > cutsWaiting {
		p.cuts.Add(-1)
		p.host.Log().Error("sessions of ended devices stay: too many are looked for", "user", u)
		return
	}
	p.host.Go("cut", func(ctx context.Context) {
		defer p.cuts.Add(-1)
		tick := time.NewTicker(cutAgain)
		defer tick.Stop()
		for range cutTries {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if routes, err := p.endedRoutes(ctx, u, ended); err == nil {
				p.end(ctx, routes, reason, message)
				return
			}
		}
		p.host.Log().Error("sessions of ended devices stay: presence does not answer", "user", u)
	})
}

// endedRoutes finds the live sessions that rest on ended sign-ins.
func (p *Account) endedRoutes(ctx context.Context, u im.UserID, ended []device) ([]presence.Route, error) {
	ctx, cancel := context.WithTimeout(ctx, kickTime)
	defer cancel()
	routes, err := p.routesOf(ctx, u)
	return slices.DeleteFunc(routes, func(r presence.Route) bool {
		return !slices.ContainsFunc(ended, func(d device) bool { return d.signIn == r.TokenID })
	}), err
}

// end kicks sessions and takes their routes away. A kick that finds no link from
// this core to the edge is lost; the edge's next census finds the session without
// a route, asks Admit, and ends it.
func (p *Account) end(ctx context.Context, routes []presence.Route, reason idl.CloseReason, message string) {
	if len(routes) == 0 {
		return
	}
	p.host.Kick(routes, reason, message)
	for _, r := range routes {
		p.disappear(ctx, r)
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

package account

import (
	"context"
	"slices"

	"freeim/core/presence"
)

// admission is the service "account.admission" for the core itself: an edge that
// lost its link lists its live sessions again, and may have missed a kick.
type admission struct{ *Account }

// Admit reports whether the sign-in that the session rests on is still there. To
// leave no gap it must be asked after the route is registered, see README.md.
// While the directory does not answer, sessions are let in: they passed Auth.
func (a admission) Admit(ctx context.Context, r presence.Route) bool {
	all, err := a.store.devices(ctx, r.User)
	if err != nil {
		a.host.Log().Warn("a session came back unchecked", "user", r.User, "err", err)
		return true
	}
	return slices.ContainsFunc(all, func(d device) bool { return d.signIn == r.TokenID && d.id == r.Device })
}

package account

import (
	"context"
	"time"

	"freeim/core/im"
	"freeim/core/presence"
)

// admitTime bounds the query of one list of sessions.
const admitTime = 5 * time.Second

// admission is the service "account.admission" for the core itself: an edge that
// lost its link lists its live sessions again, and may have missed a kick.
type admission struct{ *Account }

// Admit reports, for each of a page of sessions, whether the sign-in that it rests on is
// still there, by one query for all. To leave no gap it must be asked after the routes are
// registered, see README.md. While the directory does not answer, sessions are let in:
// they passed Auth.
func (a admission) Admit(ctx context.Context, routes []presence.Route) (in []bool) {
	in = make([]bool, len(routes))
	if len(routes) == 0 {
		return in
	}
	users := make([]im.UserID, len(routes))
	for i, r := range routes {
		users[i] = r.User
	}
	ctx, cancel := context.WithTimeout(ctx, admitTime)
	defer cancel()
	there, err := a.store.signIns(ctx, users)
	if err != nil {
		a.host.Log().Warn("sessions came back unchecked", "sessions", len(routes), "err", err)
	}
	for i, r := range routes {
		device, known := there[signIn{r.User, r.TokenID}]
		in[i] = err != nil || known && device == r.Device
	}
	return in
}

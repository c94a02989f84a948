package account

import (
	"context"

	"freeim/core/plugin"
)

// tokens is the service "account.tokens": whose a token is, for requests without a session.
type tokens struct{ *Account }

// Identify finds whose the token is, joined with others that are asked for as Auth's are,
// and notes that its device was seen. It makes no session. Its errors are refusals, those of Auth.
func (t tokens) Identify(ctx context.Context, token string) (plugin.Identity, error) {
	d, _, err := t.deviceOf(ctx, token)
	if err != nil {
		return plugin.Identity{}, err
	}
	now := t.host.Now()
	if now.UnixMilli()-d.lastSeenMs >= touchEvery.Milliseconds() {
		t.seen.note(sighting{user: d.user, signIn: d.signIn, atMs: now.UnixMilli(), address: d.address})
	}
	return plugin.Identity{User: d.user, Device: d.id, DeviceType: d.deviceType, TokenID: d.signIn, Since: now}, nil
}

// Arrive asks the operator's rules, as Auth does.
func (t tokens) Arrive(ctx context.Context, call *plugin.Call, who plugin.Identity) error {
	return t.rules.OnLogin(ctx, call, who)
}

package account

import (
	"context"
	"errors"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// touchEvery is how exact a device's last seen time is.
const touchEvery = time.Minute

const newerSession = "the device has a newer session"

// auth makes the calling session the session of the token's device. The order of
// its steps decides races with sign-ins and sign-outs: README.md says why.
func (p *Account) auth(ctx context.Context, call *plugin.Call, req *accountpb.AuthRequest) (*accountpb.AuthReply, error) {
	since := p.store.endings.now()
	d, u, err := p.deviceOf(ctx, req.Token)
	if err != nil {
		return nil, err
	}
	if call.User != 0 {
		return p.again(ctx, call, d, u)
	}
	id := p.identity(ctx, d)
	if err := p.rules.OnLogin(ctx, call, id); err != nil {
		return nil, err
	}
	route := call.Route(id)
	registered, err := p.appear(ctx, route)
	if err != nil {
		p.disappear(ctx, route) // the answer may have been lost on its way back
		return nil, plugin.Stored(ctx, err)
	}
	rep, err := p.confirmed(ctx, req.Token, d, u, since)
	if err != nil {
		p.disappear(ctx, route)
		return nil, err
	}
	if !registered {
		call.After(func() { p.host.Kick([]presence.Route{route}, idl.CloseReplaced, newerSession) })
		return nil, im.Errorf(idl.CodePermissionDenied, newerSession)
	}
	address := hostOf(call.Address)
	if now := p.host.Now(); now.UnixMilli()-d.lastSeenMs >= touchEvery.Milliseconds() || d.address != "" && d.address != address {
		p.seen.note(sighting{user: d.user, signIn: d.signIn, atMs: now.UnixMilli(), address: address})
	}
	call.Bind(id)
	return rep, nil
}

// again answers Auth on a session that has passed it: the same token gets the
// same answer, so a client may resend; another token needs another connection.
func (p *Account) again(ctx context.Context, call *plugin.Call, d device, u user) (*accountpb.AuthReply, error) {
	if d.user != call.User || d.signIn != call.TokenID {
		return nil, im.Errorf(idl.CodePermissionDenied, "this session has passed Auth: use another connection for another token")
	}
	return p.greeting(ctx, d, u)
}

// deviceOf finds the device that signed in with the token. Whatever is wrong
// with a token, the refusal is the same.
func (p *Account) deviceOf(ctx context.Context, token string) (device, user, error) {
	if len(token) == 0 || len(token) > maxTokenText {
		return device{}, user{}, noToken()
	}
	d, u, err := p.holder(ctx, hashToken(token))
	if errors.Is(err, errUnknown) || err == nil && p.expired(d) {
		return device{}, user{}, noToken()
	}
	if err != nil {
		return device{}, user{}, plugin.Stored(ctx, err)
	}
	return d, u, nil
}

func noToken() error { return im.Errorf(idl.CodeUnauthenticated, "the token is not valid") }

// expired reports whether d was not seen for longer than a token lives.
func (p *Account) expired(d device) bool {
	idle := p.host.Now().UnixMilli() - d.lastSeenMs
	return p.config.TokenIdle > 0 && idle > p.config.TokenIdle.Milliseconds()
}

// identity is d's, dated after every session that the device has now, so that of
// two in one millisecond, or after the clock was set back, the later wins. While
// presence does not answer it is dated now.
func (p *Account) identity(ctx context.Context, d device) plugin.Identity {
	since := time.UnixMilli(p.host.Now().UnixMilli())
	routes, err := p.routesOf(ctx, d.user)
	if err != nil {
		p.host.Log().WarnContext(ctx, "a session is dated without knowing the others", "user", d.user, "err", err)
	}
	for _, r := range routes {
		if r.Device == d.id && !r.Since.Before(since) {
			since = time.UnixMilli(r.Since.UnixMilli() + 1)
		}
	}
	return plugin.Identity{User: d.user, Device: d.id, DeviceType: d.deviceType, TokenID: d.signIn, Since: since}
}

// appear makes r the route of its device and ends the session that it replaces.
// registered is false when the device has a newer one already. A session that
// presence does not take since it does not answer is let in all the same: its
// edge's next census makes the route, asks admission, and has the client sync.
func (p *Account) appear(ctx context.Context, r presence.Route) (registered bool, err error) {
	displaced, registered, err := p.host.Presence().Register(ctx, r)
	if err != nil && !errors.Is(err, presence.ErrFenced) && ctx.Err() == nil {
		p.host.Log().WarnContext(ctx, "a session is let in without a route", "user", r.User, "err", err)
		return true, nil
	}
	if registered && len(displaced) > 0 {
		p.host.Kick(displaced, idl.CloseReplaced, newerSession)
	}
	return registered, err
}

// confirmed makes sure that the token is still valid, now that whoever revokes it finds
// the session, and then says where the inbox stands, now that pushes find it too. The
// token was first looked at after since. Where no other core may have revoked it, and
// this one has not, it is not read again.
func (p *Account) confirmed(ctx context.Context, token string, d device, u user, since uint64) (*accountpb.AuthReply, error) {
	if p.alone && p.store.endings.none(d.user, since) {
		return p.greeting(ctx, d, u)
	}
	still, _, err := p.deviceOf(ctx, token)
	if err != nil {
		return nil, err
	}
	if still.user != d.user || still.signIn != d.signIn {
		return nil, noToken()
	}
	return p.greeting(ctx, d, u)
}

// disappear takes a route back that appear made, also when the call's time is up.
func (p *Account) disappear(ctx context.Context, r presence.Route) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), kickTime)
	defer cancel()
	if _, err := p.host.Presence().Unregister(ctx, r); err != nil {
		p.host.Log().Warn("a refused session stays in presence", "user", r.User, "err", err)
	}
}

// greeting is what a client is told when its session is ready.
func (p *Account) greeting(ctx context.Context, d device, u user) (*accountpb.AuthReply, error) {
	inbox, err := p.host.Timelines().Inbox(ctx, d.user, 0, 0)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	head := inbox.Head
	if p.messages != nil {
		follows, err := p.messages.Follows(ctx, d.user)
		if err != nil {
			return nil, plugin.Stored(ctx, err)
		}
		if follows { // what waits for him is not in his inbox before he asks, nor does he hear of it
			head++
		}
	}
	return &accountpb.AuthReply{
		UserId: int64(d.user), DeviceId: string(d.id), Account: u.name, Nickname: u.nickname,
		TimeMs: p.host.Now().UnixMilli(), HeartbeatMs: p.config.Heartbeat.Milliseconds(), MaxBody: p.config.MaxBody,
		Epoch: p.host.Timelines().Epoch(), InboxHead: head,
	}, nil
}

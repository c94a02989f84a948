package account

import (
	"context"
	"slices"

	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl/kitex_gen/accountpb"
)

// listDevices gives the devices on which the caller is signed in, the newest
// sign-in first. Those whose token has expired are left out.
func (p *Account) listDevices(ctx context.Context, call *plugin.Call, _ *accountpb.ListDevicesRequest) (*accountpb.ListDevicesReply, error) {
	all, err := p.store.devices(ctx, call.User)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	routes, err := p.routesOf(ctx, call.User)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep := &accountpb.ListDevicesReply{}
	for _, d := range all {
		if info := p.info(d, routes); info.Online || !p.expired(d) {
			info.ThisDevice = d.signIn == call.TokenID
			rep.Devices = append(rep.Devices, info)
		}
	}
	return rep, nil
}

// info is d as its owner sees it. A device that is online is seen now.
func (p *Account) info(d device, routes []presence.Route) *accountpb.DeviceInfo {
	info := &accountpb.DeviceInfo{
		Device:     &accountpb.Device{Id: string(d.id), Type: d.deviceType, Name: d.name, Client: d.client},
		SignedInMs: d.signedInMs, LastSeenMs: d.lastSeenMs, Address: d.address, Push: d.pushToken != "",
		Online: slices.ContainsFunc(routes, func(r presence.Route) bool { return r.TokenID == d.signIn }),
	}
	if info.Online {
		info.LastSeenMs = p.host.Now().UnixMilli()
	}
	return info
}

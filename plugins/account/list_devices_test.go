package account_test

import (
	"reflect"
	"testing"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

func TestListDevices(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			h := start(t, func(c *account.Config) { c.TokenIdle = time.Hour })
			signUp(t, h, "alice")
			signUp(t, h, "bob")
			begin := h.Now().UnixMilli()
			token(t, h, "alice", "forgotten", idl.DeviceTablet)
			h.Advance(30 * time.Minute)
			gone := online(t, h, "alice", "desk", idl.DeviceDesktop)
			online(t, h, "bob", "bobs", idl.DeviceWeb)
			h.Advance(30*time.Minute + time.Millisecond)
			secret := token(t, h, "alice", "phone", idl.DeviceMobile)
			phone := h.Connect(codec)
			if err := phone.Call(idl.ActionAuth, &accountpb.AuthRequest{Token: secret}, nil); err != nil {
				t.Fatal(err)
			}
			gone.Close()
			h.Advance(time.Second)
			var rep accountpb.ListDevicesReply
			if err := phone.Call(idl.ActionListDevices, &accountpb.ListDevicesRequest{}, &rep); err != nil {
				t.Fatal(err)
			}
			want := []*accountpb.DeviceInfo{
				{Device: &accountpb.Device{Id: "phone", Type: idl.DeviceMobile, Name: "phone"}, SignedInMs: begin + 3_600_001,
					LastSeenMs: h.Now().UnixMilli(), Online: true, ThisDevice: true},
				{Device: &accountpb.Device{Id: "desk", Type: idl.DeviceDesktop, Name: "desk"}, SignedInMs: begin + 1_800_000,
					LastSeenMs: begin + 1_800_000},
			}
			if !reflect.DeepEqual(rep.Devices, want) {
				t.Errorf("got %d devices: %+v", len(rep.Devices), rep.Devices)
			}
		})
	}
}

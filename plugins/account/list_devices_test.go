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
					LastSeenMs: h.Now().UnixMilli(), Online: true, ThisDevice: true, Address: "192.0.2.1"},
				{Device: &accountpb.Device{Id: "desk", Type: idl.DeviceDesktop, Name: "desk"}, SignedInMs: begin + 1_800_000,
					LastSeenMs: begin + 1_800_000, Address: "192.0.2.1"},
			}
			if !reflect.DeepEqual(rep.Devices, want) {
				t.Errorf("got %d devices: %+v", len(rep.Devices), rep.Devices)
			}
		})
	}
}

func TestDevicesSayWhatTheyAreAndWhere(t *testing.T) {
	h := start(t)
	signUp(t, h, "alice")
	device := &accountpb.Device{Id: "phone", Type: idl.DeviceMobile, Name: "Alice's", Client: "freeim-web 1.2"}
	var in accountpb.SignInReply
	if err := h.Connect(idl.CodecJSON).From("[2001:db8::1]:99").Call(idl.ActionSignIn, &accountpb.SignInRequest{Account: "alice", Password: password, Device: device}, &in); err != nil {
		t.Fatal(err)
	}
	s := h.Connect(idl.CodecJSON).From("198.51.100.7:4000") // within the minute in which nothing else is noted
	if err := s.Call(idl.ActionAuth, &accountpb.AuthRequest{Token: in.Token}, nil); err != nil {
		t.Fatal(err)
	}
	if err := setPush(s, "apns", "aa"); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(10 * time.Second); ; {
		var rep accountpb.ListDevicesReply
		if err := s.Call(idl.ActionListDevices, &accountpb.ListDevicesRequest{}, &rep); err != nil || len(rep.Devices) != 1 {
			t.Fatal(&rep, err)
		}
		got := rep.Devices[0]
		if !reflect.DeepEqual(got.Device, device) || !got.Push {
			t.Fatalf("got %+v", got)
		}
		if got.Address == "198.51.100.7" {
			return
		}
		if got.Address != "2001:db8::1" || time.Now().After(late) {
			t.Fatalf("got address %q", got.Address)
		}
	}
}

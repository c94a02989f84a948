package account

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/idl"
)

func TestKickPolicies(t *testing.T) {
	kick := func(most int, types ...string) DeviceLimit { return DeviceLimit{types, most, beyondKick} }
	refuse := func(most int, types ...string) DeviceLimit { return DeviceLimit{types, most, beyondRefuse} }
	all := []string{"mobile", "desktop", "web", "tablet"}
	for _, test := range []struct {
		name    string
		limits  []DeviceLimit
		there   string // ID:type in the order of their sign-ins; ! before it: its token is void
		fresh   string
		ended   string
		refused bool
	}{
		{"one of each: the first", oneOfEach(), "", "a:mobile", "", false},
		{"one of each: another type", oneOfEach(), "a:desktop b:web c:tablet", "d:mobile", "", false},
		{"one of each: the same type", oneOfEach(), "a:mobile b:web", "c:mobile", "a", false},
		{"one of each: the same device", oneOfEach(), "a:mobile b:web", "a:mobile", "a", false},
		{"one of each: the same device as another type", oneOfEach(), "a:mobile b:web", "a:web", "a b", false},
		{"one in all", []DeviceLimit{kick(1, all...)}, "a:mobile", "b:web", "a", false},
		{"one in all, refused", []DeviceLimit{refuse(1, all...)}, "a:mobile", "b:web", "", true},
		{"one in all, refused: the same device", []DeviceLimit{refuse(1, all...)}, "a:mobile", "a:mobile", "a", false},
		{"one in all, refused: a void token keeps nobody out", []DeviceLimit{refuse(1, all...)}, "!a:mobile", "b:web", "a", false},
		{"one in the hand, one on the desk", []DeviceLimit{kick(1, "mobile", "tablet"), kick(1, "desktop", "web")}, "a:mobile b:desktop", "c:tablet", "a", false},
		{"one in the hand, one on the desk: the other", []DeviceLimit{kick(1, "mobile", "tablet"), kick(1, "desktop", "web")}, "a:mobile b:desktop", "c:web", "b", false},
		{"three of a type: the third", []DeviceLimit{kick(3, "web")}, "a:web b:web", "c:web", "", false},
		{"three of a type: the fourth", []DeviceLimit{kick(3, "web")}, "a:web x:mobile b:web c:web", "d:web", "a", false},
		{"three of a type: there were more under other rules", []DeviceLimit{kick(2, "web")}, "a:web b:web c:web d:web", "e:web", "a b c", false},
		{"three of a type, refused", []DeviceLimit{refuse(3, "web")}, "a:web b:web c:web", "d:web", "", true},
		{"three of a type, refused: the void one goes, and no more", []DeviceLimit{refuse(3, "web")}, "a:web !b:web !c:web", "d:web", "b", false},
		{"a type of its own, and two in all", []DeviceLimit{kick(1, "mobile"), refuse(2, all...)}, "a:mobile b:web", "c:mobile", "a", false},
		{"a type of its own, and two in all: refused", []DeviceLimit{kick(1, "mobile"), refuse(2, all...)}, "a:mobile b:web", "c:desktop", "", true},
		{"the order of limits makes no difference", []DeviceLimit{refuse(2, all...), kick(1, "mobile")}, "a:mobile b:web", "c:mobile", "a", false},
		{"no limit", nil, "a:mobile b:mobile c:mobile", "d:mobile", "", false},
		{"a type without a limit", []DeviceLimit{kick(1, "web")}, "a:mobile b:mobile", "c:mobile", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var there []device
			void := map[im.DeviceID]bool{}
			for i, text := range strings.Fields(test.there) {
				id := strings.TrimPrefix(text, "!")
				d := parsed(id, int64(i+1))
				void[d.id] = id != text
				there = append(there, d)
			}
			ended, err := displaced(test.limits, parsed(test.fresh, 99), there, func(d device) bool { return void[d.id] })
			refused, _ := errors.AsType[*im.Error](err)
			if (refused != nil) != test.refused || test.refused && (refused.Code != idl.CodeLimitExceeded || refused.Field != "device.type") {
				t.Errorf("got %v, want refused %v", err, test.refused)
			}
			if got := strings.Join(ids(ended), " "); got != test.ended {
				t.Errorf("ended %q, want %q", got, test.ended)
			}
		})
	}
}

func parsed(text string, signIn int64) device {
	id, kind, _ := strings.Cut(text, ":")
	return device{id: im.DeviceID(id), deviceType: idl.DeviceTypeNamed(kind), signIn: signIn}
}

func TestThereIsALimitWithoutLimits(t *testing.T) {
	var there []device
	for i := range mostDevices {
		there = append(there, device{id: im.DeviceID(fmt.Sprint(i)), deviceType: idl.DeviceWeb, signIn: int64(i)})
	}
	ended, err := displaced(nil, device{id: "new", deviceType: idl.DeviceWeb, signIn: 99}, there, func(device) bool { return false })
	if err != nil || len(ended) != 1 || ended[0].id != "0" {
		t.Errorf("ended %v, %v", ids(ended), err)
	}
}

func TestDeviceLimitsAreChecked(t *testing.T) {
	for _, test := range []struct {
		limit DeviceLimit
		field string
	}{
		{DeviceLimit{nil, 1, beyondKick}, "account.devices[1].types"},
		{DeviceLimit{[]string{"phone"}, 1, beyondKick}, "account.devices[1].types"},
		{DeviceLimit{[]string{"unknown"}, 1, beyondKick}, "account.devices[1].types"},
		{DeviceLimit{[]string{"web"}, 0, beyondKick}, "account.devices[1].most"},
		{DeviceLimit{[]string{"web"}, 65, beyondKick}, "account.devices[1].most"},
		{DeviceLimit{[]string{"web"}, 1, ""}, "account.devices[1].beyond"},
	} {
		err := validateLimits([]DeviceLimit{{[]string{"web"}, 1, beyondRefuse}, test.limit})
		if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Field != test.field {
			t.Errorf("%+v: got %v, want a refusal of %s", test.limit, err, test.field)
		}
	}
}

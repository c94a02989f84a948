package idl_test

import (
	"slices"
	"testing"

	"freeim/idl"
)

func TestNames(t *testing.T) {
	names := idl.CodeNames()
	if !slices.Contains(names, "rejected") || slices.Contains(names, "unknown") {
		t.Errorf("the codes are %v", names)
	}
	for _, name := range names {
		if got := idl.CodeName(idl.CodeNamed(name)); got != name {
			t.Errorf("%q comes back as %q", name, got)
		}
	}
	if got := idl.CodeNamed("no such"); got != idl.CodeUnknown {
		t.Errorf("a name of nothing is %v", got)
	}
	for name, want := range map[string]idl.DeviceType{
		"mobile": idl.DeviceMobile, "desktop": idl.DeviceDesktop, "web": idl.DeviceWeb, "tablet": idl.DeviceTablet,
	} {
		if got := idl.DeviceTypeNamed(name); got != want || idl.DeviceTypeName(want) != name {
			t.Errorf("%q is %v, and that is %q", name, got, idl.DeviceTypeName(want))
		}
	}
	if name, got := idl.DeviceTypeName(99), idl.DeviceTypeNamed("no such"); name != "unknown" || got != 0 {
		t.Errorf("what is not known is %q and %v", name, got)
	}
}

package idl

import (
	"strings"

	"freeim/idl/kitex_gen/wirepb"
)

// This file is how codes and types of devices are written where people write them: in the
// operators' scripts, in logs, on a command line.

const (
	codePrefix   = "CODE_"
	devicePrefix = "DEVICE_TYPE_"
)

// CodeName is a code in lower case: "rejected".
func CodeName(c Code) string { return strings.ToLower(strings.TrimPrefix(c.String(), codePrefix)) }

// CodeNames are all codes but CodeUnknown, in no certain order.
func CodeNames() (names []string) {
	for n := range wirepb.Code_name {
		if c := Code(n); c != CodeUnknown {
			names = append(names, CodeName(c))
		}
	}
	return names
}

// CodeNamed is the code of a name, CodeUnknown if it is none.
func CodeNamed(name string) Code { return Code(wirepb.Code_value[codePrefix+strings.ToUpper(name)]) }

// DeviceTypeName is a type of device in lower case, without an allocation: "mobile";
// "unknown" if it is none.
func DeviceTypeName(t DeviceType) string {
	switch t {
	case DeviceMobile:
		return "mobile"
	case DeviceDesktop:
		return "desktop"
	case DeviceWeb:
		return "web"
	case DeviceTablet:
		return "tablet"
	}
	return "unknown"
}

// DeviceTypeNamed is the type of a name, 0 if it is none.
func DeviceTypeNamed(name string) DeviceType {
	return DeviceType(wirepb.DeviceType_value[devicePrefix+strings.ToUpper(name)])
}

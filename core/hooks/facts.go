package hooks

import (
	"strconv"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
	"freeim/scripts/engine"
)

// facts is a call as the engine sees it: its text is made when a hook reads it.
type facts plugin.Call

// Fact implements engine.Facts.
func (f *facts) Fact(which engine.Fact) string {
	switch which {
	case engine.FactUser:
		if f.User != 0 {
			return f.User.String()
		}
	case engine.FactDevice:
		return string(f.Device)
	case engine.FactDeviceType:
		if f.Device != "" {
			return deviceType(f.DeviceType)
		}
	case engine.FactClientAddr:
		return f.Address
	case engine.FactTrace:
		return traceID(f.Trace)
	}
	return ""
}

// traceID is the ID in a traceparent: version-ID-span-flags.
func traceID(traceparent string) string {
	_, rest, _ := strings.Cut(traceparent, "-")
	id, _, _ := strings.Cut(rest, "-")
	return id
}

// codes are the codes that a rule may refuse with, as scripts write them:
// "rejected".
func codes() []string {
	var names []string
	for n, name := range wirepb.Code_name {
		if n != int32(idl.CodeUnknown) {
			names = append(names, strings.ToLower(strings.TrimPrefix(name, "CODE_")))
		}
	}
	return names
}

// code is the wire code that a rule named.
func code(name string) idl.Code {
	if n := wirepb.Code_value["CODE_"+strings.ToUpper(name)]; n != 0 {
		return idl.Code(n)
	}
	return idl.CodeRejected
}

func conversationType(t im.ConversationType) string {
	switch t {
	case im.Chat:
		return "chat"
	case im.Group:
		return "group"
	case im.Room:
		return "room"
	}
	return strconv.Itoa(int(t))
}

func deviceType(t idl.DeviceType) string {
	switch t {
	case idl.DeviceMobile:
		return "mobile"
	case idl.DeviceDesktop:
		return "desktop"
	case idl.DeviceWeb:
		return "web"
	case idl.DeviceTablet:
		return "tablet"
	}
	return "unknown"
}

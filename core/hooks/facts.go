package hooks

import (
	"strconv"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
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
			return idl.DeviceTypeName(f.DeviceType)
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

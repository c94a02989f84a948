package hooks

import (
	"strconv"
	"strings"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/scripts/engine"
)

// arrival is a connection as the engine sees it.
type arrival session.Arrival

// Fact implements engine.Facts.
func (a *arrival) Fact(f engine.Fact) string {
	switch f {
	case engine.FactClientAddr:
		return a.Address
	case engine.FactTransport, engine.FactTLS:
		return transport(a.Transport, f)
	case engine.FactPath:
		return a.Path
	}
	return ""
}

// frame is a frame as the engine sees it: what hooks do not read is not made.
type frame session.Asked

// Fact implements engine.Facts.
func (a *frame) Fact(f engine.Fact) string {
	switch f {
	case engine.FactClientAddr:
		return a.Address
	case engine.FactTransport, engine.FactTLS:
		return transport(a.Transport, f)
	case engine.FactCodec:
		return a.Codec.String()
	case engine.FactSize:
		return strconv.Itoa(a.Size)
	case engine.FactSequence:
		return strconv.FormatUint(uint64(a.Sequence), 10)
	case engine.FactWaiting:
		return strconv.Itoa(a.Waiting)
	case engine.FactExcess:
		return strconv.Itoa(a.Excess)
	}
	if a.Who == nil {
		return ""
	}
	switch f {
	case engine.FactUser:
		return strconv.FormatInt(a.Who.User, 10)
	case engine.FactDevice:
		return a.Who.Device
	case engine.FactDeviceType:
		return idl.DeviceTypeName(a.Who.DeviceType)
	}
	return ""
}

// transport is one of two facts in the kind of a transport.
func transport(kind string, f engine.Fact) string {
	secure := kind == "tls" || kind == "wss" || kind == "https"
	switch {
	case f == engine.FactTLS:
		return strconv.FormatBool(secure)
	case strings.HasPrefix(kind, "w"):
		return "websocket"
	case strings.HasPrefix(kind, "h"):
		return "http"
	}
	return "tcp"
}

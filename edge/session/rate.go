package session

import (
	"net"
	"net/netip"
	"time"

	"freeim/edge/limits"
	"freeim/idl"
)

// tooOften is how long the session's user, or before Auth its address, has to wait until
// an action with a rate may be called again; 0: it may now, and is counted.
func (s *Session) tooOften(a idl.Action, info ActionInfo) time.Duration {
	if info.Rate == 0 {
		return 0
	}
	return s.hub.rates.Take(int32(a), s.caller(), info.Rate, info.Per)
}

// caller is whom the rates of actions are for: before Auth the address, or of IPv6 the
// network of 64 bits that one customer usually has.
func (s *Session) caller() limits.Caller {
	s.mu.Lock()
	who := s.identity
	s.mu.Unlock()
	return callerOf(who, s.transport.Address())
}

func callerOf(who *Identity, address string) limits.Caller {
	if who != nil {
		return limits.Caller{User: who.User}
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip = ip.Unmap().WithZone(""); ip.Is6() {
			network, _ := ip.Prefix(64) // 64 fits every IPv6 address
			return limits.Caller{Address: network.String()}
		}
		host = ip.String()
	}
	return limits.Caller{Address: host}
}

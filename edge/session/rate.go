package session

import (
	"net"
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

func (s *Session) caller() limits.Caller {
	s.mu.Lock()
	who := s.identity
	s.mu.Unlock()
	if who != nil {
		return limits.Caller{User: who.User}
	}
	host, _, err := net.SplitHostPort(s.transport.Address())
	if err != nil {
		host = s.transport.Address()
	}
	return limits.Caller{Address: host}
}

package session

// corks are the transports that one Delivery has corked, so that all it brings to
// a session leaves in one write. One goroutine uses it; nil corks nothing.
type corks struct {
	hub    *Hub
	corked []Transport
}

// atOnce is how many transports are corked at a time: before there are more, what
// has piled up leaves. It bounds what a push to very many sessions copies.
const atOnce = 1024

// together is for so many replies and pushes; one alone leaves at once. The
// caller ends it with pull.
func (h *Hub) together(n int) *corks {
	if n < 2 {
		return nil
	}
	return h.corks.Get().(*corks)
}

// on corks the transport of a session that something is about to be sent to. One
// that is corked twice is uncorked twice.
func (c *corks) on(s *Session) {
	if c == nil {
		return
	}
	if n := len(c.corked); n > 0 && c.corked[n-1] == s.transport {
		return
	}
	if len(c.corked) == atOnce {
		c.release()
	}
	c.corked = append(c.corked, s.transport)
	s.transport.Cork()
}

// release lets what has piled up go.
func (c *corks) release() {
	for _, t := range c.corked {
		t.Uncork()
	}
	clear(c.corked)
	c.corked = c.corked[:0]
}

// pull is release for the last time.
func (c *corks) pull() {
	if c != nil {
		c.release()
		c.hub.corks.Put(c)
	}
}

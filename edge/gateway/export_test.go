package gateway

import "freeim/edge/session"

// Transports gives the transports of the connections with a session that are watched by netpoll.
func (g *Gateway) Transports() (all []session.Transport) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		c.out.mu.Lock()
		ready := c.out.watched // and so speaks is set
		c.out.mu.Unlock()
		if !ready {
			continue
		}
		switch p := c.speaks.(type) {
		case *frames:
			all = append(all, p)
		case *websocket:
			if to, ok := p.taker.(*client); ok {
				all = append(all, to)
			}
		}
	}
	return all
}

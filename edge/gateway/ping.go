package gateway

import (
	"context"
	"fmt"
	"net"

	"freeim/edge/frame"
)

// Ping sends an octet over a connection of its own, from this process to this
// process, and waits for it to come back: then netpoll's loops turn, and those
// that read and write for clients. It needs none of the ports, whatever they
// demand of a connection. ctx must have a deadline. That no connection can be
// had, when descriptors are used up, is no fault of the loops, and nil.
func (g *Gateway) Ping(ctx context.Context) error {
	near, far, err := pair(ctx)
	if err != nil {
		g.log.Debug("ping without a connection", "err", err)
		return nil
	}
	defer near.Close()
	g.adopt(newArrival(far), g.echoes, newPong, nil)
	late, _ := ctx.Deadline()
	near.SetDeadline(late)
	if _, err = near.Write([]byte{1}); err == nil {
		_, err = near.Read(make([]byte, 1))
	}
	if err != nil {
		return fmt.Errorf("the loops that read from clients do not answer: %w", err)
	}
	return nil
}

// pair is a connection over loopback, both its ends.
func pair(ctx context.Context) (near net.Conn, far *net.TCPConn, err error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if near, err = new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	for {
		late, _ := ctx.Deadline()
		l.SetDeadline(late)
		if far, err = l.AcceptTCP(); err != nil {
			near.Close()
			return nil, nil, err
		}
		if far.RemoteAddr().String() == near.LocalAddr().String() {
			return near, far, nil
		}
		far.Close() // somebody else was there first
	}
}

// pong is the protocol of the far end: what comes goes back.
type pong struct{ *conn }

func newPong(c *conn) protocol { return pong{c} }

func (p pong) feed(b []byte) bool     { return p.out.send(nil, b) }
func (p pong) fail(*frame.CloseError) { p.out.abort() }
func (p pong) ended()                 {}

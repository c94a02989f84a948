package client

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"

	"freeim/edge/frame"
)

// transport is how frames travel over one connection.
type transport interface {
	// encode gives the bytes of f on this transport. Any goroutine.
	encode(f frame.Frame) ([]byte, error)
	// receive reads once and calls each for every whole frame; a Body is valid
	// only during the call. control gets bytes that the transport itself wants
	// to have written. Read loop only.
	receive(each func(frame.Frame) error, control func([]byte)) error
	// farewell is what to write last; may be empty.
	farewell() []byte
}

// readSize is how much is read from a connection at once, in octets.
const readSize = 16 << 10

// connect opens a connection to u and the transport over it. o has its defaults.
func connect(ctx context.Context, u *url.URL, o *Options) (net.Conn, transport, error) {
	if u.Scheme == "ws" || u.Scheme == "wss" {
		return connectSocket(ctx, u, o)
	}
	conn, err := o.Dial(ctx, "tcp", u.Host)
	if err != nil {
		return nil, nil, err
	}
	if u.Scheme == "tls" {
		secure := tls.Client(conn, serverName(o.TLS, u.Hostname()))
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, nil, err
		}
		conn = secure
	}
	return conn, &stream{conn: conn, maxBody: o.MaxBody, buf: make([]byte, readSize)}, nil
}

func serverName(c *tls.Config, host string) *tls.Config {
	if c == nil {
		return &tls.Config{ServerName: host}
	}
	if c.ServerName == "" {
		c = c.Clone()
		c.ServerName = host
	}
	return c
}

// stream carries frames back to back: TCP and TLS.
type stream struct {
	conn    net.Conn
	maxBody int

	// Owned by the read loop.
	dec frame.Decoder
	buf []byte
}

func (s *stream) encode(f frame.Frame) ([]byte, error) {
	return frame.Append(make([]byte, 0, frame.HeaderSize+len(f.Body)), f), nil
}

func (s *stream) receive(each func(frame.Frame) error, _ func([]byte)) error {
	n, err := s.conn.Read(s.buf)
	if n > 0 {
		if err := s.dec.Feed(s.buf[:n], s.maxBody, each); err != nil {
			return err
		}
	}
	return err
}

func (s *stream) farewell() []byte { return nil }

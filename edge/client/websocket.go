package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"freeim/edge/frame"
	"freeim/idl"
)

// socket carries frames in WebSocket messages. Source: idl/README.md, Transports.
type socket struct {
	text    bool
	maxBody int

	// Owned by the read loop.
	source  *bufio.Reader
	reader  wsutil.Reader
	dec     frame.Decoder
	buf     []byte
	control func([]byte) // of the receive that runs
}

func connectSocket(ctx context.Context, u *url.URL, o *Options) (net.Conn, transport, error) {
	dialer := ws.Dialer{NetDial: o.Dial, TLSConfig: o.TLS}
	conn, early, _, err := dialer.Dial(ctx, u.String())
	if err != nil {
		return nil, nil, err
	}
	if early == nil { // not nil when the server's first bytes came with the upgrade
		early = bufio.NewReaderSize(conn, readSize)
	}
	return conn, newSocket(early, o), nil
}

func newSocket(source *bufio.Reader, o *Options) *socket {
	s := &socket{text: o.Text, maxBody: o.MaxBody, source: source, buf: make([]byte, readSize)}
	s.reader = wsutil.Reader{
		Source: source, State: ws.StateClientSide, CheckUTF8: true,
		OnIntermediate: s.onControl,
	}
	if s.text {
		s.reader.MaxMessageSize = int64(o.MaxBody) + 1024 // the frame around the body
	}
	return s
}

func (s *socket) encode(f frame.Frame) ([]byte, error) {
	if !s.text {
		return message(ws.OpBinary, frame.Append(nil, f)), nil
	}
	payload, err := frame.AppendText(nil, f)
	if err != nil {
		return nil, err
	}
	return message(ws.OpText, payload), nil
}

// message is one masked WebSocket message; payload is masked in place.
func message(op ws.OpCode, payload []byte) []byte {
	return ws.MustCompileFrame(ws.MaskFrameInPlace(ws.NewFrame(op, true, payload)))
}

func (s *socket) farewell() []byte {
	return message(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))
}

// receive reads one WebSocket message or control frame.
func (s *socket) receive(each func(frame.Frame) error, control func([]byte)) error {
	s.control = control
	header, err := s.reader.NextFrame()
	switch {
	case err != nil:
		return err
	case header.OpCode.IsControl():
		if err := s.onControl(header, &s.reader); err != nil {
			return err
		}
		return s.reader.Discard()
	case header.OpCode == ws.OpText:
		return s.receiveText(each)
	}
	return s.receiveBinary(each)
}

func (s *socket) receiveBinary(each func(frame.Frame) error) error {
	for {
		n, err := s.reader.Read(s.buf)
		if n > 0 {
			if err := s.dec.Feed(s.buf[:n], s.maxBody, each); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return s.whole()
		}
		if err != nil {
			return err
		}
	}
}

// whole checks that a binary message ended where a frame does.
func (s *socket) whole() error {
	if n := s.dec.Buffered(); n > 0 {
		return fmt.Errorf("WebSocket message ends within a frame, %d octets are over", n)
	}
	return nil
}

func (s *socket) receiveText(each func(frame.Frame) error) error {
	payload, err := io.ReadAll(&s.reader)
	if err != nil {
		return err
	}
	f, err := frame.ParseText(payload, func(string) (idl.Action, bool) { return 0, false })
	if err != nil {
		return err
	}
	return each(f)
}

// onControl answers a ping, and ends the connection on a close frame. Its code
// counts as a Quit when the server gave none. Source: idl/README.md, Close reasons.
func (s *socket) onControl(header ws.Header, r io.Reader) error {
	payload := make([]byte, header.Length) // at most 125, NextFrame has checked
	if _, err := io.ReadFull(r, payload); err != nil {
		return err
	}
	switch header.OpCode {
	case ws.OpPing:
		s.control(message(ws.OpPong, payload))
	case ws.OpClose:
		return closed(payload)
	}
	return nil
}

func closed(payload []byte) error {
	code, reason := ws.ParseCloseFrameData(payload)
	if code < 4000 || code > 4999 {
		return fmt.Errorf("WebSocket closed with %d %s: %w", code, reason, io.EOF)
	}
	r := idl.CloseReason(code)
	return &Quit{Reason: r, Message: reason, Reconnect: idl.Reconnect(r)}
}

package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"freeim/idl"
)

// Options say how to reach a server and, for Open, how to keep a session. Only
// Address is needed, and Token for Open.
type Options struct {
	// Address is tcp://host:port or ws://host:port/ws; tls:// and wss:// are the
	// same under TLS.
	Address string
	// Addresses are further addresses of the same service, such as its other
	// edges. Dial tries them in turn after Address. A session that was sent away,
	// cut off or not let in goes to the next of the whole circle.
	Addresses []string
	// Codec is how bodies are encoded. The zero value is JSON.
	Codec idl.Codec
	// Text makes a WebSocket carry text messages, readable in a browser's
	// developer tools. It needs ws:// or wss:// and the JSON codec.
	Text bool
	// TLS configures tls:// and wss://. Nil means the system's roots and the
	// host name of Address.
	TLS *tls.Config
	// Dial opens the connection under TCP, TLS and WebSocket. Nil means net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// AnswerTimeout is how long the oldest unanswered request may wait before the
	// connection is given up with ErrSilent. Zero means 20 s.
	AnswerTimeout time.Duration
	// MaxBody is the longest body taken from the server, in octets. Zero means 1 MiB.
	MaxBody int
	// Log gets what a developer looks for at the levels debug, info and warn.
	// Nil discards it.
	Log *slog.Logger

	// OnPush gets every push of a connection made by Dial, on its read loop, one
	// at a time: while it runs, nothing else is read, answers neither. Nil drops
	// pushes. Open does not read it: there pushes become events of Handler.
	OnPush func(Push)

	// The fields below are read by Open only.

	// Token is what SignIn gave.
	Token string
	// Handler gets the events.
	Handler Handler
	// Store keeps the cursor across restarts. Nil means a MemoryStore: after a
	// restart the whole inbox comes again.
	Store CursorStore
	// ManualAck leaves MessageAck to Session.Ack. The default is that a message
	// is acknowledged when Handler.Message has returned and the cursor is stored.
	ManualAck bool
	// Queue bounds the events that wait for the handler. When it is full, pushes
	// are let go and fetched again by Sync when there is room. Zero means 256.
	Queue int
	// Outbox bounds the messages that are not settled yet. When it is full, Send
	// waits. Zero means 256.
	Outbox int
	// MinPause and MaxPause bound the pauses between attempts to connect, which
	// double from one to the other. The pause taken is a random part, at least a
	// quarter. Zero means 1 s and 30 s.
	MinPause, MaxPause time.Duration
	// ConnectTimeout bounds one attempt to connect, Auth included. Zero means 15 s.
	ConnectTimeout time.Duration
}

func (o *Options) setDefaults() {
	o.AnswerTimeout = orDuration(o.AnswerTimeout, 20*time.Second)
	o.MaxBody = orInt(o.MaxBody, 1<<20)
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Store == nil {
		o.Store = new(MemoryStore)
	}
	o.Queue = orInt(o.Queue, 256)
	o.Outbox = orInt(o.Outbox, 256)
	o.MinPause = orDuration(o.MinPause, time.Second)
	o.MaxPause = max(orDuration(o.MaxPause, 30*time.Second), o.MinPause)
	o.ConnectTimeout = orDuration(o.ConnectTimeout, 15*time.Second)
}

func orInt(n, zero int) int {
	if n == 0 {
		return zero
	}
	return n
}

func orDuration(d, zero time.Duration) time.Duration {
	if d == 0 {
		return zero
	}
	return d
}

// all is every address, in the order in which they are tried.
func (o *Options) all() []string { return append([]string{o.Address}, o.Addresses...) }

// at is o with another address and no further ones.
func (o Options) at(address string) Options {
	o.Address, o.Addresses = address, nil
	return o
}

// validate says what is wrong with o.
func (o *Options) validate() error {
	for _, address := range o.all() {
		if _, err := o.parse(address); err != nil {
			return err
		}
	}
	if o.Codec != idl.CodecJSON && o.Codec != idl.CodecProtobuf {
		return fmt.Errorf("codec %d is not known", o.Codec)
	}
	if min(o.AnswerTimeout, o.MinPause, o.MaxPause, o.ConnectTimeout) < 0 || min(o.MaxBody, o.Queue, o.Outbox) < 0 {
		return errors.New("sizes and times must not be negative")
	}
	return nil
}

// parse reads one address and says what is wrong with it.
func (o *Options) parse(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("address %q: want tcp://host:port or ws://host:port/ws, or tls:// and wss:// under TLS", address)
	}
	switch u.Scheme {
	case "ws", "wss":
		if o.Text && o.Codec != idl.CodecJSON {
			return nil, errors.New("text frames need the JSON codec")
		}
	case "tcp", "tls":
		if o.Text {
			return nil, errors.New("text frames need a WebSocket address")
		}
		if u.Port() == "" {
			return nil, fmt.Errorf("address %q has no port", address)
		}
	default:
		return nil, fmt.Errorf("address %q: scheme %q is not known, want tcp, tls, ws or wss", address, u.Scheme)
	}
	return u, nil
}

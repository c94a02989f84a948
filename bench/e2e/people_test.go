package e2e_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"freeim/bench/cluster"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/socialpb"
)

// form is a way in which clients speak.
type form struct {
	name      string
	websocket bool
	text      bool
	requests  bool // over HTTP only, without a session
	codec     idl.Codec
	trust     *tls.Config // whom clients believe; nil: no TLS
}

// forms are all sessions' without TLS.
var forms = []form{
	{name: "tcp-protobuf", codec: idl.CodecProtobuf},
	{name: "tcp-json", codec: idl.CodecJSON},
	{name: "websocket-protobuf", websocket: true, codec: idl.CodecProtobuf},
	{name: "websocket-json", websocket: true, codec: idl.CodecJSON},
	{name: "websocket-text", websocket: true, text: true, codec: idl.CodecJSON},
}

// formNamed is one of forms, or http.
func formNamed(name string) (form, error) {
	if name == "http" {
		return form{name: name, requests: true}, nil
	}
	at := slices.IndexFunc(forms, func(f form) bool { return f.name == name })
	if at < 0 {
		return form{}, fmt.Errorf("no form %q", name)
	}
	return forms[at], nil
}

// options is how a client of this form reaches an edge.
func (f form) options(e *cluster.Edge) client.Options {
	o := client.Options{Address: e.TCP(), Codec: f.codec, Text: f.text, TLS: f.trust}
	switch {
	case f.websocket && f.trust != nil:
		o.Address = e.SecureWebSocket()
	case f.websocket:
		o.Address = e.WebSocket()
	case f.trust != nil:
		o.Address = e.TLS()
	}
	return o
}

// person is an account.
type person struct {
	name string
	id   int64
	form form // in a scenario: of all the person's devices
}

const password = "correct horse battery"

// device is a device of a person's: what it has been told, and its session while
// it is connected.
type device struct {
	client.Actions // over the newest session, or by requests

	name    string
	owner   *person
	options client.Options
	sent    map[string]*client.Pending // by the scenario's name for a message
	first   map[string]*chatpb.SendReply
	texts   map[string]client.Outgoing

	session  *client.Session // nil while disconnected
	requests *requests       // instead of sessions, or nil

	entries chan *client.Entry // messages of others, and of own other devices
	held    chan *chatpb.Held  // what it is told of messages that wait
	friends chan *socialpb.PresenceState
	ended   chan error // the session is over for good
	rooms   rooms

	mu       sync.Mutex // guards the fields below
	own      map[string]bool
	inboxSeq int64            // up to here the inbox was taken
	receipts map[string]int64 // delivered positions by conversation
	read     map[string]int64 // likewise, what others have read
	inbox    []*client.Entry  // all that was taken since the cursor was forgotten last
}

// signUp makes an account for name.
func signUp(ctx context.Context, o client.Options, name string) (*person, error) {
	c, err := client.Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	id, err := c.SignUp(ctx, name, password, "")
	if err != nil {
		return nil, fmt.Errorf("sign up %s: %w", name, err)
	}
	return &person{name: name, id: id}, nil
}

// newDevice signs a device in and opens its session.
func newDevice(ctx context.Context, o client.Options, owner *person, name string, kind idl.DeviceType) (*device, error) {
	c, err := client.Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	rep, err := c.SignIn(ctx, owner.name, password, &accountpb.Device{Id: name, Type: kind, Name: name})
	if err != nil {
		return nil, fmt.Errorf("sign in %s@%s: %w", owner.name, name, err)
	}
	d := emptyDevice(owner, name)
	d.options = o
	d.options.Token, d.options.Store = rep.Token, &client.MemoryStore{}
	d.options.MinPause, d.options.MaxPause = 10*time.Millisecond, 200*time.Millisecond
	d.options.Handler = client.Handler{
		Message: func(_ context.Context, e *client.Entry) error { d.take(e); return nil },
		Delivered: func(_ context.Context, r *chatpb.Receipt) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.receipts[r.ConversationId] = max(d.receipts[r.ConversationId], r.Seq)
		},
		Read: func(_ context.Context, r *chatpb.Read) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if r.UserId != owner.id {
				d.read[r.ConversationId] = max(d.read[r.ConversationId], r.Seq)
			}
		},
		Reset: func(context.Context, client.Reset) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.inbox = nil
		},
		Held:  func(_ context.Context, h *chatpb.Held) { d.held <- h },
		Ended: func(_ context.Context, err error) { d.ended <- err },
		Presence: func(_ context.Context, p *socialpb.Presence) {
			for _, one := range p.States {
				d.friends <- one
			}
		},
	}
	d.rooms.handle(&d.options.Handler)
	return d, d.connect(ctx)
}

func emptyDevice(owner *person, name string) *device {
	return &device{
		name: name, owner: owner, sent: map[string]*client.Pending{}, first: map[string]*chatpb.SendReply{},
		texts: map[string]client.Outgoing{}, entries: make(chan *client.Entry, 10_000), held: make(chan *chatpb.Held, 1000), friends: make(chan *socialpb.PresenceState, 1000), own: map[string]bool{}, receipts: map[string]int64{}, read: map[string]int64{},
		rooms: newRooms(),
	}
}

// take keeps what a person would see arrive: not what this device sent itself.
func (d *device) take(e *client.Entry) {
	d.mu.Lock()
	own := e.Mine && d.own[e.ClientId]
	d.inboxSeq = e.InboxSeq
	d.inbox = append(d.inbox, e)
	d.mu.Unlock()
	if !own {
		d.entries <- e
	}
}

// heard is how far a conversation is known to be delivered.
func (d *device) heard(conversation string) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.receipts[conversation]
}

// position is how far the device has taken its inbox.
func (d *device) position() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inboxSeq
}

// connect opens the session and waits until it has passed Auth.
func (d *device) connect(ctx context.Context) (err error) {
	if d.requests != nil {
		return nil
	}
	d.ended = make(chan error, 1)
	if d.session, err = client.Open(ctx, d.options); err != nil {
		return err
	}
	d.Actions = d.session.Actions
	if err := d.session.Ready(ctx); err != nil {
		return fmt.Errorf("connect %s@%s: %w", d.owner.name, d.name, err)
	}
	return nil
}

// disconnect ends the session; token and cursor stay.
func (d *device) disconnect() error {
	if d.requests != nil {
		d.requests.http.CloseIdleConnections()
	}
	if d.session == nil {
		return nil
	}
	err := d.session.Close()
	d.session = nil
	if errors.Is(err, client.ErrClosed) {
		return nil
	}
	return err
}

// destination is whom, or what group, a message is for.
type destination struct {
	user  int64
	group int64
}

func (to destination) outgoing(text, clientID string) client.Outgoing {
	out := client.Outgoing{To: to.user, Text: text, ClientID: clientID}
	if to.group != 0 {
		out.Conversation = groupConversation(to.group)
	}
	return out
}

// send queues a text for a person, or a group.
func (d *device) send(ctx context.Context, to destination, text, as string) (err error) {
	out := to.outgoing(text, d.owner.name+"-"+as)
	d.mu.Lock()
	d.own[out.ClientID] = true
	d.mu.Unlock()
	d.texts[as] = out
	if d.requests != nil {
		d.first[as], err = d.resend(ctx, out)
		return err
	}
	d.sent[as], err = d.session.Send(ctx, out)
	return err
}

// resend sends a message again by hand, over this device's own connection.
func (d *device) resend(ctx context.Context, out client.Outgoing) (*chatpb.SendReply, error) {
	rep := new(chatpb.SendReply)
	err := d.call(ctx, idl.ActionMessage, &chatpb.SendRequest{
		ClientId: out.ClientID, ToUserId: out.To, ConversationId: out.Conversation, Text: out.Text}, rep)
	return rep, err
}

package client

import (
	"context"
	"time"

	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/roompb"
	"freeim/idl/kitex_gen/socialpb"
	"freeim/idl/kitex_gen/wirepb"
)

// Handler gets the events of a Session, one at a time, in order, from one
// goroutine. A nil function drops its events. ctx ends when Close is called.
// A function may take as long as it needs and may use the session (Send, Call,
// Pending.Wait …), except Close, which waits for it: use `go s.Close()`.
type Handler struct {
	// Message gets every entry of this person's inbox once and in inbox order,
	// own messages too, whichever device sent them. When it returns nil, the
	// application has the message: the cursor moves on and the message is
	// acknowledged. An error ends the session with it; the entry comes again
	// after the next Open.
	Message func(ctx context.Context, e *Entry) error
	// Delivered tells that a device of r.UserId holds r.ConversationId up to
	// r.Seq. Of several that wait, only the newest of a conversation is told.
	Delivered func(ctx context.Context, r *chatpb.Receipt)
	// Read tells that r.UserId has read r.ConversationId up to r.Seq: this person, by another device,
	// or the other person of a chat. Of several that wait, only the newest of a conversation is told.
	Read func(ctx context.Context, r *chatpb.Read)
	// Typing tells that somebody types, or stopped. When the application is slow, some are dropped.
	Typing func(ctx context.Context, p *chatpb.Typing)
	// Presence tells which of the friends that Session.Presence asked for came or went. When the
	// application is slow, some are dropped: asking again gives how all are.
	Presence func(ctx context.Context, p *socialpb.Presence)
	// Held tells that a message of this person's waits for a decision, sent by another
	// device, or what was decided about one, of any device. Without a connection, or when
	// the application is slow, some are not told: Session.Held lists those that wait, and
	// for a day those that were denied.
	Held func(ctx context.Context, h *chatpb.Held)
	// Connected tells that Auth was passed, the first time and each time after.
	Connected func(ctx context.Context, who *accountpb.AuthReply)
	// Disconnected tells that the connection has ended or could not be made.
	Disconnected func(ctx context.Context, d Disconnect)
	// RoomMessage gets every message of the rooms that the session is in (Join),
	// once: from history when it came back, else as it is pushed. Important kinds
	// overtake text; among themselves both come in the order of their seqs. One whose Seq
	// is 0 is in no log: it comes as it is pushed, or not at all.
	RoomMessage func(ctx context.Context, m *RoomEntry)
	// RoomSkip tells which seqs of a room were not given to RoomMessage and will not
	// be: the room was too busy, the application too slow (ROOM_SKIP_SLOW), or they
	// were lost. They are in the room's history.
	RoomSkip func(ctx context.Context, p *roompb.RoomSkip)
	// RoomLeft tells that the session is not in a room any more.
	RoomLeft func(ctx context.Context, l RoomLeft)
	// RoomInfo tells a room's size now and then; of several that wait, the newest.
	RoomInfo func(ctx context.Context, info *roompb.RoomInfo)
	// RoomPresence tells who came into a small room and who went. When the
	// application is slow, some are dropped: RoomMembers has them all.
	RoomPresence func(ctx context.Context, p *roompb.RoomPresence)
	// Notice gets what the server tells this person beside messages, as it comes. None
	// is kept: not those of the time without a connection, and of those that wait for a
	// slow application the newest are dropped beyond Options.Queue.
	Notice func(ctx context.Context, n *wirepb.Notice)
	// Reset tells that the cursor meant nothing to the server any more: the
	// entries that follow start at the oldest one kept.
	Reset func(ctx context.Context, r Reset)
	// Ended is the last event: the session is over by itself, not by Close. err
	// is a *Quit whose Reconnect is false (kicked, signed out, …), a *Refusal of
	// Auth, or what Message returned.
	Ended func(ctx context.Context, err error)
}

// Entry is an inbox entry.
type Entry struct {
	*chatpb.Message
	InboxSeq int64 // dense in this person's inbox
	Mine     bool  // this person sent it
}

// Disconnect is why there is no connection, and for how long.
type Disconnect struct {
	Err error
	// Retry is when the session will try again. Zero when it will not; then
	// Ended follows.
	Retry time.Duration
}

// Reset is why the inbox starts over.
type Reset struct {
	Reason ResetReason
	Epoch  string // of the timelines from now on
	Floor  int64  // the oldest inbox_seq that the server keeps; 0 when not known yet
}

// ResetReason is why a cursor was forgotten.
type ResetReason int

const (
	// ResetEpoch: the server's timelines were reset or restored. Messages known
	// already may come again, with the same Id.
	ResetEpoch ResetReason = iota + 1
	// ResetTrimmed: entries after the cursor are not in the inbox any more;
	// History may still have them.
	ResetTrimmed
	// ResetUser: the cursor belongs to another person.
	ResetUser
)

func (r ResetReason) String() string {
	switch r {
	case ResetEpoch:
		return "epoch"
	case ResetTrimmed:
		return "trimmed"
	case ResetUser:
		return "user"
	}
	return "unknown"
}

// eventKind is which function of Handler an event belongs to.
type eventKind int

const (
	messageEvent eventKind = iota
	deliveredEvent
	connectedEvent
	disconnectedEvent
	resetEvent
	endedEvent
	receiptsEvent // not told: the receipts up to head were
	roomMessageEvent
	roomSkipEvent
	roomLeftEvent
	roomInfoEvent
	roomPresenceEvent
	noticeEvent
	heldEvent
	readEvent
	typingEvent
	friendsEvent
)

// event is what the run loop hands to the dispatcher, and gets back when the
// handler has had it. Which fields are set depends on kind.
type event struct {
	kind    eventKind
	entry   *Entry
	known   bool // the entry was told before, under another inbox_seq
	receipt *chatpb.Receipt
	who     *accountpb.AuthReply
	cut     Disconnect
	reset   Reset
	err     error

	roomEntry *RoomEntry
	skip      *roompb.RoomSkip
	left      RoomLeft
	info      *roompb.RoomInfo
	presence  *roompb.RoomPresence
	notice    *wirepb.Notice
	held      *chatpb.Held
	read      *chatpb.Read
	typing    *chatpb.Typing
	friends   *socialpb.Presence

	epoch string // that the positions of messageEvent and receiptsEvent belong to
	user  int64  // whose they are
	head  int64  // of receiptsEvent
}

// tell calls the handler's function for e.
func (h *Handler) tell(ctx context.Context, e *event) error {
	switch {
	case e.kind == messageEvent && h.Message != nil && !e.known:
		return h.Message(ctx, e.entry)
	case e.kind == heldEvent && h.Held != nil:
		h.Held(ctx, e.held)
	case e.kind == deliveredEvent && h.Delivered != nil:
		h.Delivered(ctx, e.receipt)
	case e.kind == readEvent && h.Read != nil:
		h.Read(ctx, e.read)
	case e.kind == typingEvent && h.Typing != nil:
		h.Typing(ctx, e.typing)
	case e.kind == friendsEvent && h.Presence != nil:
		h.Presence(ctx, e.friends)
	case e.kind == connectedEvent && h.Connected != nil:
		h.Connected(ctx, e.who)
	case e.kind == disconnectedEvent && h.Disconnected != nil:
		h.Disconnected(ctx, e.cut)
	case e.kind == resetEvent && h.Reset != nil:
		h.Reset(ctx, e.reset)
	case e.kind == endedEvent && h.Ended != nil:
		h.Ended(ctx, e.err)
	case e.kind == noticeEvent && h.Notice != nil:
		h.Notice(ctx, e.notice)
	default:
		h.tellRoom(ctx, e)
	}
	return nil
}

func (h *Handler) tellRoom(ctx context.Context, e *event) {
	switch {
	case e.kind == roomMessageEvent && h.RoomMessage != nil:
		h.RoomMessage(ctx, e.roomEntry)
	case e.kind == roomSkipEvent && h.RoomSkip != nil:
		h.RoomSkip(ctx, e.skip)
	case e.kind == roomLeftEvent && h.RoomLeft != nil:
		h.RoomLeft(ctx, e.left)
	case e.kind == roomInfoEvent && h.RoomInfo != nil:
		h.RoomInfo(ctx, e.info)
	case e.kind == roomPresenceEvent && h.RoomPresence != nil:
		h.RoomPresence(ctx, e.presence)
	}
}

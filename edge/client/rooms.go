package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

const (
	joinedPage = 100              // entries asked for when coming back to a room
	catchPages = 10               // further pages of history before the rest is skipped
	heldPushes = 256              // pushes of a room that wait while it catches up
	joinPause  = time.Second      // before a join that was refused for now is tried again, at first
	joinRest   = 30 * time.Second // and at most
)

// ErrNotInRoom is what SendRoom gives for a room that the session is not in.
var ErrNotInRoom = errors.New("not in the room: Join first")

// JoinRoom says which room to come into, and what to be given of its log.
type JoinRoom struct {
	Room string
	// After is the seq up to which the application knows the room: it gets what
	// comes after it. 0 gives the last entries only.
	After int64
	// Last is how many of the last entries come at first, up to 100; 0: as many as
	// the server likes, -1: none.
	Last int
}

// RoomOutgoing is a message to send to a room.
type RoomOutgoing struct {
	Room string
	Kind roompb.RoomKind // the zero value is text
	Text string
	Data string // of the application
	// ClientID is unique for this person; empty means a random one.
	ClientID string
}

// RoomEntry is a message of a room.
type RoomEntry struct {
	*roompb.RoomMessage
	Mine bool // this person sent it
}

// RoomLeft is why the session is not in a room any more.
type RoomLeft struct {
	Room   string
	Reason roompb.RoomLeftReason // 0 when the server did not let it in again: see Err
	Until  time.Time             // of a ban; zero: for good, or no ban
	Err    error                 // a *Refusal of coming back; nil otherwise
}

// Join comes into a room and stays until Leave or until the server says no: after
// each reconnect the session joins again and is given what it missed. The messages
// of the reply go to Handler.RoomMessage, as all others. When ctx ends first, the
// session does not join.
func (s *Session) Join(ctx context.Context, j JoinRoom) (*roompb.JoinRoomReply, error) {
	r := &room{name: j.Room, ask: j, known: seqSet{through: j.After}, first: make(chan struct{})}
	if !s.post(func() { s.want(r) }) {
		return nil, s.Err()
	}
	select {
	case <-r.first:
		return r.reply, r.err
	case <-s.finished:
		return nil, s.Err()
	case <-ctx.Done():
		s.post(func() { s.goOut(r) })
		return nil, fmt.Errorf("not joined: %w", ctx.Err())
	}
}

// goOut forgets a room whose join may be under way, and takes the join back.
func (s *Session) goOut(r *room) {
	if s.rooms[r.name] != r {
		return
	}
	s.forget(r)
	if r.asked || r.joined {
		req, rep := &roompb.LeaveRoomRequest{Room: r.name}, new(roompb.LeaveRoomReply)
		_ = s.request(idl.ActionLeaveRoom, req, rep, func(error) {}) // else it stays in until the connection ends
	}
}

// Leave goes out of a room. Nothing of it is told afterwards, but for what waits
// for the handler already.
func (s *Session) Leave(ctx context.Context, name string) error {
	type place struct {
		known bool
		name  string
		conn  *Client // on which the session is in the room, or soon may be
	}
	found := make(chan place, 1)
	if !s.post(func() {
		r := s.rooms[s.named(name)]
		if r == nil {
			found <- place{}
			return
		}
		s.forget(r)
		if r.asked || r.joined {
			found <- place{true, r.name, s.link.conn}
			return
		}
		found <- place{known: true, name: r.name}
	}) {
		return s.Err()
	}
	switch p := <-found; {
	case !p.known:
		return fmt.Errorf("%q: %w", name, ErrNotInRoom)
	case p.conn != nil:
		req := &roompb.LeaveRoomRequest{Room: p.name}
		if err := p.conn.Call(ctx, idl.ActionLeaveRoom, req, new(roompb.LeaveRoomReply)); err != nil && p.conn.Err() == nil {
			return err
		}
	}
	return nil // with the connection a session leaves all rooms
}

// SendRoom sends a message to a room that the session is in, over as many
// connections as it takes, until it is committed, refused, answered with what makes no
// sense, or ctx ends: then nobody knows, and the same ClientID may be sent again.
func (s *Session) SendRoom(ctx context.Context, m RoomOutgoing) (*roompb.RoomSendReply, error) {
	req := &roompb.RoomSendRequest{Room: m.Room, Kind: m.Kind, Text: m.Text, Data: m.Data, ClientId: cmp.Or(m.ClientID, rand.Text())}
	pauses := backoff{min: joinPause, max: joinRest}
	for tries := 1; ; tries++ {
		conn, err := s.inRoom(ctx, m.Room)
		if err != nil {
			return nil, err
		}
		req.Room = s.named(m.Room)
		rep, err := ask[roompb.RoomSendReply](ctx, conn.Call, idl.ActionRoomMessage, req)
		if err == nil || !sendAgain(err, tries) {
			return rep, err
		}
		r, refused := errors.AsType[*Refusal](err)
		switch {
		case !refused && conn.Err() == nil:
			return nil, err
		case !refused: // inRoom waits for another connection
			continue
		}
		select {
		case <-time.After(pauses.next(r.RetryAfter)):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// sendAgain reports whether a send that failed is to be repeated.
func sendAgain(err error, tries int) bool {
	r, refused := errors.AsType[*Refusal](err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case !refused:
		return true
	}
	switch fateOf(r.Code) {
	case later, signIn:
		return true
	case unclear:
		return tries < maxUnclear
	}
	return false
}

// inRoom is the connection on which the session is in the room; it waits for one.
func (s *Session) inRoom(ctx context.Context, name string) (*Client, error) {
	for {
		s.mu.Lock()
		conn, wanted := s.in[cmp.Or(s.alias[name], name)]
		changed, err := s.changed, s.err
		s.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case !wanted:
			return nil, fmt.Errorf("%q: %w", name, ErrNotInRoom)
		case conn != nil && conn.Err() == nil:
			return conn, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("not in the room %q: %w", name, ctx.Err())
		}
	}
}

// room is one room that the application is in, or wants to be. The run loop owns
// it, but for reply and err, which are final when first is closed.
type room struct {
	name string
	ask  JoinRoom

	first chan struct{} // closed when the first join was answered
	reply *roompb.JoinRoomReply
	err   error

	asked  bool      // a join, or a page of history, is under way
	joined bool      // on this connection
	next   time.Time // no join before
	pauses backoff

	known   seqSet                // told, or declared skipped
	head    int64                 // history is read up to here before pushes are told; 0: they are told
	pages   int                   // of history, for this join
	held    []*roompb.RoomMessage // come meanwhile, or before the answer of a join of a room that one is in
	dropped []span                // not told, since the queue was full
}

// want takes a room in; one of the same name is replaced.
func (s *Session) want(r *room) {
	if s.ending() {
		return
	}
	if old := s.rooms[s.named(r.name)]; old != nil {
		s.forget(old)
	}
	r.pauses = backoff{min: joinPause, max: joinRest}
	s.rooms[r.name] = r
	s.show(r.name, nil)
}

// forget takes a room out; nil is none.
func (s *Session) forget(r *room) {
	if r == nil || s.rooms[r.name] != r {
		return
	}
	delete(s.rooms, r.name)
	s.mu.Lock()
	delete(s.in, r.name)
	maps.DeleteFunc(s.alias, func(_, name string) bool { return name == r.name })
	s.mu.Unlock()
	r.settle(nil, fmt.Errorf("%q: %w", r.name, ErrNotInRoom))
}

func (r *room) settle(rep *roompb.JoinRoomReply, err error) {
	select {
	case <-r.first:
	default:
		r.reply, r.err = rep, err
		close(r.first)
	}
}

// show tells SendRoom on which connection the session is in the room.
func (s *Session) show(name string, conn *Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in[name] = conn
	close(s.changed)
	s.changed = make(chan struct{})
}

// cutRooms is the end of a connection: all rooms are to be joined again.
func (s *Session) cutRooms() {
	for name, r := range s.rooms {
		r.asked, r.joined, r.head, r.held = false, false, 0, nil
		r.next = time.Time{}
		s.show(name, nil)
	}
}

// resetRooms forgets the cursors: the logs start over.
func (s *Session) resetRooms() {
	for _, r := range s.rooms {
		r.known, r.dropped = seqSet{}, nil
	}
}

// roomsDue joins what is not joined, and tells of what was dropped when there is
// room in the queue.
func (s *Session) roomsDue(now time.Time) (next time.Time) {
	wake := wakeUp{now: now}
	for _, r := range s.rooms {
		s.tellDropped(r)
		switch {
		case r.asked || s.ending():
		case r.joined && r.head > 0:
			wake.at(s.catchUp(r, now))
		case r.joined:
		case now.Before(r.next):
			wake.at(r.next)
		default:
			wake.at(s.join(r, now))
		}
	}
	return wake.next
}

func (s *Session) join(r *room, now time.Time) time.Time {
	req := &roompb.JoinRoomRequest{Room: r.name, AfterSeq: r.known.through, Last: int32(r.ask.Last)}
	if r.known.through > 0 {
		req.Last = joinedPage
	}
	rep := new(roompb.JoinRoomReply)
	switch err := s.request(idl.ActionJoinRoom, req, rep, func(err error) { s.joinAnswered(r, rep, err) }); {
	case errors.Is(err, errNoRoom), s.link.conn.Err() != nil:
		return now.Add(soon)
	case err != nil: // it cannot be sent at all
		s.forgetWith(r, err)
		return time.Time{}
	}
	r.asked = true
	return time.Time{}
}

// joinAnswered is the answer to a join.
func (s *Session) joinAnswered(r *room, rep *roompb.JoinRoomReply, err error) {
	r.asked = false
	if s.rooms[r.name] != r {
		return // left meanwhile: Leave's own request follows it
	}
	if err != nil {
		s.notJoined(r, err)
		return
	}
	s.rename(r, cmp.Or(rep.GetInfo().GetRoom(), r.name))
	r.joined, r.pauses.tries, r.pages = true, 0, 0
	first := rep.Head + 1
	if len(rep.Messages) > 0 {
		first = rep.Messages[0].Seq
	}
	if r.known.through > 0 && rep.HasMore { // what lies between comes first
		r.held = append(rep.Messages, r.held...)
		r.head = first - 1
	} else {
		if r.known.through == 0 { // what lies before the entries was not asked for
			r.known.add(1, first-1)
		}
		s.caught(r, rep.Messages)
		r.head = rep.Head
		s.caughtUp(r)
	}
	r.settle(rep, nil)
	s.show(r.name, s.link.conn)
}

// rename files r under the name that the server gives it.
func (s *Session) rename(r *room, name string) {
	if name == r.name {
		return
	}
	delete(s.rooms, r.name)
	s.forget(s.rooms[name])
	s.mu.Lock()
	delete(s.in, r.name)
	s.alias[r.name] = name
	s.mu.Unlock()
	r.name = name
	s.rooms[name] = r
}

// named gives the server's name of a room that was joined under name.
func (s *Session) named(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.alias[name], name)
}

func (s *Session) notJoined(r *room, err error) {
	refused, ok := errors.AsType[*Refusal](err)
	if !ok {
		s.link.conn.end(err)
		return
	}
	if fateOf(refused.Code) == final {
		s.forgetWith(r, err)
		return
	}
	r.next = time.Now().Add(r.pauses.next(refused.RetryAfter))
	s.authAgain(err)
}

// forgetWith ends a room for good: whoever waits for the join hears why, or else
// the handler.
func (s *Session) forgetWith(r *room, err error) {
	select {
	case <-r.first:
		s.events.add(&event{kind: roomLeftEvent, left: RoomLeft{Room: r.name, Err: err}})
	default:
		r.settle(nil, err)
	}
	s.forget(r)
}

// catchUp asks for a page of what was missed. After enough of them the rest is
// skipped.
func (s *Session) catchUp(r *room, now time.Time) time.Time {
	if r.pages == catchPages {
		s.caughtUp(r)
		return time.Time{}
	}
	req := &roompb.RoomHistoryRequest{Room: r.name, AfterSeq: r.known.through, Limit: joinedPage}
	rep := new(roompb.RoomHistoryReply)
	err := s.request(idl.ActionRoomHistory, req, rep, func(err error) {
		r.asked = false
		switch {
		case s.rooms[r.name] != r || !r.joined:
		case err != nil:
			s.opts.Log.Warn("history of a room refused", "room", r.name, "err", err)
			s.caughtUp(r)
		default:
			s.caught(r, rep.Messages)
			if !rep.HasMore || r.known.through >= r.head {
				s.caughtUp(r)
			}
		}
	})
	if err != nil {
		return now.Add(soon)
	}
	r.asked = true
	r.pages++
	return time.Time{}
}

// caught tells a page of the log, oldest first. What lies before and between its
// entries is not there.
func (s *Session) caught(r *room, page []*roompb.RoomMessage) {
	for _, m := range page {
		if m != nil && m.Seq > r.known.through {
			s.lost(r, r.known.through+1, m.Seq-1, roompb.RoomSkipReason_ROOM_SKIP_LOST)
			s.tellRoom(r, m)
		}
	}
}

// caughtUp gives up what is still missing of the log, and goes over to pushes.
func (s *Session) caughtUp(r *room) {
	s.lost(r, r.known.through+1, r.head, roompb.RoomSkipReason_ROOM_SKIP_SLOW)
	r.head = 0
	held := r.held
	r.held = nil
	for _, m := range held {
		s.tellRoom(r, m)
	}
}

// roomPushed takes a message that the server pushed.
func (s *Session) roomPushed(m *roompb.RoomMessage) {
	r := s.rooms[m.Room]
	switch {
	case r == nil || !r.joined && !r.asked:
	case m.Seq == 0:
		s.tellUnplaced(m)
	case r.joined && r.head == 0:
		s.tellRoom(r, m)
	case len(r.held) < heldPushes:
		r.held = append(r.held, m)
	default:
		s.lost(r, m.Seq, m.Seq, roompb.RoomSkipReason_ROOM_SKIP_SLOW)
	}
}

// roomSkipped takes the server's word for what it will not push.
func (s *Session) roomSkipped(p *roompb.RoomSkip) {
	r := s.rooms[p.Room]
	if r == nil {
		return
	}
	for _, g := range p.Ranges {
		if g != nil {
			s.lost(r, g.From, g.To, p.Reason)
		}
	}
}

// tellRoom hands a message to the application, once.
func (s *Session) tellRoom(r *room, m *roompb.RoomMessage) {
	if r.known.has(m.Seq) {
		return
	}
	s.settleSeqs(r, m.Seq, m.Seq)
	if s.events.crowd >= s.events.max {
		r.dropped = (&seqSet{above: r.dropped}).with(m.Seq)
		return
	}
	s.events.add(&event{kind: roomMessageEvent, roomEntry: &RoomEntry{RoomMessage: m, Mine: m.SenderId == s.inbox.user}})
}

// tellUnplaced hands a message that is in no log to the application, if there is room.
func (s *Session) tellUnplaced(m *roompb.RoomMessage) {
	if s.events.crowd < s.events.max {
		s.events.add(&event{kind: roomMessageEvent, roomEntry: &RoomEntry{RoomMessage: m, Mine: m.SenderId == s.inbox.user}})
	}
}

// with is the set's spans with seq among them.
func (s *seqSet) with(seq int64) []span {
	s.join(span{seq, seq})
	return s.above
}

// lost declares what of from to to is not settled as skipped.
func (s *Session) lost(r *room, from, to int64, why roompb.RoomSkipReason) {
	holes := r.known.missing(from, to)
	if len(holes) == 0 {
		return
	}
	s.tellSkip(r, holes, why)
	s.settleSeqs(r, from, to)
}

func (s *Session) settleSeqs(r *room, from, to int64) {
	if hole := r.known.add(from, to); hole.to > 0 {
		s.tellSkip(r, []span{hole}, roompb.RoomSkipReason_ROOM_SKIP_LOST)
	}
}

// tellDropped tells what the full queue has cost, when it has room again.
func (s *Session) tellDropped(r *room) {
	if len(r.dropped) > 0 && s.events.crowd < s.events.max {
		s.tellSkip(r, r.dropped, roompb.RoomSkipReason_ROOM_SKIP_SLOW)
		r.dropped = nil
	}
}

func (s *Session) tellSkip(r *room, holes []span, why roompb.RoomSkipReason) {
	p := &roompb.RoomSkip{Room: r.name, Reason: why}
	for _, h := range holes {
		p.Ranges = append(p.Ranges, &roompb.SeqRange{From: h.from, To: h.to})
	}
	s.events.addSkip(p)
}

// roomLeft is the server's word that the session is out.
func (s *Session) roomLeft(p *roompb.RoomLeft) {
	r := s.rooms[p.Room]
	if r == nil {
		return
	}
	if p.Reason == roompb.RoomLeftReason_ROOM_LEFT_SLOW { // join again, with what is known
		r.joined, r.head, r.held = false, 0, nil
		r.next = time.Now().Add(r.pauses.next(0))
		s.show(r.name, nil)
		return
	}
	left := RoomLeft{Room: p.Room, Reason: p.Reason}
	if p.UntilMs > 0 {
		left.Until = time.UnixMilli(p.UntilMs)
	}
	s.events.add(&event{kind: roomLeftEvent, left: left})
	s.forget(r)
}

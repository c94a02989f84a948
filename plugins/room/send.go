package room

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// validateSend checks a request by itself, before the store or a rule sees it.
func (p *Room) validateSend(_ *plugin.Call, req *roompb.RoomSendRequest) (err error) {
	if req.Room, err = canonical(req.Room); err != nil {
		return err
	}
	if err := plugin.ValidateClientID(req.ClientId); err != nil {
		return err
	}
	least := 0
	switch req.Kind {
	case roompb.RoomKind_ROOM_KIND_TEXT, roompb.RoomKind_ROOM_KIND_ANNOUNCEMENT:
		least = 1
	case roompb.RoomKind_ROOM_KIND_GIFT:
	case roompb.RoomKind_ROOM_KIND_MODERATION:
		return im.Invalid("kind", "only the server sends that")
	default:
		return im.Invalid("kind", "%d is not known", req.Kind)
	}
	if err := im.CheckText("text", req.Text, least, p.config.MaxText); err != nil {
		return err
	}
	if len(req.Data) > p.config.MaxData {
		return im.Invalid("data", "must have at most %d octets, has %d", p.config.MaxData, len(req.Data))
	}
	return nil
}

// answered gives the reply of the message that was committed under the same client
// ID: whatever the rules say by now, a resend gets what the send got.
func (p *Room) answered(ctx context.Context, call *plugin.Call, req *roompb.RoomSendRequest) (*roompb.RoomSendReply, error) {
	call.Digest = digest(req)
	committed, found, err := plugin.Resent(ctx, p.timelines, call, req.ClientId)
	if err != nil || !found {
		return nil, err
	}
	return sent(committed, req.Room)
}

// digest identifies what the sender asked for, however it was encoded.
func digest(req *roompb.RoomSendRequest) [32]byte {
	b := append(make([]byte, 0, 1024), "room"...) // on the stack; only longer texts need more
	b = binary.BigEndian.AppendUint32(b, uint32(req.Kind))
	for _, text := range []string{req.Room, req.Text, req.Data} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
		b = append(b, text...)
	}
	return sha256.Sum256(b)
}

// permitSend refuses who may not speak, or not now, before the rules are asked.
func (p *Room) permitSend(ctx context.Context, call *plugin.Call, req *roompb.RoomSendRequest) error {
	if !call.In(conversation(req.Room)) {
		return outside()
	}
	s, err := p.mayWrite(ctx, key{req.Room, call.User}, req.Kind)
	if err != nil {
		return err
	}
	return p.keepPace(ctx, s.room, p.role(s, call.User), call.User, req.Kind)
}

// mayWrite refuses somebody who may not write to a room, whether or not he is in it.
func (p *Room) mayWrite(ctx context.Context, k key, kind roompb.RoomKind) (state, error) {
	s, err := p.known(ctx, k)
	if err != nil {
		return s, err
	}
	role, now := p.role(s, k.user), p.host.Now().UnixMilli()
	switch {
	case s.room.closed:
		return s, closed()
	case holds(s.person.bannedUntilMs, now) && !p.operator(k.user):
		return s, denied("room", "banned from the room")
	case holds(s.person.mutedUntilMs, now) && !p.operator(k.user):
		return s, denied("room", "muted in the room")
	case role >= roompb.RoomRole_ROOM_ROLE_ADMIN:
	case kind == roompb.RoomKind_ROOM_KIND_ANNOUNCEMENT:
		return s, denied("kind", "only owner and admins announce")
	case s.room.muted:
		return s, denied("room", "only owner and admins speak now")
	}
	return s, nil
}

// keepPace refuses what comes too fast: of one person, by the room's slow mode, and
// chat of all together where the room's rule for overload is to slow the senders.
// Owner and admins have only the first.
func (p *Room) keepPace(ctx context.Context, r room, role roompb.RoomRole, u im.UserID, kind roompb.RoomKind) error {
	if err := p.keepPaceOf(r.name, u); err != nil || role >= roompb.RoomRole_ROOM_ROLE_ADMIN {
		return err
	}
	slow, turn, now := time.Duration(r.slowModeMs)*time.Millisecond, key{r.name, u}, p.host.Now()
	if slow > 0 && !p.owed.is(turn, now) {
		if wait, cut := p.paces.wait(turn, slow, 1); wait > 0 { // nothing of the room's is used up for it
			if cut { // and the cores together are to wait no longer either
				wait = max(wait, p.slow.TakeAt(ctx, 1, slow, turn.limited()))
			}
			return limited(wait, slowMode)
		}
	}
	policy := p.policy(ctx, r)
	if before, counts := counted[kind]; counts && policy.Overload == int32(roompb.RoomOverload_ROOM_OVERLOAD_SLOW) && policy.LowPerSecond > 0 {
		if wait := p.take(ctx, p.overload, key{room: before + r.name}, policy.LowPerSecond, time.Second); wait > 0 {
			return limited(wait, "the room is too busy")
		}
	}
	if slow > 0 && !p.owed.take(turn, now) {
		if wait := p.take(ctx, p.slow, turn, 1, slow); wait > 0 {
			return limited(wait, slowMode)
		}
	}
	return nil
}

const slowMode = "the room is in slow mode"

// counted are the kinds that a room that slows its senders counts, each by itself,
// with what stands before the room's name then: no name begins so.
var counted = map[roompb.RoomKind]string{roompb.RoomKind_ROOM_KIND_TEXT: "", roompb.RoomKind_ROOM_KIND_GIFT: " "}

// owe gives a turn of slow mode back, for a message that was not committed.
func (p *Room) owe(name string, u im.UserID) {
	s, known := p.states.last(key{name, u})
	if known && s.room.slowModeMs > 0 && p.role(s, u) < roompb.RoomRole_ROOM_ROLE_ADMIN {
		p.owed.give(key{name, u}, p.host.Now().Add(time.Duration(s.room.slowModeMs)*time.Millisecond))
	}
}

// looking is what keepPaceOf counts questions about rooms by.
const looking = " "

// keepPaceOf bounds what one person does, by what it is done to: a room, or a name
// that no room can have.
func (p *Room) keepPaceOf(name string, u im.UserID) error {
	n := p.config.SendsPerSecond
	if n == 0 {
		return nil
	}
	if wait := p.sends.take(key{name, u}, time.Second/time.Duration(n), 5*n); wait > 0 {
		return limited(wait, "too much at once")
	}
	return nil
}

// take counts one event of k at n in each period, over all cores. What this core alone
// has let through so often already is refused without asking.
func (p *Room) take(ctx context.Context, l plugin.Limiter, k key, n int, per time.Duration) time.Duration {
	if wait := p.paces.take(k, per/time.Duration(n), n); wait > 0 {
		return wait
	}
	return l.TakeAt(ctx, n, per, k.limited())
}

// limited is what a Limiter counts the key by.
func (k key) limited() string { return k.user.String() + " " + k.room }

// kinds are what the rules know of a message.
var kinds = map[roompb.RoomKind]string{
	roompb.RoomKind_ROOM_KIND_TEXT: "text", roompb.RoomKind_ROOM_KIND_GIFT: "gift", roompb.RoomKind_ROOM_KIND_ANNOUNCEMENT: "announcement",
}

// reviewed shows the rules what they may judge and rewrite.
func reviewed(_ *plugin.Call, req *roompb.RoomSendRequest) plugin.Reviewed {
	return plugin.Reviewed{Conversation: conversation(req.Room), Kind: kinds[req.Kind], Text: &req.Text}
}

// send commits a message, which every member gets by broadcast, the sender too; only he
// gets it, by a push, if the rules shadow it.
func (p *Room) send(ctx context.Context, call *plugin.Call, req *roompb.RoomSendRequest) (rep *roompb.RoomSendReply, err error) {
	defer func() {
		if err != nil {
			p.owe(req.Room, call.User)
		}
	}()
	room, err := p.destination(ctx, call, req)
	if err != nil {
		return nil, err
	}
	nickname, _, err := p.people.Nickname(ctx, call.User)
	if err != nil {
		return nil, err
	}
	log, tell, event := conversation(room), p.tell, eventMessage
	content := roompb.RoomContent{Kind: req.Kind, Text: req.Text, Data: req.Data, Nickname: nickname, Rewritten: call.Rewritten}
	if call.Shadowed {
		end, err := p.timelines.Log(ctx, log, 0, 0)
		if err != nil {
			return nil, plugin.Stored(ctx, err)
		}
		content.ShadowSeq = end.Head + 1
		log, tell, event = log.Shadow(call.User), p.tellSender, ""
	}
	body, err := content.Marshal(nil)
	if err != nil {
		return nil, err
	}
	committed, err := p.commit(ctx, event, timeline.Draft{
		Conversation: log, Sender: call.User, ClientID: req.ClientId, Digest: call.Digest, Body: body, OnCommit: tell,
	})
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return sent(committed, req.Room)
}

// destination is the room that a message goes to: the one that it was sent to, unless the
// rules send it elsewhere. There its sender need not be, but must be allowed to write.
func (p *Room) destination(ctx context.Context, call *plugin.Call, req *roompb.RoomSendRequest) (string, error) {
	if call.Target == nil || call.Target.Room == req.Room {
		return req.Room, nil
	}
	name, err := canonical(call.Target.Room)
	if err == nil {
		_, err = p.mayWrite(ctx, key{name, call.User}, req.Kind)
	}
	if code := im.CodeOf(err); err != nil && (code == idl.CodeInvalidArgument || code == idl.CodeNotFound) {
		return "", fmt.Errorf("the rules sent a message to the target %s: %v", call.Target.Name, err)
	}
	return name, err
}

// sent is the answer to the sender of a committed message, which he sent to a room.
func sent(done timeline.Committed, asked string) (*roompb.RoomSendReply, error) {
	var content roompb.RoomContent
	if err := content.Unmarshal(done.Body); err != nil {
		return nil, fmt.Errorf("read message %s: %w", done.ID, err)
	}
	rep := &roompb.RoomSendReply{
		MessageId: done.ID.String(), Seq: done.Seq, TimeMs: done.Time.UnixMilli(), Duplicate: done.Duplicate, Rewritten: content.Rewritten,
	}
	if content.Rewritten {
		rep.Text = content.Text
	}
	c := done.Conversation
	if of, shadowed := c.Shadowed(); shadowed {
		c, rep.Seq = of, content.ShadowSeq
	}
	if name := nameOf(c); name != asked {
		rep.Room = name
	}
	return rep, nil
}

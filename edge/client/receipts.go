package client

import "freeim/idl/kitex_gen/chatpb"

// receiptPushed takes a receipt that the server pushed. When the queue is full
// it is let go: Sync has it.
func (s *Session) receiptPushed(r *chatpb.Receipt) {
	if s.events.room() == 0 {
		s.inbox.behind = true
		return
	}
	s.received(r)
}

// readPushed is receiptPushed for what somebody has read, which may be told as delivered too.
func (s *Session) readPushed(r *chatpb.Read) {
	if s.events.room() < 2 {
		s.inbox.behind = true
		return
	}
	s.read(r)
}

// read takes a position up to where somebody has read. Whoever has read it has received it too, whether he said so or not.
func (s *Session) read(r *chatpb.Read) {
	s.received(&chatpb.Receipt{ConversationId: r.ConversationId, UserId: r.UserId, Seq: r.Seq})
	s.events.addRead(r)
}

// receiptsSynced takes the receipts of a last page, all of them: the server
// bounds them. Their cursor is stored when they were told.
func (s *Session) receiptsSynced(rep *chatpb.SyncReply) {
	in := &s.inbox
	for _, r := range rep.Receipts {
		s.received(r)
	}
	for _, r := range rep.Reads {
		s.read(r)
	}
	in.receipts = rep.ReceiptsHead
	s.events.add(&event{kind: receiptsEvent, epoch: in.epoch, user: in.user, head: in.receipts})
}

// received takes a receipt that moves a position forward.
func (s *Session) received(r *chatpb.Receipt) {
	in := &s.inbox
	if r.UserId == in.user || r.Seq <= in.delivered[r.ConversationId][r.UserId] {
		return
	}
	in.remember(r)
	s.outbox.delivered(r.ConversationId, r.Seq)
	s.events.addReceipt(r)
}

func (in *inbox) remember(r *chatpb.Receipt) {
	people := in.delivered[r.ConversationId]
	if people == nil {
		in.forgetOne()
		people = make(map[int64]int64)
		in.delivered[r.ConversationId] = people
	}
	people[r.UserId] = r.Seq
}

// forgetOne makes room for a conversation. Any may go: its receipts are told
// twice at worst.
func (in *inbox) forgetOne() {
	if len(in.delivered) < knownReceipts {
		return
	}
	for old := range in.delivered {
		delete(in.delivered, old)
		return
	}
}

// reached is how far anybody else holds a conversation.
func (in *inbox) reached(conversation string) int64 {
	var most int64
	for _, seq := range in.delivered[conversation] {
		most = max(most, seq)
	}
	return most
}

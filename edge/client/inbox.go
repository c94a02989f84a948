package client

import (
	"maps"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
)

const (
	pageSize      = 100             // entries asked for by one Sync, at most
	patience      = time.Second     // how long a gap may wait for an own send's answer to fill it
	syncRetry     = 2 * time.Second // after a Sync that failed without advice
	knownIDs      = 1024            // message IDs kept against duplicates
	knownReceipts = 4096            // conversations whose receipts are kept against repetition
)

// inbox is where the session stands in the person's inbox: what was put into the
// event queue, which may be ahead of what the handler has taken. The run loop
// owns it. Source: idl/README.md, The life of a session.
type inbox struct {
	user     int64
	epoch    string
	head     int64 // everything up to this inbox_seq is in the queue or beyond
	receipts int64 // the cursor of receipts

	behind  bool // entries or receipts may be missing: Sync
	syncing bool
	syncAt  time.Time // no Sync before

	// ahead holds pushes beyond a gap, by inbox_seq; at most the queue's size,
	// others are let go and come with Sync.
	ahead    map[int64]*Entry
	gapSince time.Time        // when ahead stopped being empty
	asked    map[int64]*Entry // what was ahead when the sync under way was asked for

	ids       idWindow
	delivered map[string]map[int64]int64 // newest receipts, by conversation (at most knownReceipts) and person
}

func newInbox(c Cursor) inbox {
	return inbox{
		user: c.User, epoch: c.Epoch, head: c.InboxSeq, receipts: c.ReceiptsHead,
		ahead: make(map[int64]*Entry), delivered: make(map[string]map[int64]int64),
	}
}

// resume compares what Auth said with the cursor. It always syncs once, since
// receipts may have been missed although no message was.
func (s *Session) resume(who *accountpb.AuthReply) {
	in := &s.inbox
	if in.user != 0 && in.user != who.UserId {
		in.user = who.UserId
		s.reset(Reset{Reason: ResetUser, Epoch: who.Epoch})
	}
	in.user = who.UserId
	s.enter(who.Epoch, 0)
	in.behind = true
	in.syncAt = time.Time{}
	s.askHeld("")
}

// enter notes the epoch of the timelines; another one than before is a reset.
func (s *Session) enter(epoch string, floor int64) {
	in := &s.inbox
	switch {
	case epoch == in.epoch:
	case in.epoch == "":
		in.epoch = epoch
	default:
		s.reset(Reset{Reason: ResetEpoch, Epoch: epoch, Floor: floor})
	}
}

// reset forgets the cursor and all that was known by it.
func (s *Session) reset(r Reset) {
	in := &s.inbox
	in.epoch, in.head, in.receipts = r.Epoch, 0, 0
	in.ids = idWindow{}
	clear(in.ahead)
	clear(in.delivered)
	s.acks.reset()
	s.resetRooms()
	s.opts.Log.Info("cursor forgotten", "reason", r.Reason, "epoch", r.Epoch)
	s.events.add(&event{kind: resetEvent, reset: r, user: in.user})
}

// pushed takes an entry that the server pushed.
func (s *Session) pushed(e *chatpb.InboxEntry) {
	if e.Message == nil || e.InboxSeq < 1 {
		s.inbox.behind = true
		return
	}
	s.arrived(s.entry(e))
}

func (s *Session) entry(e *chatpb.InboxEntry) *Entry {
	return &Entry{Message: e.Message, InboxSeq: e.InboxSeq, Mine: e.Message.SenderId == s.inbox.user}
}

// arrived takes an entry in any order: the next one, one that is known already,
// or one beyond a gap.
func (s *Session) arrived(e *Entry) {
	in := &s.inbox
	switch {
	case e.InboxSeq <= in.head:
	case e.InboxSeq == in.head+1:
		s.take(e)
		s.takeAhead()
	case len(in.ahead) < s.events.max:
		if len(in.ahead) == 0 {
			in.gapSince = time.Now()
		}
		in.ahead[e.InboxSeq] = e
	default:
		in.behind = true
	}
}

// take puts the next entry into the queue, or lets it go when that is full.
func (s *Session) take(e *Entry) bool {
	in := &s.inbox
	if s.events.room() == 0 {
		in.behind = true
		return false
	}
	in.head = e.InboxSeq
	s.events.add(&event{kind: messageEvent, entry: e, known: in.ids.seen(e.Id), epoch: in.epoch, user: in.user})
	s.foundOwn(e)
	return true
}

// takeAhead takes what a filled gap has set free.
func (s *Session) takeAhead() {
	in := &s.inbox
	s.forgetTaken()
	for e := in.ahead[in.head+1]; e != nil; e = in.ahead[in.head+1] {
		delete(in.ahead, e.InboxSeq)
		if !s.take(e) {
			return
		}
	}
}

// forgetTaken forgets what was ahead and has come otherwise.
func (s *Session) forgetTaken() {
	in := &s.inbox
	maps.DeleteFunc(in.ahead, func(seq int64, _ *Entry) bool { return seq <= in.head })
}

// syncDue asks for a page when something is missing and the queue has room for
// a good part of one.
func (s *Session) syncDue(now time.Time) time.Time {
	in := &s.inbox
	due := s.gapDue(now)
	if in.syncing || s.ending() || !in.behind {
		return due
	}
	room := s.events.room()
	if room < min(pageSize, (s.events.max+1)/2) {
		return due // the dispatcher wakes the loop
	}
	if now.Before(in.syncAt) {
		return in.syncAt
	}
	return s.sync(int32(min(pageSize, room)), now)
}

// gapDue makes a gap that lasts a reason to sync. A gap right after own sends is
// often just their answers being late.
func (s *Session) gapDue(now time.Time) time.Time {
	in := &s.inbox
	if len(in.ahead) == 0 || in.behind || in.syncing {
		return time.Time{}
	}
	if due := in.gapSince.Add(patience); s.outbox.flying > 0 && now.Before(due) {
		return due
	}
	in.behind = true
	return time.Time{}
}

func (s *Session) sync(limit int32, now time.Time) time.Time {
	in := &s.inbox
	req := &chatpb.SyncRequest{AfterSeq: in.head, Limit: limit, Epoch: in.epoch, ReceiptsAfter: in.receipts}
	rep := new(chatpb.SyncReply)
	if err := s.request(idl.ActionSync, req, rep, func(err error) { s.synced(rep, err) }); err != nil {
		return now.Add(soon) // no room among the requests; or the end, which comes by itself
	}
	in.syncing, in.behind, in.asked = true, false, maps.Clone(in.ahead)
	return time.Time{}
}

// synced takes a page.
func (s *Session) synced(rep *chatpb.SyncReply, err error) {
	in := &s.inbox
	asked := in.asked
	in.syncing, in.asked = false, nil
	if err != nil {
		s.syncRefused(err)
		return
	}
	if rep.Epoch != in.epoch {
		s.enter(rep.Epoch, rep.Floor)
	} else if rep.Restarted {
		s.reset(Reset{Reason: ResetTrimmed, Epoch: rep.Epoch, Floor: rep.Floor})
	}
	before := in.head
	if fits := s.page(rep.Entries); fits && !rep.HasMore {
		s.dropUnfounded(asked)
		s.takeAhead()
	} else {
		s.forgetTaken() // what comes next is for the next page to say
	}
	if len(in.ahead) > 0 {
		in.gapSince = time.Now()
	}
	told := in.receipts
	if !rep.HasMore {
		s.receiptsSynced(rep)
	}
	if rep.HasMore || rep.MoreReceipts {
		in.behind = true
		if in.head == before && in.receipts == told { // nothing new, and yet more: do not ask in a circle
			in.syncAt = time.Now().Add(syncRetry)
		}
	}
}

// page takes the entries of a page while there is room. The server's word
// counts: what it leaves out is not there. It reports whether all found room.
func (s *Session) page(entries []*chatpb.InboxEntry) bool {
	for _, e := range entries {
		if e.Message == nil || e.InboxSeq <= s.inbox.head {
			continue
		}
		if !s.take(s.entry(e)) {
			return false
		}
	}
	return true
}

// dropUnfounded lets go of what was ahead before a sync was asked for and is in none of
// its pages, now that all were taken: what is pushed or answered is in the inbox before, so
// its inbox_seq is wrong. It would be a gap for ever, and one day be taken for another
// entry. What came since may be newer than the pages and stays. Should the pages
// themselves have been late, one more sync brings what was let go.
func (s *Session) dropUnfounded(asked map[int64]*Entry) {
	in := &s.inbox
	for seq, e := range asked {
		if seq <= in.head || in.ahead[seq] != e {
			continue
		}
		delete(in.ahead, seq)
		in.behind, in.syncAt = true, time.Now().Add(syncRetry)
		s.opts.Log.Warn("entry let go: the inbox has none of this inbox_seq", "inbox_seq", seq, "head", in.head)
	}
}

func (s *Session) syncRefused(err error) {
	s.opts.Log.Warn("sync refused", "err", err)
	s.inbox.behind = true
	s.inbox.syncAt = time.Now().Add(max(adviceOf(err), syncRetry))
	s.authAgain(err)
}

// idWindow remembers the last knownIDs message IDs.
type idWindow struct {
	set  map[string]struct{}
	ring [knownIDs]string
	next int
}

// seen reports whether id was here before, and remembers it.
func (w *idWindow) seen(id string) bool {
	if _, known := w.set[id]; known || id == "" {
		return known
	}
	if w.set == nil {
		w.set = make(map[string]struct{})
	}
	delete(w.set, w.ring[w.next])
	w.set[id] = struct{}{}
	w.ring[w.next] = id
	w.next = (w.next + 1) % knownIDs
	return false
}

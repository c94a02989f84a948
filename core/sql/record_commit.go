package sql

import (
	"cmp"
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
)

// queueLen is how many writes wait for the next batch; further callers wait for
// room until their ctx ends.
const queueLen = 4096

// A batch ends at maxOps writes, at about maxBatch octets, or at maxRows rows of
// inboxes and receipts: its rows are locked while it is committed.
const (
	maxOps   = 1024
	maxBatch = 1 << 20
	maxRows  = 8192
)

// maxAttempts is how often a batch is tried that others' locks or resends
// thwart.
const maxAttempts = 8

// recordOp is one caller's write on its way through the committer.
type recordOp interface {
	// weigh says how much of a batch the write takes.
	weigh() (octets, rows int)
	// touch names the timelines that the write needs the heads of.
	touch(b *recordBatch)
	// stage assigns IDs and seqs from the heads of b, which it moves on. It may
	// be called again when the batch is tried again. After an error, which is
	// the caller's alone, the heads are as before.
	stage(b *recordBatch, ids *im.IDGenerator) error
	// finish tells the caller: err is nil when the write is durable.
	finish(r *Record, err error)
}

// recordCommitter is the only writer of this record; other cores have theirs.
// It takes everything that is queued, commits it in one transaction, tells
// everybody in order, and starts again; what comes meanwhile is the next batch.
// No timer is involved.
//
// Everything is owned by the goroutine of run.
type recordCommitter struct {
	*Record
	ids       *im.IDGenerator
	doubt     func()
	figures   *recordFigures
	ops       []recordOp
	held      recordOp // taken from the queue, too large for the batch before
	batch     recordBatch
	script    script
	logs      known[im.ConversationID]
	people    known[im.UserID]
	careful   int  // for how many batches more resends are looked for at once
	undecided bool // of some writes of the batch nobody knows whether they were committed
}

func newCommitter(r *Record, o RecordOptions, f *recordFigures) *recordCommitter {
	return &recordCommitter{Record: r, ids: o.IDs, doubt: o.Doubt, figures: f, batch: newRecordBatch(), script: script{limit: r.packet / 4}}
}

// submit queues o and waits until it is finished. A caller that gives up leaves
// its write queued: it may still be committed.
func (r *Record) submit(ctx context.Context, o recordOp, done <-chan error) error {
	if err := r.refusal(ctx); err != nil {
		return err
	}
	select {
	case r.queue <- o:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.closing:
		return timeline.ErrClosed
	}
	return r.await(ctx, done)
}

// await waits for what a goroutine of the record says on done.
func (r *Record) await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ended:
	}
	select {
	case err := <-done: // finished just before the end
		return err
	default:
		return timeline.ErrClosed
	}
}

// run commits until the record closes and the queue is empty.
func (c *recordCommitter) run(ctx context.Context) {
	for {
		first := c.held
		if first == nil {
			select {
			case first = <-c.queue:
			default:
				select {
				case first = <-c.queue:
				case <-c.closing:
					if len(c.queue) == 0 {
						return
					}
					continue
				}
			}
		}
		c.held = nil
		c.gather(first)
		c.commit(ctx)
	}
}

// gather makes a batch of first and of what is queued.
func (c *recordCommitter) gather(first recordOp) {
	clear(c.ops) // let go of the callers
	c.ops = append(c.ops[:0], first)
	octets, rows := first.weigh()
	for len(c.ops) < maxOps {
		select {
		case o := <-c.queue:
			b, n := o.weigh()
			if octets += b; octets > maxBatch {
				c.held = o
				return
			}
			if rows += n; rows > maxRows {
				c.held = o
				return
			}
			c.ops = append(c.ops, o)
		default:
			return
		}
	}
}

// commit commits the batch, within the time that MySQL is given, and when MySQL
// does not answer waits until it does.
func (c *recordCommitter) commit(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, c.patience)
	err := c.settle(limited, c.ops)
	cancel()
	if err != nil {
		c.awaitReturn(ctx, err)
	}
	if c.undecided {
		c.undecided = false
		c.doubt()
	}
}

// settle commits ops and tells their callers. When MySQL refuses what one of them
// says it halves them, so that the others do not fail with it. The error is that
// of the connection, if it failed.
func (c *recordCommitter) settle(ctx context.Context, ops []recordOp) error {
	err := c.persist(ctx, ops)
	if err == nil {
		return nil
	}
	if len(ops) > 1 && (faulty(err) || number(err) == errLockTimeout) && ctx.Err() == nil {
		half := len(ops) / 2
		return errors.Join(c.settle(ctx, ops[:half]), c.settle(ctx, ops[half:]))
	}
	err = fmt.Errorf("message record: %w", inTime(err))
	c.log.Error("a batch of messages was not committed", "writes", len(ops), "err", err)
	c.figures.failed.Add(float64(len(ops)))
	for _, o := range ops {
		o.finish(c.Record, err)
	}
	if number(err) != 0 {
		return nil // MySQL is there
	}
	return err
}

// persist commits ops in one transaction and tells their callers; after an error
// they have been told nothing. What others' locks, resends and stale connections
// thwart is tried again.
func (c *recordCommitter) persist(ctx context.Context, ops []recordOp) error {
	c.batch.begin(ops)
	create := !c.familiar()
	check := c.careful > 0
	if check {
		c.careful--
	}
	started, lost := time.Now(), false
	for attempt := 1; ; attempt++ {
		sent, err := c.try(ctx, create, check)
		if err == nil {
			c.answer()
			c.figures.committed(len(ops), time.Since(started))
			c.remember()
			for i, o := range ops {
				o.finish(c.Record, c.batch.errs[i])
			}
			return nil
		}
		n := number(err)
		c.undecided = c.undecided || sent && n == 0
		switch {
		case attempt == maxAttempts || ctx.Err() != nil:
			return err
		case n == errDeadlock, n == errLockTimeout && attempt < 3:
		case n == errDuplicate:
			check = true // somebody resends, or another core was faster
			c.careful = 16
		case errors.Is(err, errHeadless):
			create = true
		case n == 0 && !sent && !lost:
			lost = true // a connection from before MySQL's restart: nothing was committed
		default:
			return err
		}
		c.figures.retries.Inc()
	}
}

// errHeadless means that a timeline's head, thought to be there, is not.
var errHeadless = errors.New("a timeline has no head")

// try makes one transaction of the batch. After an error nothing was committed
// if sent, of the COMMIT, is false or the error is MySQL's; else that is open.
func (c *recordCommitter) try(ctx context.Context, create, check bool) (sent bool, err error) {
	conn, err := c.writers.Conn(ctx)
	if err != nil {
		return false, err
	}
	if sent, err = c.transact(ctx, conn, create, check); err == nil {
		return sent, conn.Close()
	}
	ended := false
	if number(err) != 0 || errors.Is(err, errHeadless) {
		_, rolling := conn.ExecContext(ctx, "ROLLBACK")
		ended = rolling == nil
	}
	if ended {
		_ = conn.Close() // gives it back
	} else {
		discard(conn)
	}
	return sent, err
}

func (c *recordCommitter) transact(ctx context.Context, conn *stdsql.Conn, create, check bool) (sent bool, err error) {
	b, s := &c.batch, &c.script
	b.reset()
	s.reset()
	s.statement("START TRANSACTION", nil)
	b.lock(s, create)
	b.look(s, check)
	for _, p := range s.all() {
		if err := exchange(ctx, conn, p); err != nil {
			return false, err
		}
	}
	if !b.complete() {
		return false, errHeadless
	}
	for i, o := range b.ops {
		b.errs[i] = o.stage(b, c.ids)
	}
	if b.resent {
		c.careful = 16
	}
	s.reset()
	b.write(s)
	s.statement("COMMIT", nil)
	packets := s.all()
	for i, p := range packets {
		if err := exchange(ctx, conn, p); err != nil {
			return i == len(packets)-1, err
		}
	}
	return true, nil
}

// familiar reports whether the heads of all timelines of the batch are known to
// be there.
func (c *recordCommitter) familiar() bool {
	for _, l := range c.batch.logs {
		if !c.logs.has(l.id) {
			return false
		}
	}
	for _, p := range c.batch.people {
		if !c.people.has(p.id) {
			return false
		}
	}
	return true
}

func (c *recordCommitter) remember() {
	for _, l := range c.batch.logs {
		c.logs.add(l.id)
	}
	for _, p := range c.batch.people {
		c.people.add(p.id)
	}
}

// awaitReturn asks MySQL until it answers. If it does not do so at once, what is
// queued and whatever comes is refused meanwhile.
func (c *recordCommitter) awaitReturn(ctx context.Context, cause error) {
	away := fmt.Errorf("MySQL is away: %w", cause)
	for c.ping(ctx) != nil {
		if c.away.Swap(&away) == nil {
			c.log.Error("MySQL is away: messages are refused", "err", cause)
		}
		c.refuse(away)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-c.closing:
			return
		}
	}
	if c.away.Swap(nil) != nil {
		c.log.Info("MySQL is back")
	}
}

// ping asks once, with a connection that may be new, for a second.
func (c *recordCommitter) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := c.writers.Conn(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "DO 1"); err != nil {
		discard(conn)
		return err
	}
	c.answer()
	return conn.Close()
}

// refuse finishes what is queued with err.
func (c *recordCommitter) refuse(err error) {
	if c.held != nil {
		c.held.finish(c.Record, err)
		c.held = nil
	}
	for {
		select {
		case o := <-c.queue:
			c.figures.failed.Inc()
			o.finish(c.Record, err)
		default:
			return
		}
	}
}

// known remembers names in two generations: what the old one has and nobody
// names is forgotten when the young one is full. The zero value has none.
type known[K comparable] struct{ young, old map[K]struct{} }

// maxKnown is how many names a generation has.
const maxKnown = 100_000

func (k *known[K]) has(name K) bool {
	if _, ok := k.young[name]; ok {
		return true
	}
	_, ok := k.old[name]
	return ok
}

func (k *known[K]) add(name K) {
	if len(k.young) >= maxKnown || k.young == nil {
		k.old, k.young = k.young, map[K]struct{}{}
	}
	k.young[name] = struct{}{}
}

// logHead and personHead are head rows.
type logHead struct {
	id      im.ConversationID
	seq     int64
	last    im.MessageID // the newest
	found   bool
	changed bool
}

type personHead struct {
	id             im.UserID
	inbox, receipt int64
	last           im.MessageID // the newest of the inbox
	found          bool
	grown          growth // by the batch
}

// growth is what a batch adds to a person's head; last is the newest ID, if there
// are entries.
type growth struct {
	entries, receipts int64
	last              im.MessageID
}

// wide is from how many on those who grow alike are written in one statement
// that names them only.
const wide = 16

type draftKey struct {
	sender   im.UserID
	clientID string
}

type holderKey struct {
	by im.UserID
	c  im.ConversationID
}

type receiptKey struct {
	user im.UserID
	holderKey
}

// position is up to where somebody holds a conversation.
type position struct {
	seq     int64
	changed bool
}

// filing is a receipt and its place among those of its reader.
type filing struct{ seq, receiptSeq int64 }

// recordBatch is what one transaction reads, decides and writes.
type recordBatch struct {
	ops    []recordOp
	errs   []error      // of stage, as ops
	logs   []logHead    // in the order of their names
	people []personHead // in the order of their numbers
	wide   bool         // one touches many people

	drafts map[draftKey]*recordAppending // of the batch
	stored map[draftKey]storedDraft      // what was committed before under a client ID of the batch
	held   map[holderKey]position        // of the acknowledgements
	filed  map[receiptKey]filing
	resent bool // one was committed before

	seqs  []byte           // scratch
	alike map[growth][]int // scratch: places in people of those who grow alike
}

func newRecordBatch() recordBatch {
	return recordBatch{
		drafts: map[draftKey]*recordAppending{}, stored: map[draftKey]storedDraft{},
		held: map[holderKey]position{}, filed: map[receiptKey]filing{}, alike: map[growth][]int{},
	}
}

// begin notes what ops touch.
func (b *recordBatch) begin(ops []recordOp) {
	b.ops, b.errs = ops, make([]error, len(ops))
	clear(b.logs)
	b.logs, b.people, b.wide = b.logs[:0], b.people[:0], false
	clear(b.held)
	for _, o := range ops {
		o.touch(b)
	}
	slices.SortFunc(b.logs, func(x, y logHead) int { return cmp.Compare(x.id, y.id) })
	b.logs = slices.CompactFunc(b.logs, func(x, y logHead) bool { return x.id == y.id })
	slices.SortFunc(b.people, func(x, y personHead) int { return cmp.Compare(x.id, y.id) })
	b.people = slices.CompactFunc(b.people, func(x, y personHead) bool { return x.id == y.id })
}

func (b *recordBatch) touchLog(id im.ConversationID) { b.logs = append(b.logs, logHead{id: id}) }

func (b *recordBatch) touchPeople(ids []im.UserID) {
	for _, id := range ids {
		b.people = append(b.people, personHead{id: id})
	}
	b.wide = b.wide || len(ids) >= wide
}

func (b *recordBatch) touchPosition(who holderKey) { b.held[who] = position{} }

// reset forgets what an earlier attempt read and decided.
func (b *recordBatch) reset() {
	for i := range b.logs {
		b.logs[i] = logHead{id: b.logs[i].id}
	}
	for i := range b.people {
		b.people[i] = personHead{id: b.people[i].id}
	}
	for who := range b.held {
		b.held[who] = position{}
	}
	clear(b.drafts)
	clear(b.stored)
	clear(b.filed)
	b.resent = false
}

// log is the head of a conversation that the batch touches.
func (b *recordBatch) log(id im.ConversationID) *logHead {
	i, found := slices.BinarySearchFunc(b.logs, id, func(l logHead, id im.ConversationID) int { return cmp.Compare(l.id, id) })
	if !found {
		return nil
	}
	return &b.logs[i]
}

// person is the head of somebody whom the batch touches.
func (b *recordBatch) person(id im.UserID) *personHead {
	i, found := slices.BinarySearchFunc(b.people, id, func(p personHead, id im.UserID) int { return cmp.Compare(p.id, id) })
	if !found {
		return nil
	}
	return &b.people[i]
}

// lock writes the statements that lock and read the heads, in their order:
// conversations, then people. So two cores never wait for each other in a
// circle. With create, those that are missing are made.
func (b *recordBatch) lock(s *script, create bool) {
	tail := ") ORDER BY conversation FOR UPDATE"
	if create {
		s.begin("INSERT INTO record_conversations (conversation, seq, last_id) VALUES ",
			" ON DUPLICATE KEY UPDATE seq = seq", nil)
		for _, l := range b.logs {
			s.row()
			s.raw("(")
			s.name(string(l.id))
			s.raw(",0,'')")
		}
		s.end()
		s.begin("INSERT INTO record_people (person, inbox_seq, last_id, receipt_seq) VALUES ",
			" ON DUPLICATE KEY UPDATE inbox_seq = inbox_seq", nil)
		for _, p := range b.people {
			s.row()
			s.raw("(")
			s.int(int64(p.id))
			s.raw(",0,'',0)")
		}
		s.end()
		tail = ")"
	}
	// The index is forced: a scan of a small table would wait for locks of others.
	s.begin("SELECT conversation, seq, last_id FROM record_conversations FORCE INDEX (PRIMARY) WHERE conversation IN (", tail, b.readLog)
	for _, l := range b.logs {
		s.row()
		s.name(string(l.id))
	}
	s.end()
	if !create {
		tail = ") ORDER BY person FOR UPDATE"
	}
	s.begin("SELECT person, inbox_seq, last_id, receipt_seq FROM record_people FORCE INDEX (PRIMARY) WHERE person IN (", tail, b.readPerson)
	for _, p := range b.people {
		s.row()
		s.int(int64(p.id))
	}
	s.end()
}

func (b *recordBatch) readLog(row []driver.Value) error {
	c := columns{row: row}
	head := logHead{id: im.ConversationID(c.name()), seq: c.int(), last: c.id(), found: true}
	at := b.log(head.id)
	if err := c.end(); err != nil || at == nil {
		return fmt.Errorf("head of conversation %s: %w", head.id, errCorrupt)
	}
	*at = head
	return nil
}

func (b *recordBatch) readPerson(row []driver.Value) error {
	c := columns{row: row}
	head := personHead{id: im.UserID(c.int()), inbox: c.int(), last: c.id(), receipt: c.int(), found: true}
	at := b.person(head.id)
	if err := c.end(); err != nil || at == nil {
		return fmt.Errorf("head of person %d: %w", head.id, errCorrupt)
	}
	*at = head
	return nil
}

// complete reports whether every head was found.
func (b *recordBatch) complete() bool {
	for i := range b.logs {
		if !b.logs[i].found {
			return false
		}
	}
	for i := range b.people {
		if !b.people[i].found {
			return false
		}
	}
	return true
}

// look writes the statements that read what else decides: positions and, with
// check, what was committed under the client IDs. It comes after the locks, so
// that it sees what another core has just committed.
func (b *recordBatch) look(s *script, check bool) {
	s.begin("SELECT person, conversation, seq FROM record_positions WHERE (person, conversation) IN (", ")", b.readPosition)
	for who := range b.held {
		s.row()
		s.raw("(")
		s.int(int64(who.by))
		s.raw(",")
		s.name(string(who.c))
		s.raw(")")
	}
	s.end()
	if !check {
		return
	}
	s.begin(selectDrafts, ")", b.readStored)
	for _, o := range b.ops {
		if a, ok := o.(*recordAppending); ok && a.ClientID != "" {
			s.row()
			s.draft(draftKey{a.Sender, a.ClientID})
		}
	}
	s.end()
}

func (b *recordBatch) readPosition(row []driver.Value) error {
	c := columns{row: row}
	who, seq := holderKey{im.UserID(c.int()), im.ConversationID(c.name())}, c.int()
	if err := c.end(); err != nil {
		return fmt.Errorf("position of %d: %w", who.by, err)
	}
	b.held[who] = position{seq: seq}
	return nil
}

func (b *recordBatch) readStored(row []driver.Value) error {
	d, err := readDraft(row)
	if err != nil {
		return err
	}
	b.stored[draftKey{d.Sender, d.ClientID}] = d
	return nil
}

// write writes what the batch decided.
func (b *recordBatch) write(s *script) {
	b.writeMessages(s)
	b.writeEntries(s)
	b.writeReceipts(s)
	s.begin("INSERT INTO record_conversations (conversation, seq, last_id) VALUES ",
		" ON DUPLICATE KEY UPDATE seq = VALUES(seq), last_id = VALUES(last_id)", nil)
	for i := range b.logs {
		if l := &b.logs[i]; l.changed {
			s.row()
			s.raw("(")
			s.name(string(l.id))
			s.raw(",")
			s.int(l.seq)
			s.raw(",")
			s.bytes(l.last[:])
			s.raw(")")
		}
	}
	s.end()
	b.writePeople(s)
}

// writePeople writes the heads of people. Those of a large group grow alike: to
// name them costs MySQL a third of writing a row for each.
func (b *recordBatch) writePeople(s *script) {
	clear(b.alike)
	for i := range b.people {
		if p := &b.people[i]; b.wide && p.grown != (growth{}) {
			b.alike[p.grown] = append(b.alike[p.grown], i)
		}
	}
	s.begin("INSERT INTO record_people (person, inbox_seq, last_id, receipt_seq) VALUES ",
		" ON DUPLICATE KEY UPDATE inbox_seq = VALUES(inbox_seq), last_id = VALUES(last_id), receipt_seq = VALUES(receipt_seq)", nil)
	for i := range b.people {
		p := &b.people[i]
		if p.grown == (growth{}) || b.wide && len(b.alike[p.grown]) >= wide {
			continue
		}
		s.row()
		s.raw("(")
		s.int(int64(p.id))
		s.raw(",")
		s.int(p.inbox)
		s.raw(",")
		s.bytes(p.last[:])
		s.raw(",")
		s.int(p.receipt)
		s.raw(")")
	}
	s.end()
	for g, places := range b.alike {
		if len(places) >= wide {
			b.writeAlike(s, g, places)
		}
	}
}

// writeAlike writes the growth g of the people at places.
func (b *recordBatch) writeAlike(s *script, g growth, places []int) {
	head := script{}
	head.raw("UPDATE record_people FORCE INDEX (PRIMARY) SET inbox_seq = inbox_seq + ")
	head.int(g.entries)
	head.raw(", receipt_seq = receipt_seq + ")
	head.int(g.receipts)
	if g.entries > 0 {
		head.raw(", last_id = ")
		head.bytes(g.last[:])
	}
	head.raw(" WHERE person IN (")
	s.begin(string(head.text), ")", nil)
	for _, i := range places {
		s.row()
		s.int(int64(b.people[i].id))
	}
	s.end()
}

func (b *recordBatch) writeMessages(s *script) {
	s.begin("INSERT INTO record_messages (conversation, seq, id, sender, client_id, digest, inbox_seqs, body) VALUES ", "", nil)
	for i, o := range b.ops {
		a, ok := o.(*recordAppending)
		if !ok || b.errs[i] != nil || a.result.Duplicate {
			continue
		}
		s.row()
		s.raw("(")
		s.name(string(a.Conversation))
		s.raw(",")
		s.int(a.result.Seq)
		s.raw(",")
		s.bytes(a.result.ID[:])
		s.raw(",")
		s.int(int64(a.Sender))
		s.raw(",")
		if a.ClientID == "" {
			s.raw("NULL")
		} else {
			s.name(a.ClientID)
		}
		s.raw(",")
		s.bytes(a.Digest[:])
		s.raw(",")
		b.seqs = appendSeqs(b.seqs[:0], a.result.InboxSeqs)
		s.bytes(b.seqs)
		s.raw(",")
		s.bytes(a.Body)
		s.raw(")")
	}
	s.end()
}

func (b *recordBatch) writeEntries(s *script) {
	s.begin("INSERT INTO record_inboxes (person, seq, id, conversation, conversation_seq) VALUES ", "", nil)
	for i, o := range b.ops {
		a, ok := o.(*recordAppending)
		if !ok || b.errs[i] != nil || a.result.Duplicate {
			continue
		}
		for j, user := range a.Inboxes {
			s.row()
			s.raw("(")
			s.int(int64(user))
			s.raw(",")
			s.int(a.result.InboxSeqs[j])
			s.raw(",")
			s.bytes(a.result.ID[:])
			s.raw(",")
			s.name(string(a.Conversation))
			s.raw(",")
			s.int(a.result.Seq)
			s.raw(")")
		}
	}
	s.end()
}

func (b *recordBatch) writeReceipts(s *script) {
	s.begin("INSERT INTO record_positions (person, conversation, seq) VALUES ",
		" ON DUPLICATE KEY UPDATE seq = VALUES(seq)", nil)
	for who, p := range b.held {
		if p.changed {
			s.row()
			s.raw("(")
			s.int(int64(who.by))
			s.raw(",")
			s.name(string(who.c))
			s.raw(",")
			s.int(p.seq)
			s.raw(")")
		}
	}
	s.end()
	s.begin("INSERT INTO record_receipts (person, conversation, holder, seq, receipt_seq) VALUES ",
		" ON DUPLICATE KEY UPDATE seq = VALUES(seq), receipt_seq = VALUES(receipt_seq)", nil)
	for key, f := range b.filed {
		s.row()
		s.raw("(")
		s.int(int64(key.user))
		s.raw(",")
		s.name(string(key.c))
		s.raw(",")
		s.int(int64(key.by))
		s.raw(",")
		s.int(f.seq)
		s.raw(",")
		s.int(f.receiptSeq)
		s.raw(")")
	}
	s.end()
}

package sql

import (
	"cmp"
	"database/sql/driver"
	"fmt"
	"slices"

	"freeim/core/im"
)

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

// versions are those of drafts that a conversation takes.
type versions struct {
	least  int64
	raised bool // by the batch
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

	drafts   map[draftKey]*recordAppending  // of the batch
	stored   map[draftKey]storedDraft       // what was committed before under a client ID of the batch
	held     map[holderKey]position         // of the acknowledgements
	versions map[im.ConversationID]versions // of drafts that have one, or raise the least
	filed    map[receiptKey]filing
	resent   bool // one was committed before

	seqs  []byte           // scratch
	alike map[growth][]int // scratch: places in people of those who grow alike
}

func newRecordBatch() recordBatch {
	return recordBatch{
		drafts: map[draftKey]*recordAppending{}, stored: map[draftKey]storedDraft{},
		held: map[holderKey]position{}, versions: map[im.ConversationID]versions{}, filed: map[receiptKey]filing{}, alike: map[growth][]int{},
	}
}

// begin notes what ops touch.
func (b *recordBatch) begin(ops []recordOp) {
	b.ops, b.errs = ops, make([]error, len(ops))
	clear(b.logs)
	b.logs, b.people, b.wide = b.logs[:0], b.people[:0], false
	clear(b.held)
	clear(b.versions)
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

func (b *recordBatch) touchVersions(id im.ConversationID) { b.versions[id] = versions{} }

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
	for id := range b.versions {
		b.versions[id] = versions{}
	}
	clear(b.drafts)
	clear(b.stored)
	clear(b.filed)
	b.resent = false
}

// look writes the statements that read what else decides: positions, versions and, with
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
	s.begin("SELECT conversation, least FROM record_versions WHERE conversation IN (", ")", b.readVersions)
	for id := range b.versions {
		s.row()
		s.name(string(id))
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

func (b *recordBatch) readVersions(row []driver.Value) error {
	c := columns{row: row}
	id, least := im.ConversationID(c.name()), c.int()
	if err := c.end(); err != nil {
		return fmt.Errorf("least version of conversation %s: %w", id, err)
	}
	b.versions[id] = versions{least: least}
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
	b.writeVersions(s)
	b.writePeople(s)
}

func (b *recordBatch) writeVersions(s *script) {
	s.begin("INSERT INTO record_versions (conversation, least) VALUES ", " ON DUPLICATE KEY UPDATE least = VALUES(least)", nil)
	for id, v := range b.versions {
		if v.raised {
			s.row()
			s.raw("(")
			s.name(string(id))
			s.raw(",")
			s.int(v.least)
			s.raw(")")
		}
	}
	s.end()
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

package sql

import (
	"cmp"
	"database/sql/driver"
	"fmt"
	"slices"

	"freeim/core/im"
)

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
	if create {
		b.create(s, func(im.ConversationID) bool { return false }, func(im.UserID) bool { return false })
		b.heads(s, ")", ")")
		return
	}
	b.heads(s, ") ORDER BY conversation FOR UPDATE", ") ORDER BY person FOR UPDATE")
}

// lockFree is lock without waiting: heads that others hold are not found. Those that
// are not there are made, and for that one may wait.
func (b *recordBatch) lockFree(s *script, log func(im.ConversationID) bool, person func(im.UserID) bool) {
	b.create(s, log, person)
	b.heads(s, ") ORDER BY conversation FOR UPDATE SKIP LOCKED", ") ORDER BY person FOR UPDATE SKIP LOCKED")
}

// create writes the statements that lock heads and make them if they are missing, but
// for those of which log and person say that they are there.
func (b *recordBatch) create(s *script, log func(im.ConversationID) bool, person func(im.UserID) bool) {
	s.begin("INSERT INTO record_conversations (conversation, seq, last_id) VALUES ",
		" ON DUPLICATE KEY UPDATE seq = seq", nil)
	for _, l := range b.logs {
		if !log(l.id) {
			s.row()
			s.raw("(")
			s.name(string(l.id))
			s.raw(",0,'')")
		}
	}
	s.end()
	s.begin("INSERT INTO record_people (person, inbox_seq, last_id, receipt_seq) VALUES ",
		" ON DUPLICATE KEY UPDATE inbox_seq = inbox_seq", nil)
	for _, p := range b.people {
		if !person(p.id) {
			s.row()
			s.raw("(")
			s.int(int64(p.id))
			s.raw(",0,'',0)")
		}
	}
	s.end()
}

// heads writes the statements that read the heads, with these ends.
func (b *recordBatch) heads(s *script, logs, people string) {
	// The index is forced: a scan of a small table would wait for locks of others.
	s.begin("SELECT conversation, seq, last_id FROM record_conversations FORCE INDEX (PRIMARY) WHERE conversation IN (", logs, b.readLog)
	for _, l := range b.logs {
		s.row()
		s.name(string(l.id))
	}
	s.end()
	s.begin("SELECT person, inbox_seq, last_id, receipt_seq FROM record_people FORCE INDEX (PRIMARY) WHERE person IN (", people, b.readPerson)
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

// hasLog reports whether the head of a conversation was found.
func (b *recordBatch) hasLog(id im.ConversationID) bool {
	l := b.log(id)
	return l != nil && l.found
}

// has reports whether the heads of a person, or of each of several, were found.
func (b *recordBatch) has(people ...im.UserID) bool {
	for _, id := range people {
		if p := b.person(id); p == nil || !p.found {
			return false
		}
	}
	return true
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

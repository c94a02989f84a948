package sql

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
)

// archivePatience is how long MySQL may be silent while everything is read or
// filled in: a scan of a large table may take its time.
const archivePatience = 10 * time.Minute

// archivePool makes connections for an export or an import alone.
func (r *Record) archivePool() (*stdsql.DB, error) { return openPool(r.dsn, archivePatience, 2) }

// Export implements timeline.Exporter: it reads in one transaction, on a
// connection of its own.
func (r *Record) Export(ctx context.Context, yield func(timeline.Item) error) (err error) {
	if err := r.refusal(ctx); err != nil {
		return fmt.Errorf("export the message record: %w", err)
	}
	db, err := r.archivePool()
	if err != nil {
		return fmt.Errorf("export the message record: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = snapshotMySQL(ctx, db, func(q Querier) error { return exportRecord(ctx, q, yield) })
	if err != nil {
		return fmt.Errorf("export the message record: %w", err)
	}
	return nil
}

func exportRecord(ctx context.Context, q Querier, yield func(timeline.Item) error) error {
	var state timeline.State
	var newest []byte
	err := q.QueryRowContext(ctx, "SELECT (SELECT value FROM record_meta WHERE name = 'epoch'), "+
		"(SELECT max(last_id) FROM (SELECT max(last_id) last_id FROM record_conversations "+
		"UNION ALL SELECT max(last_id) FROM record_people) both_kinds)").Scan(&state.Epoch, &newest)
	if err != nil {
		return fmt.Errorf("read the epoch: %w", err)
	}
	copy(state.Newest[:], newest)
	if err := yield(state); err != nil {
		return err
	}
	for _, table := range exported {
		if err := exportTable(ctx, q, table, yield); err != nil {
			return err
		}
	}
	return nil
}

// exportedTable is a table, what to ask for its rows, and who reads one.
type exportedTable struct {
	name, query string
	item        func(scan func(...any) error) (timeline.Item, error)
}

// exported are the tables in the order of items; each is read in the order of an
// index, so that nothing is sorted.
var exported = []exportedTable{
	{"record_messages", "SELECT conversation, seq, id, sender, client_id, digest, inbox_seqs, body " +
		"FROM record_messages ORDER BY conversation, seq", scanStored},
	{"record_inboxes", "SELECT person, seq, id, conversation, conversation_seq FROM record_inboxes ORDER BY person, seq", scanListed},
	{"record_positions", "SELECT person, conversation, seq FROM record_positions ORDER BY person, conversation",
		func(scan func(...any) error) (timeline.Item, error) {
			var h timeline.Held
			err := scan(&h.By, &h.Conversation, &h.Seq)
			return h, err
		}},
	{"record_receipts", "SELECT person, conversation, holder, seq, receipt_seq " +
		"FROM record_receipts FORCE INDEX (cursors) ORDER BY person, receipt_seq",
		func(scan func(...any) error) (timeline.Item, error) {
			var f timeline.Filed
			err := scan(&f.User, &f.Conversation, &f.By, &f.Seq, &f.Place)
			return f, err
		}},
}

func exportTable(ctx context.Context, q Querier, table exportedTable, yield func(timeline.Item) error) error {
	rows, err := q.QueryContext(ctx, table.query)
	if err != nil {
		return fmt.Errorf("read %s: %w", table.name, err)
	}
	defer rows.Close()
	for rows.Next() {
		item, err := table.item(rows.Scan)
		if err != nil {
			return fmt.Errorf("read a row of %s: %w", table.name, err)
		}
		if err := yield(item); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s: %w", table.name, err)
	}
	return nil
}

func scanStored(scan func(...any) error) (timeline.Item, error) {
	var m timeline.Stored
	var id, digest, seqs stdsql.RawBytes
	var clientID stdsql.NullString
	err := scan(&m.Conversation, &m.Seq, &id, &m.Sender, &clientID, &digest, &seqs, &m.Body)
	if err != nil {
		return nil, err
	}
	if m.ID, err = idOf(id); err != nil {
		return nil, err
	}
	m.Time, m.ClientID = m.ID.Time(), clientID.String
	if m.ClientID != "" {
		copy(m.Digest[:], digest)
		m.InboxSeqs, err = decodeSeqs(seqs)
	}
	return m, err
}

func scanListed(scan func(...any) error) (timeline.Item, error) {
	var l timeline.Listed
	var id stdsql.RawBytes
	err := scan(&l.User, &l.InboxSeq, &id, &l.Conversation, &l.Seq)
	if err == nil {
		l.ID, err = idOf(id)
	}
	return l, err
}

// recordTables are all that hold what was committed.
var recordTables = []string{"record_messages", "record_inboxes", "record_positions", "record_receipts", "record_people", "record_versions", "record_conversations"}

// Import implements timeline.Importer. No core may have the record open.
func (r *Record) Import(ctx context.Context, fill func(add func(timeline.Item) error) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("import into the message record: %w", err)
		}
	}()
	if err := r.refusal(ctx); err != nil {
		return err
	}
	db, err := r.archivePool()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := markImport(ctx, db); err != nil {
		return err
	}
	in := &recordIntake{db: db, script: script{limit: r.packet / 4}}
	err = fill(func(item timeline.Item) error { return in.add(ctx, item) })
	if err == nil {
		err = in.end(ctx)
	}
	if err != nil {
		return errors.Join(err, emptyRecord(context.WithoutCancel(ctx), db))
	}
	r.epoch.Store(&in.state.Epoch)
	return nil
}

// markImport marks an empty record as being imported into.
func markImport(ctx context.Context, db *stdsql.DB) error {
	if err := wantEmpty(ctx, db); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, "INSERT INTO record_meta (name, value) VALUES ('import', '')")
	if number(err) == errDuplicate {
		return timeline.ErrUnfinished
	}
	if err != nil {
		return fmt.Errorf("mark it: %w", err)
	}
	if err := wantEmpty(ctx, db); err != nil { // somebody was faster
		return errors.Join(err, unmarkImport(context.WithoutCancel(ctx), db))
	}
	return nil
}

func wantEmpty(ctx context.Context, db *stdsql.DB) error {
	for _, table := range recordTables {
		var some bool
		if err := db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM "+table+")").Scan(&some); err != nil {
			return fmt.Errorf("look into %s: %w", table, err)
		}
		if some {
			return timeline.ErrNotEmpty
		}
	}
	return nil
}

func unmarkImport(ctx context.Context, db *stdsql.DB) error {
	if _, err := db.ExecContext(ctx, "DELETE FROM record_meta WHERE name = 'import'"); err != nil {
		return fmt.Errorf("take the mark of the import away: %w", err)
	}
	return nil
}

// emptyRecord takes back everything that an import wrote, its mark last.
func emptyRecord(ctx context.Context, db *stdsql.DB) error {
	for _, table := range recordTables {
		if _, err := db.ExecContext(ctx, "TRUNCATE TABLE "+table); err != nil {
			return fmt.Errorf("empty %s again: %w", table, err)
		}
	}
	return unmarkImport(ctx, db)
}

// importBatch is about how much is written in one transaction of an import, in
// octets.
const importBatch = 1 << 20

// recordIntake writes items, many in a transaction, and the heads of the
// timelines, which are known when the next one begins.
type recordIntake struct {
	db     *stdsql.DB
	state  timeline.State
	begun  bool // state was there
	script script
	table  string // of the statement that is open
	log    importedLog
	inbox  importedPerson
	filed  importedPerson
	logs   []importedLog
	people []importedPerson
}

type importedLog struct {
	id   im.ConversationID
	seq  int64
	last im.MessageID
}

type importedPerson struct {
	id    im.UserID
	seq   int64 // of the inbox, or the place of the newest receipt
	last  im.MessageID
	filed bool
}

func (in *recordIntake) add(ctx context.Context, item timeline.Item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if state, ok := item.(timeline.State); ok {
		in.state, in.begun = state, true
		return nil
	}
	if !in.begun {
		return errors.New("what is to be imported begins without its state")
	}
	switch item := item.(type) {
	case timeline.Stored:
		in.stored(item)
	case timeline.Listed:
		in.listed(item)
	case timeline.Held:
		in.row("record_positions", "person, conversation, seq", "")
		in.int(int64(item.By), ",").name(string(item.Conversation), ",").int(item.Seq, ")")
	case timeline.Filed:
		in.file(item)
	default:
		return fmt.Errorf("a %T is nothing that the record holds", item)
	}
	if len(in.script.text) >= importBatch || len(in.script.packets) > 0 {
		return in.flush(ctx)
	}
	return nil
}

// row begins a row of a table; tail ends its statement.
func (in *recordIntake) row(table, columns, tail string) {
	if in.table != table+tail {
		in.script.end()
		in.script.begin("INSERT INTO "+table+" ("+columns+") VALUES ", tail, nil)
		in.table = table + tail
	}
	in.script.row()
	in.script.raw("(")
}

func (in *recordIntake) int(n int64, then string) *recordIntake {
	in.script.int(n)
	in.script.raw(then)
	return in
}

func (in *recordIntake) name(octets, then string) *recordIntake {
	in.script.name(octets)
	in.script.raw(then)
	return in
}

func (in *recordIntake) stored(m timeline.Stored) {
	if in.log.id != m.Conversation {
		in.endLog()
	}
	in.log = importedLog{m.Conversation, m.Seq, later(in.log.last, m.ID)}
	in.row("record_messages", "conversation, seq, id, sender, client_id, digest, inbox_seqs, body", "")
	in.name(string(m.Conversation), ",").int(m.Seq, ",").name(string(m.ID[:]), ",").int(int64(m.Sender), ",")
	if m.ClientID == "" {
		in.script.raw("NULL,")
	} else {
		in.name(m.ClientID, ",")
	}
	in.name(string(m.Digest[:]), ",").name(string(appendSeqs(nil, m.InboxSeqs)), ",").name(string(m.Body), ")")
}

func (in *recordIntake) listed(l timeline.Listed) {
	if in.inbox.id != l.User {
		in.endPerson(&in.inbox)
	}
	in.inbox = importedPerson{id: l.User, seq: l.InboxSeq, last: later(in.inbox.last, l.ID)}
	in.row("record_inboxes", "person, seq, id, conversation, conversation_seq", "")
	in.int(int64(l.User), ",").int(l.InboxSeq, ",").name(string(l.ID[:]), ",").name(string(l.Conversation), ",").int(l.Seq, ")")
}

func (in *recordIntake) file(f timeline.Filed) {
	if in.filed.id != f.User {
		in.endPerson(&in.filed)
	}
	in.filed = importedPerson{id: f.User, seq: f.Place, filed: true}
	in.row("record_receipts", "person, conversation, holder, seq, receipt_seq", "")
	in.int(int64(f.User), ",").name(string(f.Conversation), ",").int(int64(f.By), ",").int(f.Seq, ",").int(f.Place, ")")
}

func later(a, b im.MessageID) im.MessageID {
	if string(a[:]) > string(b[:]) {
		return a
	}
	return b
}

// endLog notes the head of the conversation that has ended.
func (in *recordIntake) endLog() {
	if in.log.seq != 0 {
		in.logs = append(in.logs, in.log)
	}
	in.log = importedLog{}
}

func (in *recordIntake) endPerson(p *importedPerson) {
	if p.seq != 0 {
		in.people = append(in.people, *p)
	}
	*p = importedPerson{}
}

// flush writes what was gathered, and the heads that are known.
func (in *recordIntake) flush(ctx context.Context) (err error) {
	for _, l := range in.logs {
		in.row("record_conversations", "conversation, seq, last_id", "")
		in.name(string(l.id), ",").int(l.seq, ",").name(string(l.last[:]), ")")
	}
	for _, p := range in.people {
		inbox, filed, tail := p.seq, int64(0), " ON DUPLICATE KEY UPDATE inbox_seq = VALUES(inbox_seq), last_id = VALUES(last_id)"
		if p.filed {
			inbox, filed, tail = 0, p.seq, " ON DUPLICATE KEY UPDATE receipt_seq = VALUES(receipt_seq)"
		}
		in.row("record_people", "person, inbox_seq, last_id, receipt_seq", tail)
		in.int(int64(p.id), ",").int(inbox, ",").name(string(p.last[:]), ",").int(filed, ")")
	}
	in.script.end()
	packets := in.script.all()
	conn, err := in.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, p := range packets {
		if len(p.text) == 0 {
			continue
		}
		if err := exchange(ctx, conn, p); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	in.script.reset()
	in.table, in.logs, in.people = "", in.logs[:0], in.people[:0]
	return tx.Commit()
}

// end makes the record whole: what is missing, the epoch, and no mark any more.
func (in *recordIntake) end(ctx context.Context) error {
	if !in.begun {
		return errors.New("there is no state in what was to be imported")
	}
	in.endLog()
	in.endPerson(&in.inbox)
	in.endPerson(&in.filed)
	if err := in.flush(ctx); err != nil {
		return err
	}
	if in.state.Epoch == "" {
		in.state.Epoch = newEpoch()
	}
	return transaction(ctx, in.db, func(tx *stdsql.Tx) error {
		if err := setEpoch(ctx, tx, in.state.Epoch, ""); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM record_meta WHERE name = 'import'")
		return err
	})
}

// transaction commits what fn does, or nothing.
func transaction(ctx context.Context, db *stdsql.DB, fn func(tx *stdsql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// setEpoch begins an epoch: what was lost in the one before is nobody's any more, so
// marks and flags go, but for the mark of own. The epoch's row comes first: who raises a
// flag waits for it.
func setEpoch(ctx context.Context, tx *stdsql.Tx, epoch, own string) error {
	if len(epoch) > 255 {
		return fmt.Errorf("an epoch of %d octets is too long", len(epoch))
	}
	_, err := tx.ExecContext(ctx, "UPDATE record_meta SET value = "+string(appendQuoted(nil, epoch))+" WHERE name = 'epoch'")
	if err == nil {
		_, err = tx.ExecContext(ctx, "DELETE FROM record_meta WHERE (name LIKE '"+markPrefix+"%' OR name LIKE '"+flagPrefix+"%') AND name <> '"+markPrefix+own+"'")
	}
	return err
}

// Renew implements timeline.Renewer.
func (r *Record) Renew(ctx context.Context) (string, error) {
	err := r.refusal(ctx)
	epoch := newEpoch()
	if err == nil {
		err = transaction(ctx, r.writers, func(tx *stdsql.Tx) error { return setEpoch(ctx, tx, epoch, r.mark) })
	}
	if err != nil {
		return "", fmt.Errorf("renew the epoch of the message record: %w", err)
	}
	r.epoch.Store(&epoch)
	return epoch, nil
}

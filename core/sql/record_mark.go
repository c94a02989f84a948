package sql

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Each record keeps a mark in record_meta: which of its transactions was committed
// last. Each of its transactions first looks whether the mark is still where the one
// before left it. If not, MySQL is not the one that gave the acknowledgements: a replica
// that lagged has become the primary, or the database was set back. Whoever finds that
// raises a flag beside the marks, for all cores, since a server that lost what one of
// them committed gives out seqs again that clients have seen. The flag holds the mark
// that is missed: it is void once the mark is there again, since the old primary is back
// or a node has caught up, and whoever sees a void flag takes it away. A missing mark is
// as good as a low one.
const (
	markPrefix = "core."
	flagPrefix = "lost."
)

// errLost means that commits which were answered are gone.
var errLost = errors.New("MySQL has lost commits that were answered, in a failover or since it was set back: " +
	"stop all cores, run new-epoch, start them again")

// errEpoch means that the record has a new epoch, which this core does not know.
var errEpoch = errors.New("the record was given a new epoch while this core ran: restart it")

// astray reports whether MySQL answered, and is not what this core has written to.
func astray(err error) bool { return errors.Is(err, errLost) || errors.Is(err, errEpoch) }

// marks are what a transaction reads before it writes.
type marks struct {
	own   int64 // as far as this record's commits are there
	flags bool  // somebody's is raised; in a transaction it may be void
	epoch string
}

// markName is a new record's, for as long as it is open.
func markName() string {
	var random [8]byte
	rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

// markText is the n-th mark as it is stored: of two texts the greater mark's is greater.
func markText(n int64) string { return fmt.Sprintf("%019d", n) }

// isFlag is SQL: the row f is a flag.
const isFlag = "f.name >= '" + flagPrefix + "' AND f.name < 'lost/'"

// selectMarks asks for marks, and for no more than must be read with each transaction.
func (r *Record) selectMarks() string {
	return "SELECT f.name, f.value FROM record_meta f WHERE f.name IN ('epoch', '" + markPrefix + r.mark + "') OR " + isFlag
}

// read takes one row of what selectMarks asks for.
func (m *marks) read(name, value string) (err error) {
	switch {
	case name == "epoch":
		m.epoch = value
	case strings.HasPrefix(name, flagPrefix):
		m.flags = true
	default:
		m.own, err = strconv.ParseInt(value, 10, 64)
	}
	return err
}

// judge says why nothing may be written; acked is the mark of what was answered before
// the marks were asked for. A mark that is seen does not count as answered: without a
// binary log MySQL shows what it commits before a power cut would leave it.
func (m *marks) judge(r *Record, acked int64) error {
	switch {
	case m.epoch != r.Epoch():
		return errEpoch
	case m.flags || m.own < acked:
		return errLost
	}
	return nil
}

// readMark is a reader of a transaction's marks.
func (c *recordCommitter) readMark(row []driver.Value) error {
	columns := columns{row: row}
	name, value := columns.name(), columns.name()
	if err := columns.end(); err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	return c.marks.read(name, value)
}

// answeredTo notes that what was committed up to a mark may have been answered.
func (r *Record) answeredTo(mark int64) {
	for {
		before := r.acked.Load()
		if mark <= before || r.acked.CompareAndSwap(before, mark) {
			return
		}
	}
}

// writeMark moves the mark on. It comes last, so that a transaction which is cut off
// does not hold it; and never moves it back, since one that was given up may end late.
func (c *recordCommitter) writeMark(s *script) {
	c.marked++
	s.statement("INSERT INTO record_meta (name, value) VALUES ('"+markPrefix+c.mark+"', '"+markText(c.marked)+"')"+
		" ON DUPLICATE KEY UPDATE value = GREATEST(value, VALUES(value))", nil)
}

// Lost is why nothing is written, since commits that were answered are gone or the
// epoch is another one; nil: none are, as far as was seen.
func (r *Record) Lost() error {
	if p := r.lost.Load(); p != nil {
		return *p
	}
	return nil
}

// lookForLoss asks for the marks outside a transaction, tells all cores what it finds,
// and says when something has changed. It takes void flags away. The error is that MySQL
// did not answer.
func (r *Record) lookForLoss(ctx context.Context) error {
	acked := r.acked.Load()
	m, void, err := r.readMarks(ctx)
	if err != nil {
		return fmt.Errorf("look for lost commits: %w", err)
	}
	if void {
		_, err = r.writers.ExecContext(ctx, "DELETE f "+flagsAndMarks+" AND "+isVoid)
	}
	lost := m.judge(r, acked)
	if lost == errLost && m.own < acked {
		err = errors.Join(err, r.raiseFlag(ctx, acked))
	}
	r.sayLost(lost)
	return err
}

// flagsAndMarks is SQL: every flag f, and the mark c of the same record if it is there.
// isVoid is SQL: c is where f misses it.
const (
	flagsAndMarks = "FROM record_meta f LEFT JOIN record_meta c ON c.name = CONCAT('" + markPrefix + "', SUBSTRING_INDEX(f.name, '.', -1)) WHERE " + isFlag
	isVoid        = "c.value >= f.value"
)

// readMarks asks for the marks and looks closely at the flags: only those that are not
// void count.
func (r *Record) readMarks(ctx context.Context) (m marks, void bool, err error) {
	err = r.writers.QueryRowContext(ctx, "SELECT (SELECT COALESCE(MAX(value), '') FROM record_meta WHERE name = 'epoch'), "+
		"(SELECT COALESCE(MAX(value), '0') FROM record_meta WHERE name = '"+markPrefix+r.mark+"'), "+
		"COALESCE(MAX(COALESCE("+isVoid+", 0) = 0), 0), COALESCE(MAX("+isVoid+"), 0) "+flagsAndMarks).
		Scan(&m.epoch, &m.own, &m.flags, &void)
	return m, void, err
}

// raiseFlag says that this record misses a mark. It does so in one statement, which looks
// again: the next connection may lead to a server that lost nothing, and whoever begins
// an epoch, for whose row it waits, has taken all flags away.
func (r *Record) raiseFlag(ctx context.Context, missed int64) error {
	r.flagged.Store(true)
	mark, flag, value := "'"+markPrefix+r.mark+"'", "'"+flagPrefix+r.mark+"'", "'"+markText(missed)+"'"
	_, err := r.writers.ExecContext(ctx, "REPLACE INTO record_meta (name, value) SELECT "+flag+", "+value+" FROM record_meta e "+
		"WHERE e.name = 'epoch' AND e.value = "+string(appendQuoted(nil, r.Epoch()))+
		" AND NOT EXISTS (SELECT 1 FROM record_meta m WHERE m.name IN ("+mark+", "+flag+") AND m.value >= "+value+") LOCK IN SHARE MODE")
	return err
}

// sayLost keeps what was found, and logs it if it is new.
func (r *Record) sayLost(lost error) {
	if lost == nil {
		if before := r.lost.Swap(nil); before != nil {
			r.log.Info("what was answered is there again: messages are committed", "was", *before)
		}
		return
	}
	if before := r.lost.Swap(&lost); before == nil || *before != lost {
		said := "COMMITS ARE LOST: messages are refused"
		if lost == errEpoch {
			said = "ANOTHER EPOCH HAS BEGUN: messages are refused"
		}
		r.log.Error(said, "err", lost)
	}
}

// leaveMark takes the record's mark away, which nobody looks for any more; unless there
// may be a flag somewhere that only the mark makes void.
func (r *Record) leaveMark(ctx context.Context) {
	if r.acked.Load() == 0 || r.flagged.Load() || r.Lost() != nil || r.away.Load() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	if _, err := r.writers.ExecContext(ctx, "DELETE FROM record_meta WHERE name = '"+markPrefix+r.mark+"'"); err != nil {
		r.log.Debug("the record's mark stays behind", "err", err) // harmless
	}
}

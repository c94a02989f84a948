package sql

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"

	"github.com/prometheus/client_golang/prometheus"
)

// maxName is the greatest length of a conversation ID and of a client ID, in
// octets.
const maxName = 255

// RecordOptions says where the record is.
type RecordOptions struct {
	DSN string // of go-sql-driver/mysql, with the name of the database
	IDs *im.IDGenerator
	Log *slog.Logger // nil: slog.Default

	// Figures is where metrics are registered; nil: nowhere.
	Figures prometheus.Registerer

	// Connections bounds those for reading; 0: 8. Two more are for writing.
	Connections int

	// Doubt, if set, is called when MySQL answers again after a batch whose COMMIT
	// was sent and not answered: nobody knows whether it was committed, and OnCommit
	// was not called for what was.
	Doubt func()

	// Watch is how often MySQL's settings are looked at that decide whether a commit
	// is on its disk; 0: a minute. They also are when a connection was lost.
	Watch time.Duration

	// Patience is how long MySQL may take to answer before it counts as away;
	// 0: 5 s.
	Patience time.Duration
}

func (o *RecordOptions) setDefaults() {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Connections == 0 {
		o.Connections = 8
	}
	if o.Doubt == nil {
		o.Doubt = func() {}
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	if o.Watch == 0 {
		o.Watch = time.Minute
	}
}

// Record is the message record in MySQL: a timeline.Store by itself, of which
// several may work on one database at once. Beside the methods of timeline.Store
// it has what a cache in front of it asks for: Messages, Entries. Safe
// for concurrent use.
type Record struct {
	log      *slog.Logger
	dsn      string
	patience time.Duration
	mark     string // the name of its mark
	packet   int    // what one packet to the server may hold, in octets
	skips    bool   // the server knows SKIP LOCKED: MySQL 8, MariaDB 10.6
	writers  *stdsql.DB
	readers  *stdsql.DB

	queue   chan recordOp // never closed; what does not fit waits in submit
	lookups chan *lookup  // never closed; what does not fit waits in ask
	closing chan struct{} // closed by Close
	ended   chan struct{} // closed by Close when nothing of the record runs any more

	reconnected chan struct{} // holds one; never closed
	running     sync.WaitGroup

	epoch    atomic.Pointer[string]
	away     atomic.Pointer[error] // why nothing is asked of MySQL now; set by the committer
	risk     atomic.Pointer[NotDurable]
	lost     atomic.Pointer[error] // why what was answered is gone
	acked    atomic.Int64          // the mark of what was answered last; 0: nothing was
	flagged  atomic.Bool           // it has raised its flag, which may still be on some server
	answered atomic.Int64          // when MySQL last did, in nanoseconds since 1970

	closeOnce sync.Once
}

// OpenRecord opens the record, and makes its tables if they are missing. It
// returns an error when MySQL does not answer, and when the tables were written
// by a newer version. That MySQL is not set to flush every commit is logged.
func OpenRecord(ctx context.Context, o RecordOptions) (*Record, error) {
	if o.DSN == "" || o.IDs == nil {
		return nil, errors.New("sql.RecordOptions needs DSN and IDs")
	}
	o.setDefaults()
	r := &Record{
		log: o.Log, dsn: o.DSN, patience: o.Patience, mark: markName(),
		queue:   make(chan recordOp, queueLen),
		lookups: make(chan *lookup, queueLen),
		closing: make(chan struct{}),
		ended:   make(chan struct{}),

		reconnected: make(chan struct{}, 1),
	}
	figures, err := newRecordFigures(o.Figures, r)
	if err != nil {
		return nil, err
	}
	if err := r.open(ctx, o); err != nil {
		return nil, fmt.Errorf("open the message record: %w", err)
	}
	ctx = context.WithoutCancel(ctx)
	r.running.Go(func() { newCommitter(r, o, figures).run(ctx) })
	r.running.Go(func() { r.watch(ctx, o.Watch) })
	for range finders {
		r.running.Go(func() { newFinder(r).run(ctx) })
	}
	return r, nil
}

// open makes the tables and the pools, or leaves nothing open.
func (r *Record) open(ctx context.Context, o RecordOptions) (err error) {
	epoch, err := migrateRecord(ctx, o.DSN, o.Log)
	if err != nil {
		return err
	}
	r.epoch.Store(&epoch)
	if r.writers, err = openPool(o.DSN, o.Patience, 2); err != nil {
		return err
	}
	if r.readers, err = openPool(o.DSN, o.Patience, o.Connections); err != nil {
		return errors.Join(err, r.writers.Close())
	}
	if err = r.inspect(ctx); err != nil {
		return errors.Join(err, r.writers.Close(), r.readers.Close())
	}
	return nil
}

// inspect looks at the server's settings.
func (r *Record) inspect(ctx context.Context) error {
	if err := r.readers.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&r.packet); err != nil {
		return fmt.Errorf("read MySQL's settings: %w", err)
	}
	r.answer()
	_, err := r.readers.ExecContext(ctx, "SELECT 1 FROM record_meta WHERE name = '' FOR UPDATE SKIP LOCKED")
	if r.skips = err == nil; !r.skips && number(err) != errSyntax {
		return fmt.Errorf("ask for MySQL's abilities: %w", err)
	}
	return errors.Join(r.lookAtSettings(ctx), r.lookForLoss(ctx))
}

// answer notes that MySQL has answered just now.
func (r *Record) answer() { r.answered.Store(time.Now().UnixNano()) }

// Epoch implements timeline.Store: it is made with the tables, and changed by
// Import and Renew.
func (r *Record) Epoch() string { return *r.epoch.Load() }

// Health is nil when MySQL answered in the last two seconds or answers now.
func (r *Record) Health(ctx context.Context) error {
	if err := r.refusal(ctx); err != nil {
		return err
	}
	if time.Since(time.Unix(0, r.answered.Load())) < 2*time.Second {
		return nil
	}
	if err := r.readers.PingContext(ctx); err != nil {
		return fmt.Errorf("ask the message record: %w", err)
	}
	r.answer()
	return nil
}

// refusal is why nothing is asked of MySQL now, nil if it can be.
func (r *Record) refusal(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-r.closing:
		return timeline.ErrClosed
	default:
	}
	if p := r.away.Load(); p != nil {
		return *p
	}
	return nil
}

// Close commits what is queued and closes the connections. Callers that read
// get ErrClosed.
func (r *Record) Close() error {
	r.closeOnce.Do(func() {
		close(r.closing)
		r.running.Wait()
		close(r.ended)
		r.leaveMark(context.Background())
		leave(r.writers, r.log)
		leave(r.readers, r.log)
	})
	return nil
}

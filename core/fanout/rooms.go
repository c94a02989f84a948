package fanout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"

	"github.com/prometheus/client_golang/prometheus"
)

// RoomFrame is a Broadcast as an edge gets it: the body in both codecs, shared with
// what the other edges get.
type RoomFrame struct {
	Room      im.ConversationID
	Seq       int64
	Important bool
	Action    idl.Action
	Protobuf  []byte
	JSON      []byte
}

// RoomExpulsion is an Expulsion as an edge gets it.
type RoomExpulsion struct {
	Room     im.ConversationID
	Users    []im.UserID
	Seq      int64
	Action   idl.Action
	Protobuf []byte
	JSON     []byte
}

// RoomPusher hands things of rooms to an edge, as Pusher does: all but Ease never block.
type RoomPusher interface {
	// Ease waits until at most half of what may wait for the edge does, or nothing can
	// reach it any more; it returns ctx's error when that ends before.
	Ease(ctx context.Context, life presence.Life) error
	Broadcast(life presence.Life, f RoomFrame)
	Expel(life presence.Life, e RoomExpulsion)
	Configure(life presence.Life, room im.ConversationID, p plugin.RoomPolicy)
	// Answer ends the broadcasts that the edge had asked for: of what lies after
	// that seq, up to through, there is no more.
	Answer(life presence.Life, room im.ConversationID, after, through int64, p plugin.RoomPolicy)
}

// RoomOptions configures Rooms.
type RoomOptions struct {
	Registry presence.Rooms        // required
	Pusher   RoomPusher            // required
	Log      *slog.Logger          // nil: slog.Default
	Queue    int                   // broadcasts, expulsions and policies that may wait; 0: 4,096
	States   int                   // rooms with states of edges that may wait; 0: 65,536
	Figures  prometheus.Registerer // nil: figures are kept nowhere
}

// Rooms is the plugins' plugin.Rooms: it brings broadcasts to every edge that has
// members of a room, and takes what edges say of rooms (rooms_states.go). Safe for
// concurrent use.
//
// One goroutine takes all that is queued and asks the registry once for the edges of
// all rooms in it. Nothing is remembered of the answer: an edge that has just been
// subscribed must not be missed. The queue is bounded; when it is full the caller
// waits, but for a broadcast without a seq, which is dropped. When the registry fails,
// a broadcast is lost, and its room is remembered: when the registry answers again the
// room's edges are given the end of its log.
type Rooms struct {
	// Static after NewRooms.
	registry presence.Rooms
	pusher   RoomPusher
	log      *slog.Logger
	queue    chan roomJob    // never closed
	ctx      context.Context // of reading for edges; ended by Close
	closed   <-chan struct{} // ctx's
	close    func()
	workers  sync.WaitGroup
	states   *states // what edges said
	wants    *states // of it what they miss
	lost     losses  // what the worker could not bring
	figures  *roomFigures

	began atomic.Int64 // when the batch under way was begun, in unix nanoseconds; 0: none is

	served chan struct{}     // closed when source is set
	source plugin.RoomSource // of Serve

	// Owned by the worker.
	jobs  []roomJob
	away  time.Time // until then the registry is not asked
	said  time.Time // when it was last logged that rooms are not reached
	again []roomJob // expulsions and policies that found no registry
}

// roomJob is one of its fields.
type roomJob struct {
	at        time.Time
	room      im.ConversationID
	broadcast *plugin.Broadcast
	expulsion *plugin.Expulsion
	policy    *plugin.RoomPolicy
}

var _ plugin.Rooms = (*Rooms)(nil)

// NewRooms starts the workers; Close ends them.
func NewRooms(o RoomOptions) (*Rooms, error) {
	if o.Registry == nil || o.Pusher == nil {
		return nil, errors.New("rooms need a registry and a pusher")
	}
	if o.Queue < 0 || o.States < 0 {
		return nil, fmt.Errorf("queues cannot hold %d and %d", o.Queue, o.States)
	}
	if o.Queue == 0 {
		o.Queue = defaultQueue
	}
	if o.States == 0 {
		o.States = defaultStates
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	r := &Rooms{
		registry: o.Registry, pusher: o.Pusher, log: o.Log, states: newStates(o.States), wants: newStates(o.States),
		queue: make(chan roomJob, o.Queue), served: make(chan struct{}), lost: losses{wake: make(chan struct{}, 1), rooms: make(map[im.ConversationID]int64)},
	}
	r.ctx, r.close = context.WithCancel(context.Background())
	r.closed = r.ctx.Done()
	var err error
	if r.figures, err = newRoomFigures(o.Figures, func() float64 { return float64(len(r.queue)) }); err != nil {
		r.close()
		return nil, fmt.Errorf("register figures: %w", err)
	}
	r.workers.Go(r.work)
	r.workers.Go(r.hear)
	r.workers.Go(r.mend)
	r.workers.Go(r.answer)
	return r, nil
}

// Close hands over what is queued and ends the workers.
func (r *Rooms) Close() {
	r.close()
	r.workers.Wait()
}

// Serve implements plugin.Rooms. It panics when it is called twice: that is a fault
// of the program.
func (r *Rooms) Serve(s plugin.RoomSource) {
	r.source = s
	close(r.served)
}

// serving gives the source, nil while there is none.
func (r *Rooms) serving() plugin.RoomSource {
	select {
	case <-r.served:
		return r.source
	default:
		return nil
	}
}

// Subscribe implements plugin.Rooms.
func (r *Rooms) Subscribe(ctx context.Context, room im.ConversationID, life presence.Life) error {
	return r.registry.Subscribe(ctx, room, life)
}

// Occupancy implements plugin.Rooms.
func (r *Rooms) Occupancy(ctx context.Context, room im.ConversationID) (presence.Occupancy, error) {
	return r.registry.Occupancy(ctx, room)
}

// Broadcast implements plugin.Rooms.
func (r *Rooms) Broadcast(b plugin.Broadcast) {
	j := roomJob{at: time.Now(), room: b.Room, broadcast: &b}
	if b.Seq != 0 {
		r.enqueue(j)
		return
	}
	select {
	case r.queue <- j:
	default:
		r.figures.dropped.Inc()
	}
}

// Expel implements plugin.Rooms.
func (r *Rooms) Expel(e plugin.Expulsion) {
	r.enqueue(roomJob{at: time.Now(), room: e.Room, expulsion: &e})
}

// Configure implements plugin.Rooms.
func (r *Rooms) Configure(room im.ConversationID, p plugin.RoomPolicy) {
	r.enqueue(roomJob{at: time.Now(), room: room, policy: &p})
}

// enqueue waits while the queue is full, and drops j after Close.
func (r *Rooms) enqueue(j roomJob) {
	select {
	case r.queue <- j:
	case <-r.closed:
	}
}

func (r *Rooms) work() {
	retry := time.NewTicker(sparing)
	defer retry.Stop()
	for {
		due := retry.C
		if len(r.again) == 0 {
			due = nil
		}
		select {
		case j := <-r.queue:
			r.batch(j)
		case <-due:
			r.doAgain()
		case <-r.closed:
			for {
				select {
				case j := <-r.queue:
					r.batch(j)
				default:
					return
				}
			}
		}
	}
}

// batchJobs ends a batch.
const batchJobs = 1024

// batch does first and what is queued behind it.
func (r *Rooms) batch(first roomJob) {
	r.began.Store(time.Now().UnixNano())
	defer r.began.Store(0)
	r.jobs = append(r.jobs[:0], first)
gather:
	for len(r.jobs) < batchJobs {
		select {
		case j := <-r.queue:
			r.jobs = append(r.jobs, j)
		default:
			break gather
		}
	}
	r.run()
	r.figures.jobs.Add(float64(len(r.jobs)))
	clear(r.jobs) // let go of the bodies
}

// run does the jobs: one look-up for all.
func (r *Rooms) run() {
	edges, err := r.edges()
	for _, j := range r.jobs {
		lives, known := edges[j.room]
		if !known {
			r.lose(j, err)
			continue
		}
		r.do(j, lives)
	}
	now := time.Now()
	for _, j := range r.jobs {
		r.figures.seconds.Observe(now.Sub(j.at).Seconds())
	}
}

// edges looks up the rooms of the batch. One that is missing in the answer the
// registry did not answer for.
func (r *Rooms) edges() (map[im.ConversationID][]presence.Life, error) {
	if time.Now().Before(r.away) {
		return nil, errAway
	}
	known := make(map[im.ConversationID][]presence.Life)
	var rooms []im.ConversationID
	for _, j := range r.jobs {
		if _, seen := known[j.room]; !seen {
			known[j.room] = nil
			rooms = append(rooms, j.room)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolving)
	defer cancel()
	lives, err := r.registry.Edges(ctx, rooms...)
	if err == nil && len(lives) != len(rooms) {
		err = fmt.Errorf("the registry answered for %d of %d rooms", len(lives), len(rooms))
	}
	if err != nil {
		// Which of them it did not answer for nobody knows: those without edges may be.
		r.away = time.Now().Add(sparing)
	}
	for i, room := range rooms {
		if i < len(lives) && (err == nil || len(lives[i]) > 0) {
			known[room] = lives[i]
		} else {
			delete(known, room)
		}
	}
	return known, err
}

// do is also a barrier: a body that panics as it is encoded costs its own frame.
func (r *Rooms) do(j roomJob, lives []presence.Life) {
	defer func() {
		if cause := recover(); cause != nil {
			r.figures.lost.Inc()
			r.log.Error("a room's fan-out panicked", "room", j.room, "cause", cause, "stack", string(debug.Stack()))
		}
	}()
	if len(lives) == 0 {
		return
	}
	if err := r.hand(j, lives); err != nil {
		r.figures.lost.Inc()
		r.log.Error("room was not reached", "room", j.room, "err", err)
	}
}

func (r *Rooms) hand(j roomJob, lives []presence.Life) error {
	switch {
	case j.broadcast != nil:
		f, err := frameOf(*j.broadcast)
		if err != nil {
			return err
		}
		for _, life := range lives {
			r.pusher.Broadcast(life, f)
		}
	case j.expulsion != nil:
		return r.expel(j.expulsion, lives)
	case j.policy != nil:
		for _, life := range lives {
			r.pusher.Configure(life, j.room, *j.policy)
		}
	}
	return nil
}

func (r *Rooms) expel(e *plugin.Expulsion, lives []presence.Life) error {
	protobuf, json, err := bothCodecs(e.Body)
	if err != nil {
		return err
	}
	for _, life := range lives {
		r.pusher.Expel(life, RoomExpulsion{e.Room, e.Users, e.Seq, e.Action, protobuf, json})
	}
	return nil
}

// frameOf encodes a broadcast: in both codecs, since an edge says nothing of what its
// members want.
func frameOf(b plugin.Broadcast) (RoomFrame, error) {
	protobuf, json, err := bothCodecs(b.Body)
	return RoomFrame{b.Room, b.Seq, b.Important, b.Action, protobuf, json}, err
}

func bothCodecs(body idl.Message) (protobuf, json []byte, err error) {
	scratch := make([]byte, 0, usualBody)
	if err := once(&protobuf, idl.CodecProtobuf, body, &scratch); err != nil {
		return nil, nil, err
	}
	return protobuf, json, once(&json, idl.CodecJSON, body, &scratch)
}

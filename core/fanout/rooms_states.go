package fanout

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
)

const (
	// defaultStates is how many rooms may wait with what edges said of them.
	defaultStates = 65_536
	// answering is how many rooms are read at once for edges that miss something.
	answering = 16
)

// RoomState is what an edge says of a room.
type RoomState struct {
	presence.RoomReport
	After int64 // all up to this seq was given to its members, or declared skipped
	Want  bool  // something after it is missing, or may be
}

// states is what edges said and nobody has looked at yet: of each room at each edge
// the last. Past the bound what is new is dropped and counted: the next census tells
// it again.
type states struct {
	limit int
	wake  chan struct{} // has one token when there is something

	mu     sync.Mutex // guards the fields below
	byLife map[presence.Life]map[im.ConversationID]RoomState
	size   int
	begun  map[presence.Life]bool // by begin, and not done
}

func newStates(limit int) *states {
	return &states{limit: limit, wake: make(chan struct{}, 1),
		byLife: make(map[presence.Life]map[im.ConversationID]RoomState), begun: make(map[presence.Life]bool)}
}

// add files what an edge says, and gives how many rooms were dropped.
func (s *states) add(life presence.Life, told []RoomState) (dropped int) {
	s.mu.Lock()
	rooms := s.byLife[life]
	if rooms == nil {
		rooms = make(map[im.ConversationID]RoomState, len(told))
		s.byLife[life] = rooms
	}
	for _, one := range told {
		before, waits := rooms[one.Room]
		switch {
		case waits && before.Want && !one.Want:
			one.Want, one.After = true, before.After
		case !waits && s.size >= s.limit:
			dropped++
			continue
		case !waits:
			s.size++
		}
		rooms[one.Room] = one
	}
	s.mu.Unlock()
	s.signal()
	return dropped
}

func (s *states) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take gives all that waits.
func (s *states) take() map[presence.Life]map[im.ConversationID]RoomState {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.byLife
	s.byLife, s.size = make(map[presence.Life]map[im.ConversationID]RoomState), 0
	return all
}

// begin is take for who is done with each life by itself: of a life whose last is not done
// it gives nothing.
func (s *states) begin() map[presence.Life]map[im.ConversationID]RoomState {
	s.mu.Lock()
	defer s.mu.Unlock()
	some := make(map[presence.Life]map[im.ConversationID]RoomState)
	for life, rooms := range s.byLife {
		if !s.begun[life] {
			s.begun[life] = true
			some[life] = rooms
			s.size -= len(rooms)
			delete(s.byLife, life)
		}
	}
	return some
}

// done ends what begin gave of a life.
func (s *states) done(life presence.Life) {
	s.mu.Lock()
	delete(s.begun, life)
	s.mu.Unlock()
	s.signal()
}

// States takes what an edge says of rooms. It never waits.
func (r *Rooms) States(life presence.Life, told []RoomState) {
	if dropped := r.states.add(life, told); dropped > 0 {
		r.figures.unheard.Add(float64(dropped))
	}
}

// hear is the worker that takes what edges said: the registry is told, then the source
// of what changed. What edges miss, or may miss since the registry had forgotten them, is
// for another worker, since logs may be slow.
func (r *Rooms) hear() {
	for {
		select {
		case <-r.states.wake:
		case <-r.closed:
			return
		}
		for life, rooms := range r.states.take() {
			missed := r.report(life, rooms)
			var wanted []RoomState
			for _, one := range rooms {
				if one.Want || missed[one.Room] {
					wanted = append(wanted, one)
				}
			}
			if len(wanted) > 0 {
				r.figures.unheard.Add(float64(r.wants.add(life, wanted)))
			}
		}
	}
}

// reportRooms is how many rooms one call to the registry is about at most.
const reportRooms = 512

// report tells the registry what an edge said, and gives the rooms that it may have
// missed broadcasts of. What the registry does not take the next census says again.
func (r *Rooms) report(life presence.Life, rooms map[im.ConversationID]RoomState) (missed map[im.ConversationID]bool) {
	missed = make(map[im.ConversationID]bool)
	reports := make([]presence.RoomReport, 0, min(reportRooms, len(rooms)))
	send := func() {
		ctx, cancel := context.WithTimeout(context.Background(), resolving)
		defer cancel()
		changes, err := r.registry.Report(ctx, life, reports...)
		if err != nil && !errors.Is(err, presence.ErrFenced) {
			r.log.Warn("what an edge says of rooms was not filed", "edge", life.Edge, "rooms", len(reports), "err", err)
		}
		for _, c := range changes {
			if c.New {
				missed[c.Room] = true
			}
		}
		r.changed(changes)
		reports = reports[:0]
	}
	for _, one := range rooms {
		if reports = append(reports, one.RoomReport); len(reports) == reportRooms {
			send()
		}
	}
	if len(reports) > 0 {
		send()
	}
	return missed
}

// changed tells the source of rooms whose members are others now. It is a barrier.
func (r *Rooms) changed(changes []presence.RoomChange) {
	defer r.barrier("rooms that changed")
	n := 0
	for _, c := range changes {
		if !c.Before.Same(c.After) {
			changes[n] = c
			n++
		}
	}
	if source := r.serving(); source != nil && n > 0 {
		source.Changed(changes[:n])
	}
}

// answer is the worker that gives edges what they miss, each at the pace at which it takes
// that: a slow one holds up no other. A room whose log cannot be read gets no answer: the
// edge asks again.
func (r *Rooms) answer() {
	places := make(chan struct{}, answering)
	var all sync.WaitGroup
	defer all.Wait()
	for {
		select {
		case <-r.wants.wake:
		case <-r.closed:
			return
		}
		source := r.serving()
		if source == nil {
			continue
		}
		for life, rooms := range r.wants.begin() {
			all.Go(func() {
				defer r.wants.done(life)
				r.answerEdge(source, life, rooms, places)
			})
		}
	}
}

// answerEdge gives one edge what it misses. When the edge does not ease it has to ask
// again for the rest.
func (r *Rooms) answerEdge(source plugin.RoomSource, life presence.Life, rooms map[im.ConversationID]RoomState, places chan struct{}) {
	defer r.barrier("what an edge misses")
	var all sync.WaitGroup
	defer all.Wait()
	left := len(rooms)
	for _, one := range rooms {
		// After an outage an edge asks for all its rooms at once: what is pushed comes first.
		if err := r.ease(life); err != nil {
			r.log.Warn("an edge takes in too little to be given what it misses", "edge", life.Edge, "rooms", left, "err", err)
			return
		}
		select {
		case places <- struct{}{}:
		case <-r.closed:
			return
		}
		left--
		all.Go(func() {
			defer func() { <-places }()
			r.answerOne(source, life, one)
		})
	}
}

// ease waits until an edge may be given more than what is pushed.
func (r *Rooms) ease(life presence.Life) error {
	ctx, cancel := context.WithTimeout(r.ctx, answerTime)
	defer cancel()
	return r.pusher.Ease(ctx, life)
}

func (r *Rooms) answerOne(source plugin.RoomSource, life presence.Life, one RoomState) {
	defer r.barrier("a room that an edge asked for")
	ctx, cancel := context.WithTimeout(r.ctx, answerTime)
	defer cancel()
	r.figures.wanted.Inc()
	if err := r.repeat(ctx, source, one.Room, one.After, []presence.Life{life}); err != nil {
		r.log.Warn("an edge was not given what it misses", "edge", life.Edge, "room", one.Room, "err", err)
	}
}

// answerTime bounds the reading of one room's log for an edge, and each wait for an edge
// to ease.
const answerTime = 5 * time.Second

func (r *Rooms) barrier(doing string) {
	if cause := recover(); cause != nil {
		r.log.Error("panic over "+doing, "cause", cause, "stack", string(debug.Stack()))
	}
}

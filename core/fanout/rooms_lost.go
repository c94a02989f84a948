package fanout

import (
	"context"
	"fmt"
	"sync"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
)

const (
	// maxLost bounds the rooms that are remembered to have missed something, and
	// maxAgain the expulsions and policies.
	maxLost  = 65_536
	maxAgain = 1024
)

// losses are rooms that missed broadcasts. The worker adds to them; mend takes them.
type losses struct {
	wake chan struct{} // has one token when there is something

	mu    sync.Mutex // guards rooms
	rooms map[im.ConversationID]int64
}

// add remembers that a room missed what comes from that seq on.
func (l *losses) add(room im.ConversationID, seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was, known := l.rooms[room]; known {
		l.rooms[room] = min(was, seq)
	} else if len(l.rooms) < maxLost {
		l.rooms[room] = seq
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take gives one, if there is any.
func (l *losses) take() (room im.ConversationID, seq int64, any bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for room, seq := range l.rooms {
		delete(l.rooms, room)
		return room, seq, true
	}
	return "", 0, false
}

// lose remembers what a room missed. It is logged once in a while, however many there are.
func (r *Rooms) lose(j roomJob, err error) {
	switch {
	case j.broadcast == nil && len(r.again) < maxAgain:
		r.again = append(r.again, j)
		return
	case j.broadcast != nil && j.broadcast.Seq != 0:
		r.lost.add(j.room, j.broadcast.Seq)
	}
	r.figures.lost.Inc()
	if now := time.Now(); now.Sub(r.said) >= time.Second {
		r.said = now
		r.log.Error("rooms were not reached", "room", j.room, "err", err)
	}
}

// doAgain does the expulsions and policies that found no registry.
func (r *Rooms) doAgain() {
	r.jobs, r.again = append(r.jobs[:0], r.again...), nil
	r.run()
	clear(r.jobs)
}

// mend is the worker that gives rooms what they missed, when the registry answers
// again: fan-out does not wait for the logs.
func (r *Rooms) mend() {
	for {
		select {
		case <-r.lost.wake:
		case <-r.closed:
			return
		}
		select {
		case <-time.After(sparing):
		case <-r.closed:
			return
		}
		r.makeAllGood()
	}
}

// makeAllGood repeats to each room what it missed, until the registry or a log fails. A
// room at an edge that does not ease is for the next time, and holds up no other.
func (r *Rooms) makeAllGood() {
	slow, later := make(map[presence.Life]bool), make(map[im.ConversationID]int64)
	for r.ctx.Err() == nil && r.makeGood(slow, later) {
	}
	for room, seq := range later {
		r.lost.add(room, seq)
	}
}

// makeGood repeats to one room what it missed; false: there is none, or not yet.
func (r *Rooms) makeGood(slow map[presence.Life]bool, later map[im.ConversationID]int64) (more bool) {
	source := r.serving()
	room, seq, any := r.lost.take()
	if !any {
		return false
	}
	defer r.barrier("a room that missed something")
	ctx, cancel := context.WithTimeout(r.ctx, answerTime)
	defer cancel()
	err := errAway
	var lives [][]presence.Life
	if source != nil {
		lives, err = r.registry.Edges(ctx, room)
	}
	if err == nil && !r.eased(lives[0], slow) {
		later[room] = seq
		return true
	}
	if err == nil {
		err = r.repeat(ctx, source, room, seq-1, lives[0])
	}
	if err != nil {
		r.lost.add(room, seq)
	}
	return err == nil
}

// eased waits until all of the edges have eased. Those that do not are slow, and not waited
// for again.
func (r *Rooms) eased(lives []presence.Life, slow map[presence.Life]bool) bool {
	for _, life := range lives {
		if slow[life] {
			return false
		}
	}
	for _, life := range lives {
		if err := r.ease(life); err != nil {
			slow[life] = true
			return false
		}
	}
	return true
}

// repeat gives edges what the log holds after that seq, and puts out whom it says.
func (r *Rooms) repeat(ctx context.Context, source plugin.RoomSource, room im.ConversationID, after int64, lives []presence.Life) error {
	piece, err := source.Since(ctx, room, after)
	if err != nil {
		return fmt.Errorf("read room %s: %w", room, err)
	}
	outs := piece.Expulsions
	for _, b := range piece.Frames {
		for len(outs) > 0 && outs[0].Seq < b.Seq { // each behind the message that tells of it
			if err := r.expel(&outs[0], lives); err != nil {
				return err
			}
			outs = outs[1:]
		}
		f, err := frameOf(b)
		if err != nil {
			return err
		}
		for _, life := range lives {
			r.pusher.Broadcast(life, f)
		}
	}
	for i := range outs {
		if err := r.expel(&outs[i], lives); err != nil {
			return err
		}
	}
	for _, life := range lives {
		r.pusher.Answer(life, room, after, piece.Through, piece.Policy)
	}
	return nil
}

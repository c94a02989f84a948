package fanout

import (
	"context"
	"fmt"

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

// lose remembers what a room missed.
func (r *Rooms) lose(j roomJob, err error) {
	switch {
	case j.broadcast == nil && len(r.again) < maxAgain:
		r.again = append(r.again, j)
		return
	case j.broadcast != nil && j.broadcast.Seq != 0:
		if _, known := r.lost[j.room]; !known && len(r.lost) < maxLost {
			r.lost[j.room] = j.broadcast.Seq
		}
	}
	r.figures.lost.Inc()
	r.log.Error("room was not reached", "room", j.room, "err", err)
}

// makeGood does what found no registry, when it answers again: some rooms at a time.
func (r *Rooms) makeGood() {
	if len(r.again) > 0 {
		r.jobs, r.again = append(r.jobs[:0], r.again...), nil
		r.run()
		clear(r.jobs)
	}
	source := r.serving()
	if source == nil {
		return
	}
	const some = 64
	done := 0
	for room, seq := range r.lost {
		if done++; done > some {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), resolving)
		lives, err := r.registry.Edges(ctx, room)
		if err == nil {
			err = r.repeat(ctx, source, room, seq-1, lives[0])
		}
		cancel()
		if err != nil {
			return // not yet
		}
		delete(r.lost, room)
	}
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

package account

import (
	"context"
	"log/slog"
	"time"
)

// seen writes down when devices were last seen, aside from the Auth that saw
// them: while one batch is written the next one gathers, so that ten thousand
// clients coming back at once cost a few transactions.
type seen struct {
	store *store
	log   *slog.Logger
	queue chan sighting // never closed; when full, a sighting is dropped: a later Auth notes the device
}

const (
	seenQueue = 4096
	seenBatch = 512
	seenTime  = 10 * time.Second // for one batch
)

func newSeen(s *store, log *slog.Logger) *seen {
	return &seen{store: s, log: log, queue: make(chan sighting, seenQueue)}
}

// note has one sighting written down soon. It never blocks.
func (s *seen) note(one sighting) {
	select {
	case s.queue <- one:
	default:
	}
}

// run writes sightings until ctx ends, and then what is left.
func (s *seen) run(ctx context.Context) {
	for {
		select {
		case first := <-s.queue:
			s.write(ctx, s.gather(first))
		case <-ctx.Done():
			if rest := s.gather(); len(rest) > 0 {
				s.write(ctx, rest)
			}
			return
		}
	}
}

// gather adds what is queued, up to a batch.
func (s *seen) gather(batch ...sighting) []sighting {
	for len(batch) < seenBatch {
		select {
		case one := <-s.queue:
			batch = append(batch, one)
		default:
			return batch
		}
	}
	return batch
}

func (s *seen) write(ctx context.Context, batch []sighting) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), seenTime)
	defer cancel()
	if err := s.store.touch(ctx, batch); err != nil {
		s.log.Warn("devices' last seen times are not written", "devices", len(batch), "err", err)
	}
}

package session

import "context"

// Drain empties the hub: no session is opened any more, every session gets Quit
// with SHUTDOWN, at once or as soon as its frame at the core is answered; frames
// behind that one are dropped. It returns when the last connection has ended;
// when ctx ends first, the others are closed without waiting for their answers,
// and ctx's error is returned.
func (h *Hub) Drain(ctx context.Context) error {
	h.draining.Store(true)
	for s := range h.sessions.all() {
		s.drain()
	}
	if h.counters.sessions.Load() == 0 {
		h.emptied.Do(func() { close(h.empty) })
	}
	select {
	case <-h.empty:
		return nil
	case <-ctx.Done():
	}
	for s := range h.sessions.all() {
		s.shutDown()
	}
	return ctx.Err()
}

// drain closes the session once nothing of it is under way.
func (s *Session) drain() {
	s.mu.Lock()
	s.leaving, s.waiting = true, nil
	busy := s.busy
	s.mu.Unlock()
	if !busy {
		s.shutDown()
	}
}

package load

// Checks is what a checker found. Everything but Received and Skipped must be 0.
type Checks struct {
	Received  int64
	Skipped   int64 // declared by the server
	Lost      int64 // neither received nor declared, at the end
	Doubled   int64 // received again, declared again, or received though declared
	Reordered int64 // received after a later one of its lane
	Garbled   int64 // not readable, or not what was sent
}

func (c *Checks) add(o Checks) {
	c.Received += o.Received
	c.Skipped += o.Skipped
	c.Lost += o.Lost
	c.Doubled += o.Doubled
	c.Reordered += o.Reordered
	c.Garbled += o.Garbled
}

// Faults is how many findings there are.
func (c Checks) Faults() int64 { return c.Lost + c.Doubled + c.Reordered + c.Garbled }

// lanes is how many orders a stream may have: in a room chat and important
// messages overtake each other.
const lanes = 2

// Stream checks one dense log as one reader sees it: each seq once, in order
// within its lane, none missing at the end. Call Begin first.
type Stream struct {
	next  int64          // all below have been received or declared
	top   [lanes]int64   // the highest received of each lane
	ahead map[int64]bool // received or declared beyond next; nil when there are none
}

// Begin says which seq comes first.
func (s *Stream) Begin(next int64) { *s = Stream{next: next} }

// Next is the lowest seq that is still missing.
func (s *Stream) Next() int64 { return s.next }

// Take is a delivery. It returns how far Next has come by it.
func (s *Stream) Take(seq int64, lane int, c *Checks) int64 {
	if seq < s.next || s.ahead[seq] {
		c.Doubled++
		return s.next
	}
	c.Received++
	if seq < s.top[lane] {
		c.Reordered++
	} else {
		s.top[lane] = seq
	}
	if seq == s.next && s.ahead == nil {
		s.next++
		return s.next
	}
	return s.mark(seq)
}

// Skip is the server's word that seqs, both inclusive, will not come. A range too
// long to be true is garbled.
func (s *Stream) Skip(from, to int64, c *Checks) int64 {
	const most = 10_000_000
	if from < 1 || to < from || to-from > most {
		c.Garbled++
		return s.next
	}
	for seq := from; seq <= to; seq++ {
		if seq < s.next || s.ahead[seq] {
			c.Doubled++
			continue
		}
		c.Skipped++
		s.mark(seq)
	}
	return s.next
}

func (s *Stream) mark(seq int64) int64 {
	if seq != s.next {
		if s.ahead == nil {
			s.ahead = map[int64]bool{}
		}
		s.ahead[seq] = true
		return s.next
	}
	s.next++
	for s.ahead[s.next] {
		delete(s.ahead, s.next)
		s.next++
	}
	if len(s.ahead) == 0 {
		s.ahead = nil
	}
	return s.next
}

// End says that the log ends at head: what is missing up to there is lost, and
// what was received beyond it was never sent.
func (s *Stream) End(head int64, c *Checks) {
	for seq := s.next; seq <= head; seq++ {
		if !s.ahead[seq] {
			c.Lost++
		}
	}
	for seq := range s.ahead {
		if seq > head {
			c.Garbled++
		}
	}
	if s.next > head+1 {
		c.Garbled += s.next - head - 1
	}
}

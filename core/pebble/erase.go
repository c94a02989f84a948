package pebble

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"freeim/core/timeline"
)

// erasing is a wish to erase on its way through the committer.
type erasing struct {
	gone []timeline.Erasure
	done chan error // of length 1
}

// Erase implements timeline.Store. What is written over goes from the disk when Pebble compacts.
func (s *Store) Erase(ctx context.Context, gone []timeline.Erasure) error {
	e := &erasing{gone: slices.Clone(gone), done: make(chan error, 1)}
	for i := range e.gone {
		one := &e.gone[i]
		if err := wantName("conversation ID", string(one.Conversation)); err != nil {
			return fmt.Errorf("erase: %w", err)
		}
		one.Left = bytes.Clone(one.Left)
	}
	if err := s.submit(ctx, e, e.done, nil); err != nil {
		return fmt.Errorf("erase messages: %w", err)
	}
	return nil
}

// stage implements op. Who knows a message by its ID has it from the database, so there it is; of two erasures that are under way
// at once the second may find what was before the first.
func (e *erasing) stage(c *committer) error {
	left := make([][]byte, len(e.gone)) // the values; nil: nothing to write
	for i, one := range e.gone {
		c.key = logKey(c.key[:0], one.Conversation, one.Seq)
		_, err := get(c.db, c.key, func(value []byte) error {
			m, err := decodeMessage(value, one.Conversation, one.Seq)
			if err == nil && m.ID == one.ID && !bytes.Equal(m.Body, one.Left) {
				left[i] = appendMessage(nil, m.Sender, m.ClientID, one.Left)
				copy(left[i], m.ID[:])
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("message %d of conversation %s: %w", one.Seq, one.Conversation, err)
		}
	}
	for i, one := range e.gone {
		if left[i] != nil {
			c.key = logKey(c.key[:0], one.Conversation, one.Seq)
			c.writes.set(c.key, left[i])
		}
	}
	return nil
}

// finish implements op.
func (e *erasing) finish(err error) { e.done <- err }

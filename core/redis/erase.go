package redis

import (
	"context"
	"errors"
	"fmt"

	"freeim/core/im"
	"freeim/core/timeline"
)

// Erase implements timeline.Store: first in the record, then here. The erased message stays in its log's set, or comes
// there: so a reader, or a core that has not written it yet, who holds the body still, cannot bring it back. That Redis does
// not answer is an error, and then the caller does it all again.
func (t *Timelines) Erase(ctx context.Context, gone []timeline.Erasure) error {
	if err := t.Record.Erase(ctx, gone); err != nil {
		return err
	}
	if err := t.eraseCopies(ctx, gone); err != nil {
		return fmt.Errorf("erase copies of messages: %w", err)
	}
	return nil
}

func (t *Timelines) eraseCopies(ctx context.Context, gone []timeline.Erasure) error {
	refs, err := t.there(ctx, gone)
	if err != nil || len(refs) == 0 {
		return err
	}
	messages, err := t.Record.Messages(ctx, refs)
	if err != nil {
		return err
	}
	type place struct {
		timeline.Ref
		id im.MessageID
	}
	wanted := make(map[place]bool, len(gone))
	for _, one := range gone {
		wanted[place{one.Ref, one.ID}] = true
	}
	var s seal
	var all []addition
	byKey := make(map[string]int)
	for i := range messages {
		m := &messages[i]
		if !wanted[place{refs[i], m.ID}] {
			continue
		}
		key, one := t.keys.log(t.Epoch(), m.Conversation), member{m.Seq, s.erasedMessage(m)}
		if at, known := byKey[key]; known {
			all[at].more = append(all[at].more, one)
			continue
		}
		byKey[key] = len(all)
		all = append(all, addition{key: key, first: one})
	}
	return t.writeErased(ctx, all)
}

// eraseTries is how often a set that held another entry is thrown away for one Erase.
const eraseTries = 3

var errConflict = errors.New("a timeline in redis held another entry at a seq again and again")

// writeErased brings erased messages to their sets. A set that held another entry at one of
// the seqs was thrown away, and what was to be erased with it: it comes into a new one, or a
// late reader would bring the body into that.
func (t *Timelines) writeErased(ctx context.Context, all []addition) error {
	for range eraseTries {
		b := t.client.batch()
		t.start(ctx, b, all)
		if err := b.exec(ctx); err != nil {
			return err
		}
		var again []addition
		for i := range all {
			switch added, err := b.runs[i].Int(); {
			case err != nil:
				return err
			case added < 0:
				t.conflicted(&all[i])
				again = append(again, all[i])
			}
		}
		if len(again) == 0 {
			return nil
		}
		all = again
	}
	return errConflict
}

// there are the places, each once, that hold a message by the record: logs are dense.
func (t *Timelines) there(ctx context.Context, gone []timeline.Erasure) (refs []timeline.Ref, err error) {
	heads := make(map[im.ConversationID]int64)
	var logs []im.ConversationID
	for _, one := range gone {
		if _, known := heads[one.Conversation]; !known {
			heads[one.Conversation] = 0
			logs = append(logs, one.Conversation)
		}
	}
	ends, _, err := t.Heads(ctx, logs, nil)
	if err != nil {
		return nil, err
	}
	for i, log := range logs {
		heads[log] = ends[i]
	}
	seen := make(map[timeline.Ref]bool, len(gone))
	for _, one := range gone {
		if one.Seq >= floor && one.Seq <= heads[one.Conversation] && !seen[one.Ref] {
			seen[one.Ref] = true
			refs = append(refs, one.Ref)
		}
	}
	return refs, nil
}

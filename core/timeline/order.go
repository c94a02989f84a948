package timeline

import (
	"errors"
	"fmt"

	"freeim/core/im"
)

// maxName is the longest conversation ID or client ID that a store must take, in
// octets.
const maxName = 255

// Order checks that items come as Export gives them and make sense one after the
// other: so an importer need not. The zero value waits for the State.
type Order struct {
	stage        int // of the last item, see stageOf
	conversation im.ConversationID
	user         im.UserID
	seq          int64 // of the last item in its timeline
}

// stageOf is the place of an item's type among the others; 0: it has none.
func stageOf(item Item) int {
	switch item.(type) {
	case State:
		return 1
	case Stored:
		return 2
	case Listed:
		return 3
	case Held:
		return 4
	case Filed:
		return 5
	}
	return 0
}

// Next says what is wrong with item as the one that comes next; nil: nothing.
func (o *Order) Next(item Item) error {
	stage := stageOf(item)
	switch {
	case stage == 0:
		return fmt.Errorf("a %T is no item", item)
	case o.stage == 0 && stage != 1:
		return errors.New("the first item is not the store's state")
	case stage < o.stage || stage == 1 && o.stage == 1:
		return fmt.Errorf("a %T comes after what it must come before", item)
	case stage > o.stage:
		*o = Order{stage: stage}
	}
	switch item := item.(type) {
	case Stored:
		return o.stored(item)
	case Listed:
		return o.listed(item)
	case Held:
		return valid(item.By, item.Conversation, item.Seq)
	case Filed:
		return o.filed(item)
	}
	return nil
}

func (o *Order) stored(m Stored) error {
	if err := valid(1, m.Conversation, m.Seq); err != nil {
		return err
	}
	if m.Sender < 0 {
		return fmt.Errorf("%d is no sender's ID (conversation %s)", m.Sender, m.Conversation)
	}
	if n := len(m.ClientID); n > maxName {
		return fmt.Errorf("a client ID has at most %d octets, this one %d", maxName, n)
	}
	for _, seq := range m.InboxSeqs {
		if seq < 1 {
			return fmt.Errorf("message %d of conversation %s is at %d of an inbox", m.Seq, m.Conversation, seq)
		}
	}
	if m.Conversation != o.conversation {
		o.conversation, o.seq = m.Conversation, 0
	}
	if m.Seq != o.seq+1 {
		return fmt.Errorf("conversation %s has message %d after %d", m.Conversation, m.Seq, o.seq)
	}
	o.seq = m.Seq
	return nil
}

func (o *Order) listed(l Listed) error {
	owner := l.User
	if owner.IsFeed() {
		owner = 1 // as good as a person here
	}
	if err := valid(owner, l.Conversation, l.Seq); err != nil {
		return err
	}
	if l.User != o.user {
		o.user, o.seq = l.User, 0
	}
	if l.InboxSeq != o.seq+1 {
		return fmt.Errorf("the inbox of %d has entry %d after %d", l.User, l.InboxSeq, o.seq)
	}
	o.seq = l.InboxSeq
	return nil
}

func (o *Order) filed(f Filed) error {
	if err := errors.Join(valid(f.User, f.Conversation, f.Seq), valid(f.By, f.Conversation, f.Seq)); err != nil {
		return err
	}
	if f.User != o.user {
		o.user, o.seq = f.User, 0
	}
	if f.Place <= o.seq {
		return fmt.Errorf("the receipts for %d have place %d after %d", f.User, f.Place, o.seq)
	}
	o.seq = f.Place
	return nil
}

func valid(user im.UserID, c im.ConversationID, seq int64) error {
	switch n := len(c); {
	case n < 1 || n > maxName:
		return fmt.Errorf("a conversation ID has 1-%d octets, this one %d", maxName, n)
	case user < 1:
		return fmt.Errorf("%d is no user's ID (conversation %s)", user, c)
	case seq < 1:
		return fmt.Errorf("%d is no seq (conversation %s)", seq, c)
	}
	return nil
}

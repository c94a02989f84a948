package chat

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/idl/kitex_gen/chatpb"
)

// mostExported is about how many octets of a person's own messages a copy of what is kept of him has.
const mostExported = 16 << 20

// mostExportedScheduled is more than anybody may have.
const mostExportedScheduled = 10_000

// holdings are what this plugin keeps of people, as the account plugin asks for it.
type holdings struct{ chat *Chat }

// kept is a copy of what is kept of a person.
type kept struct {
	ReadReceipts  bool                   `json:"read_receipts"`
	Conversations []*chatpb.Conversation `json:"conversations"`
	Held          []*chatpb.Held         `json:"held"`
	// Messages are his own, in the order in which they came into his inbox. More: there are others behind.
	Messages []*chatpb.Message `json:"messages"`
	More     bool              `json:"more"`
	// Scheduled are his messages that are to be sent later.
	Scheduled []*chatpb.Scheduled `json:"scheduled"`
	// Reactions are his, the first 10,000.
	Reactions []reacted `json:"reactions"`
}

// Export implements plugin.Holdings.
func (h holdings) Export(ctx context.Context, u im.UserID) (any, error) {
	p, k := h.chat, &kept{}
	var err error
	if k.ReadReceipts, err = p.tellsReads(ctx, u); err != nil {
		return nil, err
	}
	if k.More, err = p.follow(ctx, u, gatherForExport); err != nil {
		return nil, err
	}
	all, err := p.lists.list(ctx, p.host.DB(), selectListed+" ORDER BY conversation", int64(u))
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		k.Conversations = append(k.Conversations, shownConversation(l, p.host.Now()))
	}
	for some := range slices.Chunk(k.Conversations, lifetimesAtOnce) {
		if err := p.fillLifetimes(ctx, some); err != nil {
			return nil, err
		}
	}
	waits, err := p.held.list(ctx, p.held.db, "WHERE sender = ? ORDER BY id", int64(u))
	if err != nil {
		return nil, err
	}
	for _, one := range waits {
		k.Held = append(k.Held, shownHeld(&one))
	}
	later, err := p.scheduled.list(ctx, p.host.DB(), selectScheduled, int64(u), "", mostExportedScheduled)
	if err != nil {
		return nil, err
	}
	for _, one := range later {
		k.Scheduled = append(k.Scheduled, one.shown())
	}
	if k.Reactions, err = p.changes.reactionsOf(ctx, u, mostReacted); err != nil {
		return nil, err
	}
	return k, p.exportMessages(ctx, u, k)
}

// fillLifetimes says of conversations after how long their messages disappear.
func (p *Chat) fillLifetimes(ctx context.Context, all []*chatpb.Conversation) error {
	names := make([]im.ConversationID, len(all))
	for i, c := range all {
		names[i] = im.ConversationID(c.ConversationId)
	}
	found, err := p.lifetimes.some(ctx, names)
	if err != nil {
		return err
	}
	for _, c := range all {
		c.LifetimeMs = found[im.ConversationID(c.ConversationId)]
	}
	return nil
}

// exportMessages adds the person's own messages.
func (p *Chat) exportMessages(ctx context.Context, u im.UserID, k *kept) error {
	octets := 0
	for after := int64(0); ; {
		page, err := p.entries(ctx, u, after, followBatch)
		if err != nil {
			return fmt.Errorf("read an inbox: %w", err)
		}
		var own []im.Message
		for _, e := range page.Items {
			after = e.InboxSeq
			if e.Sender != u || e.Conversation.Type() == im.Notices {
				continue
			}
			if octets += len(e.Body) + perMessage; octets > mostExported {
				k.More = true
				break
			}
			own = append(own, e.Message)
		}
		all, err := p.open(ctx, u, own)
		if err != nil {
			return err
		}
		for i := range all {
			k.Messages = append(k.Messages, all[i].shown())
		}
		if !page.HasMore || k.More {
			return nil
		}
	}
}

// Erase implements plugin.Holdings. Messages that were sent are those to whom they were sent too, and stay.
func (h holdings) Erase(ctx context.Context, u im.UserID) error {
	waits, err := h.chat.held.list(ctx, h.chat.held.db, "WHERE sender = ?", int64(u))
	if err != nil {
		return err
	}
	for _, one := range waits {
		if _, err := h.chat.held.remove(ctx, one); err != nil {
			return err
		}
	}
	if err := h.chat.changes.eraseReactions(ctx, u); err != nil {
		return err
	}
	return h.chat.host.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM chat_scheduled WHERE sender = ?", int64(u)); err != nil {
			return fmt.Errorf("forget a person: %w", err)
		}
		for _, table := range []string{"chat_conversations", "chat_lists", "chat_settings", "chat_follows", "chat_listed_at"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE user_id = ?", int64(u)); err != nil {
				return fmt.Errorf("forget a person: %w", err)
			}
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM chat_fading WHERE reader_id = ?", int64(u)); err != nil {
			return fmt.Errorf("forget a person: %w", err)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM chat_marks WHERE owner_id = ?", int64(u)); err != nil {
			return fmt.Errorf("forget a person: %w", err)
		}
		return nil
	})
}

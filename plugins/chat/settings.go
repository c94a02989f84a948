package chat

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/chatpb"
)

// settings gives, and changes, what holds for all conversations of the caller. His devices learn
// of a change by an event.
func (p *Chat) settings(ctx context.Context, call *plugin.Call, req *chatpb.ChatSettingsRequest) (*chatpb.ChatSettingsReply, error) {
	if req.ReadReceipts != nil {
		err := p.host.Tx(ctx, func(tx *sql.Tx) error { return p.setReads(ctx, tx, call.User, *req.ReadReceipts) })
		if err != nil {
			return nil, plugin.Stored(ctx, err)
		}
		p.Deliver()
	}
	tells, err := p.tellsReads(ctx, call.User)
	if err != nil {
		return nil, err
	}
	return &chatpb.ChatSettingsReply{Settings: &chatpb.ChatSettings{ReadReceipts: tells}}, nil
}

// setReads says whether others learn how far a person has read. Who says so has a row.
func (p *Chat) setReads(ctx context.Context, tx *sql.Tx, u im.UserID, tell bool) error {
	var was bool
	err := tx.QueryRowContext(ctx, "SELECT read_receipts FROM chat_settings WHERE user_id = ?", int64(u)).Scan(&was)
	switch {
	case errors.Is(err, sql.ErrNoRows) && tell, err == nil && was == tell:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		_, err = tx.ExecContext(ctx, "INSERT INTO chat_settings (user_id, read_receipts) VALUES (?, ?)", int64(u), tell)
	case err == nil:
		_, err = tx.ExecContext(ctx, "UPDATE chat_settings SET read_receipts = ? WHERE user_id = ?", tell, int64(u))
	}
	if err != nil {
		return fmt.Errorf("keep a setting: %w", err)
	}
	return p.File(ctx, tx, plugin.Event{Users: []im.UserID{u}, Actor: u, Name: "chat.settings", Data: fmt.Sprintf(`{"read_receipts":%t}`, tell)})
}

// tellsReads reports whether others learn how far a person has read.
func (p *Chat) tellsReads(ctx context.Context, u im.UserID) (tells bool, err error) {
	err = p.host.DB().QueryRowContext(ctx, "SELECT read_receipts FROM chat_settings WHERE user_id = ?", int64(u)).Scan(&tells)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return true, nil
	case err != nil:
		return false, plugin.Stored(ctx, fmt.Errorf("look up a setting: %w", err))
	}
	return tells, nil
}

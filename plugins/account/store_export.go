package account

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// This file is the copies in the store's tables. The part of no plugin is the contents: it
// is filed last, so a copy that has it is whole.

// exportBatch is how many parts are filed by one transaction.
const exportBatch = 32

const lastContents = "SELECT made_ms, content FROM account_exports WHERE user_id = ? AND plugin = '' AND made_ms > ? ORDER BY made_ms DESC LIMIT 1"

// contents are those of the last copy that was made after a time; made is 0 without one.
func (s *store) contents(ctx context.Context, u im.UserID, afterMs int64) (madeMs int64, contents []*accountpb.ExportContent, err error) {
	var text string
	err = s.db.QueryRowContext(ctx, lastContents, int64(u), afterMs).Scan(&madeMs, &text)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("read the contents of a copy: %w", err)
	}
	if err := json.Unmarshal([]byte(text), &contents); err != nil {
		return 0, nil, fmt.Errorf("read the contents of a copy: %w", err)
	}
	return madeMs, contents, nil
}

// exported is one part of a copy.
func (s *store) exported(ctx context.Context, u im.UserID, madeMs int64, plugin string, part int32) (text string, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT content FROM account_exports WHERE user_id = ? AND plugin = ? AND made_ms = ? AND part = ?",
		int64(u), plugin, madeMs, part).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return "", im.Errorf(idl.CodeNotFound, "no such part: ask for the contents anew")
	}
	if err != nil {
		return "", fmt.Errorf("read a part of a copy: %w", err)
	}
	return text, nil
}

// fileExport files the parts of what one plugin keeps.
func (s *store) fileExport(ctx context.Context, u im.UserID, madeMs int64, plugin string, parts []string) error {
	for from := 0; from < len(parts); from += exportBatch {
		err := s.tx(ctx, func(tx *sql.Tx) error {
			for i, text := range parts[from:min(from+exportBatch, len(parts))] {
				_, err := tx.ExecContext(ctx, "INSERT INTO account_exports (user_id, plugin, made_ms, part, content) VALUES (?, ?, ?, ?, ?)",
					int64(u), plugin, madeMs, from+i, text)
				if err != nil {
					return fmt.Errorf("file a part of a copy: %w", err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

package file

import (
	"context"
	"database/sql"
	"fmt"
	"math"

	"freeim/core/im"
)

// holdings is what the plugin keeps of people, for copies and for deletion.
type holdings struct{ *File }

// exported is what a copy says of a file: its octets can be read by its ID.
type exported struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Type   string `json:"type"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	TimeMs int64  `json:"time_ms"`
}

// holdingStep is how much is read at a time.
const holdingStep = 200

// Export implements plugin.Holdings.
func (p holdings) Export(ctx context.Context, u im.UserID) (any, error) {
	all, made, id := []exported{}, int64(math.MaxInt64), ""
	for {
		some, err := p.store.files(ctx, p.store.db, ownFiles, int64(u), made, made, id, holdingStep)
		if err != nil {
			return nil, err
		}
		if len(some) == 0 {
			return all, nil
		}
		for _, f := range some {
			all = append(all, exported{f.id, f.name, f.kind, f.size, f.sha256, f.madeMs})
			made, id = f.madeMs, f.id
		}
	}
}

// Erase implements plugin.Holdings: all files of the person go, also those to which something refers, as what
// he wrote to others and they passed on. It returns when the octets are gone.
func (p holdings) Erase(ctx context.Context, u im.UserID) error {
	for _, s := range []state{waiting, ready, going} {
		for {
			some, err := p.store.files(ctx, p.store.db, allOwn, int64(u), int(s), holdingStep)
			if err != nil {
				return err
			}
			if len(some) == 0 {
				break
			}
			for _, f := range some {
				if err := p.erase(ctx, f); err != nil {
					return err
				}
			}
		}
	}
	return p.store.tx(ctx, func(tx *sql.Tx) error {
		_, err := exec(ctx, tx, "forget what a person had", "DELETE FROM file_quotas WHERE user_id = ?", int64(u))
		return err
	})
}

// erase takes a file from everybody, and deletes it.
func (p holdings) erase(ctx context.Context, f *file) error {
	err := p.store.tx(ctx, func(tx *sql.Tx) error {
		if _, err := exec(ctx, tx, "take a file away", "UPDATE file_files SET state = 2, refs = 0, due_ms = ? WHERE id = ?",
			p.host.Now().Add(collectAgain).UnixMilli(), f.id); err != nil {
			return err
		}
		_, err := exec(ctx, tx, "forget references", "DELETE FROM file_references WHERE file_id = ?", f.id)
		return err
	})
	if err != nil {
		return err
	}
	if err := p.destroy(ctx, f); err != nil {
		return fmt.Errorf("delete a file of %s: %w", f.owner, err)
	}
	return nil
}

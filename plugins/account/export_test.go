package account

import (
	"context"
	"database/sql"
)

// Cheap is New with password hashes that cost next to nothing, which Validate
// refuses outside of this package's tests.
func Cheap(changes ...func(*Config)) *Account {
	p := New()
	p.least = cost{64, 1}
	p.config.PasswordMemoryKiB, p.config.PasswordPasses = 64, 1
	p.config.SignUpsPerMinute = 0
	for _, change := range changes {
		change(&p.config)
	}
	return p
}

// LoseAnswers has transactions from now on end as those whose COMMIT was sent, and
// carried out if committed, and whose answer was lost.
func (p *Account) LoseAnswers(committed bool, lost error) {
	tx := p.store.tx
	p.store.tx = func(ctx context.Context, fn func(*sql.Tx) error) error {
		err := tx(ctx, func(tx *sql.Tx) error {
			if err := fn(tx); err != nil || committed {
				return err
			}
			return lost
		})
		if err == nil {
			err = lost
		}
		return err
	}
}

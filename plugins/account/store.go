package account

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
)

var (
	errUnknown   = errors.New("no such row")
	errNameTaken = errors.New("account name is taken")
	errChanged   = errors.New("password was changed meanwhile")
)

// store is the plugin's tables. Every statement runs on SQLite and MySQL.
type store struct {
	db *sql.DB                                                    // for reading
	tx func(ctx context.Context, fn func(tx *sql.Tx) error) error // plugin.Host.Tx

	limits  []DeviceLimit     // the kick policy
	expired func(device) bool // whether a device's token is void

	endings endings // told by whatever ends sign-ins
}

// noPassword is the hash of one who has none: no password matches it.
const noPassword = ""

// user is a row of account_users.
type user struct {
	id       im.UserID
	name     string
	nickname string
	password string // the hash
	madeMs   int64
}

// device is a row of account_devices: a device that is signed in.
type device struct {
	user       im.UserID
	signIn     int64 // counts the user's sign-ins: the TokenID of a session
	id         im.DeviceID
	deviceType idl.DeviceType
	name       string
	tokenHash  string
	signedInMs int64
	lastSeenMs int64
	client     string
	address    string
	// Where it gets pushes while it is not connected; empty: nowhere.
	pushProvider, pushToken string
}

// userByName and userByID return errUnknown when there is none.
func (s *store) userByName(ctx context.Context, name string) (user, error) {
	return s.oneUser(ctx, "SELECT id, name, nickname, password, created_ms FROM account_users WHERE name = ?", name)
}

func (s *store) userByID(ctx context.Context, id im.UserID) (user, error) {
	return s.oneUser(ctx, "SELECT id, name, nickname, password, created_ms FROM account_users WHERE id = ?", int64(id))
}

func (s *store) oneUser(ctx context.Context, query string, key any) (u user, err error) {
	err = s.db.QueryRowContext(ctx, query, key).Scan(&u.id, &u.name, &u.nickname, &u.password, &u.madeMs)
	if errors.Is(err, sql.ErrNoRows) {
		return user{}, errUnknown
	}
	if err != nil {
		return user{}, fmt.Errorf("read a user: %w", err)
	}
	return u, nil
}

// addUser gives u the next user ID and files it. It returns errNameTaken when
// another has the name.
func (s *store) addUser(ctx context.Context, u user, nowMs int64) (id im.UserID, err error) {
	filed := false
	err = s.tx(ctx, func(tx *sql.Tx) error {
		filed = false
		if id, err = s.insertUser(ctx, tx, profile{user: u, foundBy: foundByAll}, nowMs); err != nil {
			return err
		}
		filed = true
		return nil
	})
	if err == nil {
		return id, nil
	}
	if _, refused := errors.AsType[*im.Error](err); refused {
		return 0, err
	}
	// Engines report a broken unique index in words of their own: look instead.
	there, lookErr := s.whoHas(ctx, u.name, filed)
	switch {
	case lookErr != nil:
		return 0, err
	case there.password == u.password: // no other hash has this salt: it was this COMMIT, whose answer was lost
		return there.id, nil
	}
	return 0, errNameTaken
}

// insertUser files one under the next user ID. The name must not be taken otherwise than as
// an account, which the unique index sees to.
func (s *store) insertUser(ctx context.Context, tx *sql.Tx, one profile, nowMs int64) (id im.UserID, err error) {
	if _, err := tx.ExecContext(ctx, "UPDATE account_counters SET value = value + 1 WHERE name = 'user'"); err != nil {
		return 0, fmt.Errorf("count users: %w", err)
	}
	if err := tx.QueryRowContext(ctx, "SELECT value FROM account_counters WHERE name = 'user'").Scan(&id); err != nil {
		return 0, fmt.Errorf("read the next user ID: %w", err)
	}
	_, err = tx.ExecContext(ctx,
		"INSERT INTO account_users (id, name, nickname, password, sign_ins, created_ms) VALUES (?, ?, ?, ?, 0, ?)",
		int64(id), one.name, one.nickname, one.password, nowMs)
	if err != nil {
		return 0, fmt.Errorf("insert user: %w", err)
	}
	one.id = id
	if err := s.insertProfile(ctx, tx, one); err != nil {
		return 0, err
	}
	if taken, err := s.otherwiseTaken(ctx, tx, one.name, nowMs); err != nil || taken {
		return 0, cmp.Or(err, error(nameTaken()))
	}
	return id, nil
}

// whoHas finds the user with a name. When undecided, since a COMMIT was sent and not
// answered, it asks until there is an answer or ctx ends: the client, told to come
// back, would find its own account taken.
func (s *store) whoHas(ctx context.Context, name string, undecided bool) (user, error) {
	for {
		u, err := s.userByName(ctx, name)
		if err == nil || errors.Is(err, errUnknown) || !undecided {
			return u, err
		}
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return user{}, ctx.Err()
		}
	}
}

// lookAgain is how long whoHas waits for a database that is away.
const lookAgain = 200 * time.Millisecond

// signIn files d as a new sign-in of u, with password as u's hash from now on,
// and ends the devices that the policy says it displaces, which may refuse it. It returns errChanged
// when u.password is not the user's hash any more.
func (s *store) signIn(ctx context.Context, u user, password string, d device) (filed device, ended []device, err error) {
	defer s.endings.begin(u.id)()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		// The update locks the user's row: sign-ins of one person go one by one.
		result, err := tx.ExecContext(ctx,
			"UPDATE account_users SET sign_ins = sign_ins + 1, password = ? WHERE id = ? AND password = ?",
			password, int64(u.id), u.password)
		if err != nil {
			return fmt.Errorf("count sign-ins: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, errChanged)
		}
		if err := s.comeBack(ctx, tx, u.id, time.UnixMilli(d.signedInMs)); err != nil {
			return err
		}
		d.user = u.id
		if err := tx.QueryRowContext(ctx, "SELECT sign_ins FROM account_users WHERE id = ?", int64(u.id)).Scan(&d.signIn); err != nil {
			return fmt.Errorf("read sign-ins: %w", err)
		}
		ended, err = endChosen(ctx, tx, u.id, func(all []device) ([]device, error) { return displaced(s.limits, d, all, s.expired) })
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO account_devices "+
			"(user_id, sign_in, device_id, device_type, name, token_hash, signed_in_ms, last_seen_ms, client, address) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			int64(d.user), d.signIn, string(d.id), int32(d.deviceType), d.name, d.tokenHash, d.signedInMs, d.lastSeenMs, d.client, d.address)
		if err != nil {
			return fmt.Errorf("insert device: %w", err)
		}
		return nil
	})
	return d, ended, err
}

// signOut ends the user's devices that which names. which gets all of them and
// may refuse.
func (s *store) signOut(ctx context.Context, u im.UserID, which func(all []device) ([]device, error)) (ended []device, err error) {
	defer s.endings.begin(u)()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		ended, err = endChosen(ctx, tx, u, which)
		return err
	})
	return ended, err
}

// setPassword gives u another password than the one that was verified, whose hash u has,
// and ends the devices that which names. A sign-in with the old one either comes before,
// and its device is among them, or finds it changed. It returns errChanged when
// somebody else was faster.
func (s *store) setPassword(ctx context.Context, u user, hash string, which func(all []device) ([]device, error)) (ended []device, err error) {
	defer s.endings.begin(u.id)()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "UPDATE account_users SET password = ? WHERE id = ? AND password = ?", hash, int64(u.id), u.password)
		if err != nil {
			return fmt.Errorf("change a password: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, errChanged)
		}
		ended, err = endChosen(ctx, tx, u.id, which)
		return err
	})
	return ended, err
}

// endChosen deletes the devices of u that which picks out of all, and gives them.
func endChosen(ctx context.Context, tx *sql.Tx, u im.UserID, which func(all []device) ([]device, error)) (ended []device, err error) {
	all, err := devices(ctx, tx, u)
	if err != nil {
		return nil, err
	}
	if ended, err = which(all); err != nil {
		return nil, err
	}
	for _, d := range ended {
		if _, err := tx.ExecContext(ctx, "DELETE FROM account_devices WHERE user_id = ? AND sign_in = ?", int64(u), d.signIn); err != nil {
			return nil, fmt.Errorf("delete device: %w", err)
		}
	}
	return ended, nil
}

// holders finds whose the tokens with the hashes are, by hash. Those that are not
// valid are left out.
func (s *store) holders(ctx context.Context, hashes []string) (map[string]holder, error) {
	args := make([]any, len(hashes))
	for i, hash := range hashes {
		args[i] = hash
	}
	rows, err := s.db.QueryContext(ctx, "SELECT d.token_hash, d.user_id, d.sign_in, d.device_id, d.device_type, d.last_seen_ms, d.address, u.name, u.nickname "+
		"FROM account_devices d JOIN account_users u ON u.id = d.user_id WHERE d.token_hash IN "+plugin.Marks(len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	defer rows.Close()
	found := make(map[string]holder, len(hashes))
	for rows.Next() {
		var d device
		var u user
		if err := rows.Scan(&d.tokenHash, &d.user, &d.signIn, &d.id, &d.deviceType, &d.lastSeenMs, &d.address, &u.name, &u.nickname); err != nil {
			return nil, fmt.Errorf("read a token: %w", err)
		}
		u.id = d.user
		found[d.tokenHash] = holder{d, u}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	return found, nil
}

// signIn names one: it is a user's n-th.
type signIn struct {
	user im.UserID
	n    int64
}

// signIns are the sign-ins of all those users that are still there, some, and their
// devices. There are few of a user, see mostDevices.
func (s *store) signIns(ctx context.Context, users []im.UserID) (map[signIn]im.DeviceID, error) {
	args := make([]any, len(users))
	for i, u := range users {
		args[i] = int64(u)
	}
	rows, err := s.db.QueryContext(ctx, "SELECT user_id, sign_in, device_id FROM account_devices WHERE user_id IN "+plugin.Marks(len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("read sign-ins: %w", err)
	}
	defer rows.Close()
	there := make(map[signIn]im.DeviceID, len(users))
	for rows.Next() {
		var one signIn
		var device im.DeviceID
		if err := rows.Scan(&one.user, &one.n, &device); err != nil {
			return nil, fmt.Errorf("read a sign-in: %w", err)
		}
		there[one] = device
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read sign-ins: %w", err)
	}
	return there, nil
}

// devices are the devices of u, the newest sign-in first.
func (s *store) devices(ctx context.Context, u im.UserID) ([]device, error) {
	return devices(ctx, s.db, u)
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func devices(ctx context.Context, q querier, u im.UserID) (all []device, err error) {
	rows, err := q.QueryContext(ctx, "SELECT user_id, sign_in, device_id, device_type, name, signed_in_ms, last_seen_ms, "+
		"client, address, push_provider, push_token FROM account_devices WHERE user_id = ? ORDER BY sign_in DESC", int64(u))
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var d device
		if err := rows.Scan(&d.user, &d.signIn, &d.id, &d.deviceType, &d.name, &d.signedInMs, &d.lastSeenMs,
			&d.client, &d.address, &d.pushProvider, &d.pushToken); err != nil {
			return nil, fmt.Errorf("read a device: %w", err)
		}
		all = append(all, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	return all, nil
}

// sighting is a device that was seen.
type sighting struct {
	user    im.UserID
	signIn  int64
	atMs    int64
	address string
}

// touch notes when devices were last seen; those that are signed out by now are
// passed over.
func (s *store) touch(ctx context.Context, seen []sighting) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		update, err := tx.PrepareContext(ctx, "UPDATE account_devices SET last_seen_ms = ?, address = ? WHERE user_id = ? AND sign_in = ? AND last_seen_ms <= ?")
		if err != nil {
			return fmt.Errorf("prepare to note sightings: %w", err)
		}
		defer update.Close()
		for _, one := range seen {
			if _, err := update.ExecContext(ctx, one.atMs, one.address, int64(one.user), one.signIn, one.atMs); err != nil {
				return fmt.Errorf("note a sighting: %w", err)
			}
		}
		return nil
	})
}

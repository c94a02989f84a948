package account

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

const mostPushToken = 1024 // octets

// setPushToken says where the calling device gets pushes while it is not connected. A token
// belongs to the device that gave it last, whoever is signed in there.
func (p *Account) setPushToken(ctx context.Context, call *plugin.Call, req *accountpb.SetPushTokenRequest) (*accountpb.SetPushTokenReply, error) {
	if err := pushRules(req); err != nil {
		return nil, err
	}
	err := p.store.setPush(ctx, call.User, call.TokenID, req.Provider, req.Token)
	if err != nil {
		return nil, refusalOf(ctx, err)
	}
	return &accountpb.SetPushTokenReply{}, nil
}

func pushRules(req *accountpb.SetPushTokenRequest) error {
	if req.Token == "" && req.Provider == "" {
		return nil // none any more
	}
	ok := len(req.Provider) >= 1 && len(req.Provider) <= 16
	for i := 0; ok && i < len(req.Provider); i++ {
		c := req.Provider[i]
		ok = lowerLetter(c) || digit(c) || c == '_'
	}
	if !ok {
		return im.Invalid("provider", "must be 1-16 of a-z 0-9 _")
	}
	if len(req.Token) < 1 || len(req.Token) > mostPushToken {
		return im.Invalid("token", "must have 1-%d octets", mostPushToken)
	}
	for i := range len(req.Token) {
		if c := req.Token[i]; c < ' ' || c > '~' {
			return im.Invalid("token", "must be printable ASCII")
		}
	}
	return nil
}

// setPush files where a device gets pushes, with its sign-in; both empty: nowhere.
func (s *store) setPush(ctx context.Context, u im.UserID, signIn int64, provider, token string) error {
	var key sql.NullString
	if token != "" {
		sum := sha256.Sum256([]byte(provider + " " + token))
		key = sql.NullString{String: hex.EncodeToString(sum[:]), Valid: true}
	}
	return s.tx(ctx, func(tx *sql.Tx) error {
		there := 0
		// The unique index on push_key has two that give one token wait for each other.
		if _, err := tx.ExecContext(ctx, "UPDATE account_devices SET push_key = NULL, push_provider = '', push_token = '' WHERE push_key = ?", key); err != nil {
			return fmt.Errorf("take a push token away: %w", err)
		}
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM account_devices WHERE user_id = ? AND sign_in = ?", int64(u), signIn).Scan(&there); err != nil {
			return fmt.Errorf("look for a device: %w", err)
		}
		if there == 0 {
			return im.Errorf(idl.CodeUnauthenticated, "this device is signed out")
		}
		_, err := tx.ExecContext(ctx, "UPDATE account_devices SET push_key = ?, push_provider = ?, push_token = ? WHERE user_id = ? AND sign_in = ?",
			key, provider, token, int64(u), signIn)
		if err != nil {
			return fmt.Errorf("file a push token: %w", err)
		}
		return nil
	})
}

// pushes is the service "account.push", for whoever sends pushes to devices that are not
// connected.
type pushes struct{ *Account }

// mostTold is how many people one query names.
const mostTold = 500

// selectTold lists the devices of people that have given a token.
const selectTold = "SELECT user_id, device_id, device_type, last_seen_ms, push_provider, push_token FROM account_devices " +
	"WHERE user_id IN %s AND push_token <> '' ORDER BY user_id, sign_in DESC"

// PushTokens calls fn with each device of the users that has given a token, of each user the newest sign-in
// first. Devices whose own token has expired are left out.
func (p pushes) PushTokens(ctx context.Context, users []im.UserID, fn func(u im.UserID, d im.DeviceID, kind idl.DeviceType, provider, token string)) error {
	for some := range slices.Chunk(users, mostTold) {
		all, err := p.store.told(ctx, some)
		if err != nil {
			return plugin.Stored(ctx, err)
		}
		for _, d := range all {
			if !p.expired(d) {
				fn(d.user, d.id, d.deviceType, d.pushProvider, d.pushToken)
			}
		}
	}
	return nil
}

// told lists the devices of people that have given a token.
func (s *store) told(ctx context.Context, users []im.UserID) (all []device, err error) {
	args := make([]any, len(users))
	for i, u := range users {
		args[i] = int64(u)
	}
	rows, err := s.db.QueryContext(ctx, fmt.Sprintf(selectTold, plugin.Marks(len(users))), args...)
	if err != nil {
		return nil, fmt.Errorf("list devices with push tokens: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var d device
		if err := rows.Scan(&d.user, &d.id, &d.deviceType, &d.lastSeenMs, &d.pushProvider, &d.pushToken); err != nil {
			return nil, fmt.Errorf("read a device: %w", err)
		}
		all = append(all, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list devices with push tokens: %w", err)
	}
	return all, nil
}

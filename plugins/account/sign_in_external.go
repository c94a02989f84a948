package account

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// signInExternal trades an issuer's token for one of this server's. Whom it names gets an
// account when he comes for the first time.
func (p *Account) signInExternal(ctx context.Context, call *plugin.Call, req *accountpb.SignInExternalRequest) (*accountpb.SignInReply, error) {
	if err := deviceRules(req.Device); err != nil {
		return nil, err
	}
	who, err := p.vouched(ctx, call, req.Token)
	if err != nil {
		return nil, err
	}
	var allowed im.UserID // whom the operator's rules let in
	for range attempts {
		u, err := p.identified(ctx, who)
		if err != nil {
			return nil, refusalOf(ctx, err)
		}
		if u.id != allowed {
			id := plugin.Identity{User: u.id, Device: im.DeviceID(req.Device.Id), DeviceType: req.Device.Type}
			if err := p.rules.OnLogin(ctx, call, id); err != nil {
				return nil, err
			}
			allowed = u.id
		}
		rep, err := p.file(ctx, call, u, u.password, req.Device)
		if !errors.Is(err, errChanged) {
			return rep, err
		}
	}
	return nil, im.Unavailable(retryAfter, nil)
}

// vouched gives what an accepted token says. One that is not counts as a failure of the
// address: whose account it is for nobody knows.
func (p *Account) vouched(ctx context.Context, call *plugin.Call, token string) (claims, error) {
	if len(token) == 0 || len(token) > mostJWT {
		return claims{}, im.Invalid("token", "must have 1-%d octets", mostJWT)
	}
	address := addressKey(call.Address)
	if wait := p.failures.Wait(ctx, address); wait > 0 {
		return claims{}, limited(wait, "failed sign-ins")
	}
	who, err := claims{}, errNotAccepted
	if i := p.issuers[issuerOf(token)]; i != nil {
		who, err = i.check(ctx, token)
	}
	switch {
	case errors.Is(err, errKeyNotYet): // whoever invents keys is told the same, and it counts
		if wait := p.failures.Take(ctx, address); wait > 0 {
			return claims{}, limited(wait, "failed sign-ins")
		}
		return claims{}, im.Unavailable(keysAgain, err)
	case errors.Is(err, errKeysAway) || ctx.Err() != nil:
		return claims{}, im.Unavailable(retryAfter, err)
	case err != nil:
		if wait := p.failures.Take(ctx, address); wait > 0 {
			return claims{}, limited(wait, "failed sign-ins")
		}
		return claims{}, &im.Error{Code: idl.CodeBadCredentials, Field: "token", Reason: err.Error()}
	}
	return who, nil
}

// identified is the person whom an issuer's token names, made if he is new.
func (p *Account) identified(ctx context.Context, who claims) (user, error) {
	u, err := p.store.userOf(ctx, who)
	if !errors.Is(err, errUnknown) {
		return u, err
	}
	one := profile{foundBy: foundByAll &^ foundByAccount} // the name says nothing
	one.name = "ext-" + strings.ToLower(rand.Text()[:20])
	nickname, _ := shownName("nickname", firstRunes(who.nickname, 64))
	one.nickname = cmp.Or(nickname, one.name)
	if one.avatar, _ = avatarURL(who.avatar); len(plugin.FilesOf(one.avatar)) > 0 {
		one.avatar = "" // nobody there has files here
	}
	made, err := p.store.addIdentity(ctx, one, who, p.host.Now().UnixMilli())
	if err != nil {
		if u, lookErr := p.store.userOf(ctx, who); lookErr == nil { // another call was faster, or only the answer was lost
			return u, nil
		}
		return user{}, err
	}
	return p.store.userByID(ctx, made)
}

func firstRunes(text string, n int) string {
	for i := range text {
		if n == 0 {
			return text[:i]
		}
		n--
	}
	return text
}

// userOf returns errUnknown when nobody has the identity.
func (s *store) userOf(ctx context.Context, who claims) (user, error) {
	var u im.UserID
	err := s.db.QueryRowContext(ctx, "SELECT user_id FROM account_identities WHERE issuer = ? AND subject = ?", who.issuer, who.subject).Scan(&u)
	if errors.Is(err, sql.ErrNoRows) {
		return user{}, errUnknown
	}
	if err != nil {
		return user{}, fmt.Errorf("read an identity: %w", err)
	}
	return s.userByID(ctx, u)
}

// addIdentity makes an account for an identity, which nobody may have yet.
func (s *store) addIdentity(ctx context.Context, one profile, who claims, nowMs int64) (id im.UserID, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		if id, err = s.insertUser(ctx, tx, one, nowMs); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO account_identities (issuer, subject, user_id, created_ms) VALUES (?, ?, ?, ?)",
			who.issuer, who.subject, int64(id), nowMs)
		if err != nil {
			return fmt.Errorf("insert identity: %w", err)
		}
		return nil
	})
	return id, err
}

const identitiesOf = "SELECT issuer, subject FROM account_identities WHERE user_id = ? ORDER BY issuer, subject"

// identities are who u is to which issuers.
func (s *store) identities(ctx context.Context, u im.UserID) (all []claims, err error) {
	rows, err := s.db.QueryContext(ctx, identitiesOf, int64(u))
	if err != nil {
		return nil, fmt.Errorf("list identities: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var one claims
		if err := rows.Scan(&one.issuer, &one.subject); err != nil {
			return nil, fmt.Errorf("read an identity: %w", err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list identities: %w", err)
	}
	return all, nil
}

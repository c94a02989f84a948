package account

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
)

// This file is what the pages for operators do.

func everyDevice(all []device) ([]device, error) { return all, nil }

// adminCreate makes an account, with a password or for an issuer's subject, or both.
func (p *Account) adminCreate(ctx context.Context, f form) (u im.UserID, err error) {
	one := profile{foundBy: foundByAll}
	if one.name, err = accountName(strings.TrimSpace(f.value("account"))); err != nil {
		return 0, err
	}
	one.nickname = one.name
	if text := f.value("nickname"); text != "" {
		if one.nickname, err = shownName("nickname", text); err != nil {
			return 0, err
		}
	}
	who := claims{issuer: strings.TrimSpace(f.value("issuer")), subject: strings.TrimSpace(f.value("subject"))} // as nicknames are
	if who != (claims{}) {
		if err := errors.Join(im.CheckLine("issuer", who.issuer, 1, mostIdentity), im.CheckLine("subject", who.subject, 1, mostIdentity)); err != nil {
			return 0, err
		}
		if u, err := p.store.userOf(ctx, who); !errors.Is(err, errUnknown) {
			return u.id, cmp.Or(err, error(&im.Error{Code: idl.CodeAlreadyExists, Field: "subject", Reason: "has an account"}))
		}
	}
	if password := f.value("password"); password != "" || who == (claims{}) {
		if err := newPassword("password", password); err != nil {
			return 0, err
		}
		if err := p.hasher.run(ctx, func() { one.password = hashPassword(password, p.hasher.cost) }); err != nil {
			return 0, err
		}
	}
	if _, err := p.store.userByName(ctx, one.name); !errors.Is(err, errUnknown) {
		return 0, cmp.Or(err, nameTaken())
	}
	if now := p.host.Now().UnixMilli(); who != (claims{}) {
		u, err = p.store.addIdentity(ctx, one, who, now)
	} else {
		u, err = p.store.addUser(ctx, one.user, now)
	}
	if errors.Is(err, errNameTaken) {
		err = nameTaken()
	}
	return u, err
}

// adminPassword sets a password that nobody has to know the old one for.
func (p *Account) adminPassword(ctx context.Context, f form) (u im.UserID, err error) {
	if u, err = p.present(ctx, f); err != nil {
		return u, err
	}
	if err := newPassword("password", f.value("password")); err != nil {
		return u, err
	}
	var hash string
	if err := p.hasher.run(ctx, func() { hash = hashPassword(f.value("password"), p.hasher.cost) }); err != nil {
		return u, err
	}
	for range attempts {
		was, err := p.store.userByID(ctx, u)
		if err != nil {
			return u, err
		}
		ended, err := p.store.setPassword(ctx, was, hash, everyDevice)
		if errors.Is(err, errChanged) {
			continue
		}
		if err == nil {
			p.cut(ctx, &plugin.Call{}, u, ended, idl.CloseSignedOut, "the password was changed")
		}
		return u, err
	}
	return u, im.Unavailable(retryAfter, nil)
}

// adminDisable keeps one out until a time.
func (p *Account) adminDisable(ctx context.Context, f form) (im.UserID, error) {
	reason, err := line("reason", f.value("reason"), mostReason)
	if err != nil {
		return 0, err
	}
	untilMs := int64(forGood)
	if text := f.value("until"); text != "" {
		until, err := time.Parse(time.RFC3339, text)
		if err != nil || !until.After(p.host.Now()) {
			return 0, im.Invalid("until", "must be a time to come, as 2026-12-31T23:59:59Z")
		}
		untilMs = until.UnixMilli()
	}
	return p.changeState(ctx, f, "the account is disabled", everyDevice, func(st *state) {
		st.disabledUntilMs, st.disabledReason = untilMs, reason
	})
}

// adminEnable lets one in again.
func (p *Account) adminEnable(ctx context.Context, f form) (im.UserID, error) {
	none := func([]device) ([]device, error) { return nil, nil }
	return p.changeState(ctx, f, "", none, func(st *state) { st.disabledUntilMs, st.disabledReason = 0, "" })
}

// adminDelete has one erased, at once or after the grace.
func (p *Account) adminDelete(ctx context.Context, f form) (im.UserID, error) {
	how, at := deleting, p.host.Now().Add(p.config.DeleteGrace)
	if f.value("now") == "1" { // no sign-in until the eraser looks takes it back
		how, at = erasing, p.host.Now()
	}
	return p.changeState(ctx, f, "the account was deleted", everyDevice, func(st *state) {
		st.leaving, st.eraseMs = how, at.UnixMilli()
	})
}

// adminSignOut ends one device, or all.
func (p *Account) adminSignOut(ctx context.Context, f form) (u im.UserID, err error) {
	if u, err = p.present(ctx, f); err != nil {
		return u, err
	}
	id := im.DeviceID(f.value("device"))
	ended, err := p.store.signOut(ctx, u, func(all []device) ([]device, error) {
		if id == "" {
			return all, nil
		}
		return slices.DeleteFunc(all, func(d device) bool { return d.id != id }), nil
	})
	if err == nil && len(ended) == 0 && id != "" {
		err = &im.Error{Code: idl.CodeNotFound, Field: "device", Reason: "is not signed in"}
	}
	if err == nil {
		p.cut(ctx, &plugin.Call{}, u, ended, idl.CloseSignedOut, "the operator signed the device out")
	}
	return u, err
}

// adminProfile changes fields of a profile.
func (p *Account) adminProfile(ctx context.Context, f form) (u im.UserID, err error) {
	if u, err = p.present(ctx, f); err != nil {
		return u, err
	}
	req, err := profileForm(f)
	if err != nil {
		return u, err
	}
	_, err = p.changeProfile(ctx, u, req, true)
	return u, err
}

// present is whom a form is about, if he is there.
func (p *Account) present(ctx context.Context, f form) (im.UserID, error) {
	u, err := p.named(ctx, func(name string) string {
		if name != "user" {
			return "" // account and handle are fields
		}
		return f.value(name)
	})
	if err != nil {
		return u, err
	}
	one, err := p.store.profile(ctx, p.store.db, u)
	if err == nil && one.erased() {
		return u, errUnknown
	}
	return u, err
}

// changeState changes what keeps somebody from his account, hides him if he is to leave,
// and ends the devices that which names.
func (p *Account) changeState(ctx context.Context, f form, why string, which func([]device) ([]device, error), change func(*state)) (im.UserID, error) {
	u, err := p.present(ctx, f)
	if err != nil {
		return u, err
	}
	ended, err := p.store.changeState(ctx, u, which, change)
	p.cut(ctx, &plugin.Call{}, u, ended, idl.CloseSignedOut, why)
	return u, err
}

func (s *store) changeState(ctx context.Context, u im.UserID, which func([]device) ([]device, error), change func(*state)) (ended []device, err error) {
	defer s.endings.begin(u)()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := s.lockProfile(ctx, tx, u); err != nil {
			return err
		}
		st, err := s.state(ctx, tx, u)
		if err != nil {
			return err
		}
		if st.leaving == erasing {
			return errUnknown
		}
		change(&st)
		if err := s.putState(ctx, tx, u, st); err != nil {
			return err
		}
		if err := s.hide(ctx, tx, u, st.leaving != staying); err != nil {
			return err
		}
		ended, err = endChosen(ctx, tx, u, which)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// delete hides the caller and signs him out everywhere, and has him erased when the grace is
// over, unless he signs in before. Who only deactivates is never erased.
func (p *Account) delete(ctx context.Context, call *plugin.Call, req *accountpb.DeleteRequest) (*accountpb.DeleteReply, error) {
	if req.Token != "" && req.Password != "" {
		return nil, im.Invalid("token", "give password or token, not both")
	}
	if err := triedPassword(req.Password); err != nil && req.Token == "" {
		return nil, err
	}
	for range attempts {
		u, err := p.proven(ctx, call, req)
		if err != nil {
			return nil, err
		}
		how, at, why := deleting, p.host.Now().Add(p.config.DeleteGrace).UnixMilli(), "the account was deleted"
		if req.Deactivate {
			how, at, why = deactivated, 0, "the account was deactivated"
		}
		ended, err := p.store.leave(ctx, u, how, at, func(all []device) ([]device, error) {
			return chosen(all, call.TokenID, &accountpb.SignOutRequest{Scope: accountpb.SignOutScope_SIGN_OUT_SCOPE_ALL})
		})
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			return nil, refusalOf(ctx, err)
		}
		p.cut(ctx, call, call.User, ended, idl.CloseSignedOut, why)
		return &accountpb.DeleteReply{EraseMs: at}, nil
	}
	return nil, im.Unavailable(retryAfter, nil)
}

// proven makes sure that it is the caller himself, by his password or by an issuer's token.
func (p *Account) proven(ctx context.Context, call *plugin.Call, req *accountpb.DeleteRequest) (user, error) {
	if req.Token == "" {
		return p.reverify(ctx, call, req.Password)
	}
	who, err := p.vouched(ctx, call, req.Token)
	if err != nil {
		return user{}, err
	}
	u, err := p.store.userOf(ctx, who)
	if err != nil && !errors.Is(err, errUnknown) {
		return user{}, plugin.Stored(ctx, err)
	}
	if err != nil || u.id != call.User {
		return user{}, &im.Error{Code: idl.CodeBadCredentials, Field: "token", Reason: "the token is another person's"}
	}
	return u, nil
}

// leave has u leave, if his password is the one that was verified, and ends the devices that
// which names.
func (s *store) leave(ctx context.Context, u user, how leaving, eraseMs int64, which func(all []device) ([]device, error)) (ended []device, err error) {
	defer s.endings.begin(u.id)()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := s.lockProfile(ctx, tx, u.id); err != nil {
			return err
		}
		now, err := s.password(ctx, tx, u.id)
		if err != nil {
			return err
		}
		if now != u.password {
			return errChanged
		}
		st, err := s.state(ctx, tx, u.id)
		if err != nil {
			return err
		}
		st.leaving, st.eraseMs = how, eraseMs
		if err := s.putState(ctx, tx, u.id, st); err != nil {
			return err
		}
		if err := s.hide(ctx, tx, u.id, true); err != nil {
			return err
		}
		ended, err = endChosen(ctx, tx, u.id, which)
		return err
	})
	return ended, err
}

const (
	eraseEvery = time.Minute      // between two looks for people who are due
	eraseBatch = 16               // of them at a time
	eraseAgain = 10 * time.Minute // until another core, or this one, may try again
)

// runEraser erases people whose grace is over, and forgets what has had its time.
func (p *Account) runEraser(ctx context.Context) {
	tick := time.NewTicker(eraseEvery)
	defer tick.Stop()
	for {
		if err := p.eraseDue(ctx); err != nil && ctx.Err() == nil {
			p.host.Log().Warn("people who are due are not erased", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// eraseDue erases all who are due now. Who is not, since a plugin failed, is due again later.
func (p *Account) eraseDue(ctx context.Context) error {
	now := p.host.Now()
	if err := p.erasing.tidy(ctx, now, now.Add(-p.config.ExportEvery)); err != nil {
		return err
	}
	for {
		due, err := p.erasing.due(ctx, now)
		if err != nil || len(due) == 0 {
			return err
		}
		failed := false
		for _, u := range due {
			if err := p.erase(ctx, u); err != nil {
				failed = true
				p.host.Log().Warn("a person is not erased yet", "user", u, "err", err)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if failed {
			return nil // the store may be what fails: the next look goes on
		}
	}
}

// erase has all plugins forget u, and then makes the account nobody's. Whoever begins it
// has some time for it, in which no other core does; then it begins anew, so that
// nothing is left half done.
func (p *Account) erase(ctx context.Context, u im.UserID) error {
	now := p.host.Now()
	ended, claimed, err := p.erasing.beginErasing(ctx, u, now, now.Add(eraseAgain))
	if err != nil || !claimed {
		return err
	}
	p.cut(ctx, &plugin.Call{}, u, ended, idl.CloseSignedOut, "the account was erased")
	var errs []error
	for _, h := range p.holdings.list() {
		errs = append(errs, h.erase(ctx, u))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	err = p.erasing.anonymise(ctx, u, now.Add(p.config.NameReserved))
	p.directory.forget(u)
	if err == nil {
		p.host.Log().Info("a person was erased", "user", u)
	}
	return err
}

// erase is Erase behind a barrier: a panic is an error too, and the others are asked.
func (h holding) erase(ctx context.Context, u im.UserID) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("erase of %s panicked: %v", h.plugin, cause)
		}
	}()
	if err := h.Erase(ctx, u); err != nil {
		return fmt.Errorf("erase of %s: %w", h.plugin, err)
	}
	return nil
}

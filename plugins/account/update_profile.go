package account

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// updateProfile changes fields of the caller's profile and tells his devices which.
func (p *Account) updateProfile(ctx context.Context, call *plugin.Call, req *accountpb.UpdateProfileRequest) (*accountpb.UpdateProfileReply, error) {
	if _, err := changed(profile{}, req, p.host.Now()); err != nil { // before anything is asked
		return nil, err
	}
	if wait := p.changes.Take(ctx, accountKey(call.User.String())); wait > 0 {
		return nil, limited(wait, "changes of your profile")
	}
	is, err := p.changeProfile(ctx, call.User, req, false)
	if err != nil {
		return nil, refusalOf(ctx, err)
	}
	return &accountpb.UpdateProfileReply{Profile: p.whole(is)}, nil
}

// changeProfile changes a person's profile. An operator may change a handle at any time.
func (p *Account) changeProfile(ctx context.Context, u im.UserID, req *accountpb.UpdateProfileRequest, operator bool) (is profile, err error) {
	now := p.host.Now()
	var told bool
	err = p.store.tx(ctx, func(tx *sql.Tx) error {
		told = false
		was, err := p.store.lockProfile(ctx, tx, u)
		if err != nil {
			return err
		}
		if is, err = changed(was, req, now); err != nil {
			return err
		}
		fields := changes(was, is)
		if len(fields) == 0 {
			return nil
		}
		if is.handle != was.handle {
			if free := time.UnixMilli(p.handleFree(was)); free.After(now) && !operator {
				return &im.Error{Code: idl.CodeRateLimited, Field: "handle", Reason: "the handle was changed not long ago", RetryAfter: free.Sub(now)}
			}
			is.handleChangedMs = now.UnixMilli()
		}
		if err := p.store.putProfile(ctx, tx, is); err != nil {
			return err
		}
		if is.handle != was.handle {
			if err := p.store.moveHandle(ctx, tx, was.handle, is, now, now.Add(p.config.HandleReserved)); err != nil {
				return err
			}
		}
		if err := p.keepAvatar(ctx, tx, was, is); err != nil {
			return err
		}
		told = true
		return p.tell(ctx, tx, u, fields)
	})
	p.directory.forget(u) // whatever became of it
	if err != nil {
		return is, p.orTaken(ctx, u, req, err)
	}
	if told && p.messages != nil {
		p.messages.Deliver()
	}
	return is, nil
}

// keepAvatar has the file that is a person's avatar be kept, and lets go the one that was. When he is
// erased his files go before his profile.
func (p *Account) keepAvatar(ctx context.Context, tx *sql.Tx, was, is profile) error {
	if was.avatar == is.avatar {
		return nil
	}
	holder := "account:" + is.id.String()
	ids := plugin.FilesOf(is.avatar)
	if p.files == nil && len(ids) > 0 {
		return im.Invalid("avatar", "this server keeps no files")
	}
	if len(plugin.FilesOf(was.avatar)) > 0 && p.files != nil {
		if err := p.files.Release(ctx, tx, holder); err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := p.files.Use(ctx, tx, plugin.FileUse{Holder: holder, User: is.id, Type: "image/", Field: "avatar", IDs: ids})
	return err
}

// orTaken is err, or that the handle is taken: engines report a broken unique index in
// words of their own.
func (p *Account) orTaken(ctx context.Context, u im.UserID, req *accountpb.UpdateProfileRequest, err error) error {
	if _, refused := errors.AsType[*im.Error](err); refused || req.GetHandle() == "" {
		return err
	}
	handle, _ := handleName(req.GetHandle())
	if holder, lookErr := p.store.handleHolder(ctx, p.store.db, handle); lookErr == nil && holder != 0 && holder != u {
		return handleTaken()
	}
	return err
}

// tell files the event "account.profile" for a person's own devices.
func (p *Account) tell(ctx context.Context, tx *sql.Tx, u im.UserID, fields []string) error {
	if p.messages == nil {
		return nil
	}
	data, err := json.Marshal(struct {
		Fields []string `json:"fields"`
	}{fields})
	if err != nil {
		return fmt.Errorf("write what changed: %w", err)
	}
	return p.messages.File(ctx, tx, plugin.Event{Users: []im.UserID{u}, Actor: u, Name: "account.profile", Data: string(data)})
}

package account

import (
	"context"
	"errors"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// mostProfiles is how many people one may ask about at a time.
const mostProfiles = 100

// By what a person may be found, as bits of profile.foundBy.
const (
	foundByHandle = 1 << iota
	foundByAccount
	foundByNickname
	foundByAll = foundByHandle | foundByAccount | foundByNickname
)

// profile is a person with all that he says of himself.
type profile struct {
	user
	handle          string // empty: none
	handleChangedMs int64  // 0: never
	avatar          string
	gender          accountpb.Gender
	birthday        string
	signature       string
	city            string
	language        string
	foundBy         int
	hidden          bool   // he has left, for now or for good
	nicknameKey     string // as stored
}

// gone begins the account name of one who was erased: no name that can be chosen.
const gone = "~"

func (one profile) erased() bool { return strings.HasPrefix(one.name, gone) }

// profiles gives one's own profile, or what others show of theirs.
func (p *Account) profiles(ctx context.Context, call *plugin.Call, req *accountpb.ProfileRequest) (*accountpb.ProfileReply, error) {
	if len(req.UserIds) > mostProfiles {
		return nil, im.Invalid("user_ids", "must be at most %d, are %d", mostProfiles, len(req.UserIds))
	}
	if len(req.UserIds) == 0 {
		own, err := p.store.profile(ctx, p.store.db, call.User)
		if err != nil {
			return nil, refusalOf(ctx, err)
		}
		return &accountpb.ProfileReply{Profiles: []*accountpb.Profile{p.whole(own)}}, nil
	}
	found, err := p.store.profiles(ctx, userIDs(req.UserIds))
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep := &accountpb.ProfileReply{}
	for _, id := range req.UserIds {
		if one, ok := found[im.UserID(id)]; ok && !one.hidden {
			rep.Profiles = append(rep.Profiles, public(one))
		}
		delete(found, im.UserID(id)) // each once
	}
	return rep, nil
}

func userIDs(ids []int64) []im.UserID {
	users := make([]im.UserID, len(ids))
	for i, id := range ids {
		users[i] = im.UserID(id)
	}
	return users
}

// refusalOf turns an error of the store into what the client is told.
func refusalOf(ctx context.Context, err error) error {
	if errors.Is(err, errUnknown) {
		return im.Errorf(idl.CodeNotFound, "no such user")
	}
	if _, refused := errors.AsType[*im.Error](err); refused {
		return err
	}
	return plugin.Stored(ctx, err)
}

// public is what others see of one.
func public(one profile) *accountpb.Profile {
	shown := &accountpb.Profile{
		UserId: int64(one.id), Handle: one.handle, Nickname: one.nickname, Avatar: one.avatar,
		Gender: one.gender, Signature: one.signature, City: one.city,
	}
	if one.foundBy&foundByAccount != 0 {
		shown.Account = one.name
	}
	return shown
}

// whole is what one sees of himself.
func (p *Account) whole(one profile) *accountpb.Profile {
	shown := public(one)
	shown.Account, shown.Birthday, shown.Language, shown.CreatedMs = one.name, one.birthday, one.language, one.madeMs
	shown.FoundByHandle = one.foundBy&foundByHandle != 0
	shown.FoundByAccount = one.foundBy&foundByAccount != 0
	shown.FoundByNickname = one.foundBy&foundByNickname != 0
	if may := p.handleFree(one); may > p.host.Now().UnixMilli() {
		shown.HandleChangeMs = may
	}
	return shown
}

// handleFree is from when one may change his handle.
func (p *Account) handleFree(one profile) int64 {
	if one.handleChangedMs == 0 {
		return 0
	}
	return one.handleChangedMs + p.config.HandleEvery.Milliseconds()
}

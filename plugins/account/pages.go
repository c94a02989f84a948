package account

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/accountpb"
)

// This file is what operators, and their servers, do with accounts, on the administrative
// port: whoever has its key. What changes something takes a form in the body, so that no
// password is ever part of a URL, and leaves a line in the log.

const (
	mostForm     = 64 << 10 // octets
	mostReviewer = 64       // characters of who did it
	mostReason   = 200
)

// Pages implements plugin.Pager.
func (p *Account) Pages() []plugin.Page {
	page := func(pattern, about string, handler http.HandlerFunc) plugin.Page {
		return plugin.Page{Pattern: pattern, Handler: handler, About: about}
	}
	return []plugin.Page{
		page("GET /accounts", "one account: ?user=ID, ?account=NAME or ?handle=NAME", p.showAccount),
		page("POST /accounts", "makes one: account=, password=, nickname=, issuer= and subject=; what follows takes user=, and by=, as a form", p.changing("create", p.adminCreate)),
		page("POST /accounts/password", "sets a password and signs out: password=", p.changing("password", p.adminPassword)),
		page("POST /accounts/disable", "keeps one out and signs out: reason=, until= (RFC 3339; none: for good)", p.changing("disable", p.adminDisable)),
		page("POST /accounts/enable", "lets one in again", p.changing("enable", p.adminEnable)),
		page("POST /accounts/sign_out", "signs out: device= (none: all)", p.changing("sign_out", p.adminSignOut)),
		page("POST /accounts/profile", "changes fields of the profile: nickname=, avatar=, handle=, …", p.changing("profile", p.adminProfile)),
		page("POST /accounts/delete", "hides, signs out and erases: now=1 at once, else after the grace", p.changing("delete", p.adminDelete)),
	}
}

// accountShown is an account as operators see it.
type accountShown struct {
	ownExport
	State          string    `json:"state"` // active, deactivated, deleting, erased
	EraseAt        time.Time `json:"erase_at,omitzero"`
	Disabled       bool      `json:"disabled"`
	DisabledUntil  time.Time `json:"disabled_until,omitzero"` // none: for good
	DisabledReason string    `json:"disabled_reason,omitempty"`
}

func (p *Account) shown(ctx context.Context, u im.UserID) (shown accountShown, err error) {
	all, err := kept{p}.Export(ctx, u)
	if err != nil {
		return shown, err
	}
	st, err := p.store.state(ctx, p.store.db, u)
	if err != nil {
		return shown, err
	}
	shown.ownExport = all.(ownExport)
	shown.State = [...]string{"active", "deactivated", "deleting", "erased"}[st.leaving]
	if st.eraseMs != 0 {
		shown.EraseAt = time.UnixMilli(st.eraseMs).UTC()
		shown.State = "deleting" // also while it is being erased
	}
	if shown.Disabled = st.disabledUntilMs > p.host.Now().UnixMilli(); shown.Disabled {
		shown.DisabledReason = st.disabledReason
		if st.disabledUntilMs != forGood {
			shown.DisabledUntil = time.UnixMilli(st.disabledUntilMs).UTC()
		}
	}
	return shown, nil
}

// showAccount shows one.
func (p *Account) showAccount(w http.ResponseWriter, r *http.Request) {
	u, err := p.named(r.Context(), r.URL.Query().Get)
	if err == nil {
		var shown accountShown
		if shown, err = p.shown(r.Context(), u); err == nil {
			plugin.AnswerPage(w, http.StatusOK, shown)
			return
		}
	}
	plugin.RefusePage(w, refusalOf(r.Context(), err))
}

// named is the user that a request is about.
func (p *Account) named(ctx context.Context, value func(string) string) (im.UserID, error) {
	switch {
	case value("user") != "":
		id, err := strconv.ParseInt(value("user"), 10, 64)
		if err != nil || id <= 0 {
			return 0, im.Invalid("user", "must be a user ID")
		}
		_, err = p.store.userByID(ctx, im.UserID(id))
		return im.UserID(id), err
	case value("account") != "":
		name, err := accountName(value("account"))
		if err != nil {
			return 0, err
		}
		u, err := p.store.userByName(ctx, name)
		return u.id, err
	case value("handle") != "":
		name, err := handleName(value("handle"))
		if err != nil {
			return 0, err
		}
		holder, err := p.store.handleHolder(ctx, p.store.db, name)
		if err == nil && holder == 0 {
			err = errUnknown
		}
		return holder, err
	}
	return 0, im.Invalid("user", "give user, account or handle")
}

// form is what an operator asks for.
type form struct {
	*http.Request
	by string
}

func (f form) value(name string) string { return f.PostForm.Get(name) }

// changing is a page that changes something by do, which gives whom it was done to. It
// answers with the account as it is then.
func (p *Account) changing(what string, do func(ctx context.Context, f form) (im.UserID, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f, err := formOf(w, r)
		if err != nil {
			plugin.RefusePage(w, err)
			return
		}
		u, err := do(r.Context(), f)
		if err != nil {
			refused := refusalOf(r.Context(), err)
			p.host.Log().Info("administrative action refused", "action", what, "user", u, "by", f.by, "address", r.RemoteAddr, "code", im.CodeOf(refused))
			plugin.RefusePage(w, refused)
			return
		}
		p.host.Log().Info("administrative action", "action", what, "user", u, "by", f.by, "address", r.RemoteAddr)
		shown, err := p.shown(r.Context(), u)
		if err != nil {
			plugin.RefusePage(w, refusalOf(r.Context(), err))
			return
		}
		plugin.AnswerPage(w, http.StatusOK, shown)
	}
}

func formOf(w http.ResponseWriter, r *http.Request) (f form, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	if err := r.ParseForm(); err != nil {
		return f, im.Invalid("", "the body must be a form of at most %d octets", mostForm)
	}
	if len(r.URL.Query()) > 0 {
		return f, im.Invalid("", "give a form in the body, nothing in the URL, which may be logged")
	}
	f = form{r, cmp.Or(r.PostForm.Get("by"), "operator")}
	return f, im.CheckLine("by", f.by, 1, mostReviewer)
}

// profileForm is the fields of a profile that are in a form.
func profileForm(f form) (req *accountpb.UpdateProfileRequest, err error) {
	req = &accountpb.UpdateProfileRequest{}
	for name, to := range map[string]**string{
		"nickname": &req.Nickname, "avatar": &req.Avatar, "birthday": &req.Birthday, "signature": &req.Signature,
		"city": &req.City, "handle": &req.Handle, "language": &req.Language,
	} {
		if f.PostForm.Has(name) {
			*to = new(f.value(name))
		}
	}
	for name, to := range map[string]**bool{
		"found_by_handle": &req.FoundByHandle, "found_by_account": &req.FoundByAccount, "found_by_nickname": &req.FoundByNickname,
	} {
		if !f.PostForm.Has(name) {
			continue
		}
		may, err := strconv.ParseBool(f.value(name))
		if err != nil {
			return nil, im.Invalid(name, "must be true or false")
		}
		*to = &may
	}
	if f.PostForm.Has("gender") {
		n, err := strconv.ParseInt(f.value("gender"), 10, 32)
		if err != nil {
			return nil, im.Invalid("gender", "must be a number")
		}
		req.Gender = new(accountpb.Gender(n))
	}
	return req, nil
}

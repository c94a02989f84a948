package account_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"

	"github.com/golang-jwt/jwt/v5"
)

// office is the administrative pages of a host, and what they answer.
type office struct {
	*plugintest.Host
	plugin *account.Account
	pages  *http.ServeMux
}

// shown is an account as the pages show it.
type shown struct {
	UserID         int64 `json:"user_id"`
	Account        string
	Nickname       string
	Handle         string
	State          string
	Disabled       bool
	DisabledUntil  time.Time `json:"disabled_until"`
	DisabledReason string    `json:"disabled_reason"`
	HasPassword    bool      `json:"has_password"`
	EraseAt        time.Time `json:"erase_at"`
	Devices        []struct{ ID, Address string }
	External       []struct{ Issuer, Subject string }

	// Of a refusal.
	Code, Field, Reason string
}

func openOffice(t *testing.T, changes ...func(*account.Config)) *office {
	t.Helper()
	o := &office{plugin: account.Cheap(changes...), pages: http.NewServeMux()}
	o.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{o.plugin}})
	for _, page := range o.plugin.Pages() {
		o.pages.Handle(page.Pattern, page.Handler)
	}
	return o
}

// do sends a form, given as "name=value" pairs, or without any gets the page.
func (o *office) do(t *testing.T, path string, fields ...string) (shown, int) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if len(fields) > 0 {
		form := url.Values{}
		for _, field := range fields {
			name, value, _ := strings.Cut(field, "=")
			form.Set(name, value)
		}
		r = httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	o.pages.ServeHTTP(w, r)
	var got shown
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%s answers %d %q", path, w.Code, w.Body)
	}
	if w.Header().Get("Cache-Control") != "no-store" || strings.Contains(w.Body.String(), "argon2") {
		t.Errorf("%s may be kept by others, or shows a hash", path)
	}
	return got, w.Code
}

// must is do for what succeeds.
func (o *office) must(t *testing.T, path string, fields ...string) shown {
	t.Helper()
	got, status := o.do(t, path, fields...)
	if status != http.StatusOK {
		t.Fatalf("%s %q: got %d %+v", path, fields, status, got)
	}
	return got
}

func TestOperatorsMakeAccounts(t *testing.T) {
	o := openOffice(t)
	one := o.must(t, "/accounts", "account=Alice", "password="+password, "nickname=Al")
	if one.Account != "alice" || one.Nickname != "Al" || !one.HasPassword || one.State != "active" {
		t.Errorf("got %+v", one)
	}
	s := online(t, o.Host, "alice", "phone", idl.DeviceMobile)
	if s.Identity().User != im.UserID(one.UserID) {
		t.Errorf("signed in as %d", s.Identity().User)
	}
	two := o.must(t, "/accounts", "account= robot ", "issuer=https://id.example ", "subject= r2") // pasted with blanks
	if two.HasPassword || two.Account != "robot" || len(two.External) != 1 || two.External[0].Subject != "r2" {
		t.Errorf("got %+v", two)
	}
	user := "user=" + im.UserID(one.UserID).String()
	o.must(t, "/accounts/profile", user, "handle=foxy", "gender=2", "found_by_handle=false")
	o.must(t, "/accounts/profile", user, "handle=wolf") // an operator need not wait
	for _, query := range []string{user, "account=ALICE", "handle=wolf"} {
		if got := o.must(t, "/accounts?"+query); got.UserID != one.UserID || got.Handle != "wolf" || len(got.Devices) != 1 || got.Devices[0].ID != "phone" {
			t.Errorf("by %s: got %+v", query, got)
		}
	}
}

func TestOperatorsAreRefused(t *testing.T) {
	o := openOffice(t)
	o.must(t, "/accounts", "account=alice", "password="+password)
	o.must(t, "/accounts", "account=robot", "issuer=i", "subject=s")
	for _, test := range []struct {
		name, path string
		fields     []string
		status     int
		code       string
		field      string
	}{
		{"nobody named", "/accounts", nil, 400, "invalid_argument", "user"},
		{"no number", "/accounts?user=x", nil, 400, "invalid_argument", "user"},
		{"unknown", "/accounts?user=7", nil, 404, "not_found", ""},
		{"unknown handle", "/accounts?handle=nobody", nil, 404, "not_found", ""},
		{"name taken", "/accounts", []string{"account=alice", "password=" + password}, 409, "already_exists", "account"},
		{"no name", "/accounts", []string{"password=" + password}, 400, "invalid_argument", "account"},
		{"neither password nor issuer", "/accounts", []string{"account=carol"}, 400, "invalid_argument", "password"},
		{"issuer without subject", "/accounts", []string{"account=carol", "issuer=x"}, 400, "invalid_argument", "subject"},
		{"subject taken", "/accounts", []string{"account=carol", "issuer=i", "subject=s"}, 409, "already_exists", "subject"},
		{"short password", "/accounts/password", []string{"user=100001", "password=x"}, 400, "invalid_argument", "password"},
		{"another's name only", "/accounts/password", []string{"account=alice", "password=" + password}, 400, "invalid_argument", "user"},
		{"until before now", "/accounts/disable", []string{"user=100001", "until=2020-01-01T00:00:00Z"}, 400, "invalid_argument", "until"},
		{"long reason", "/accounts/disable", []string{"user=100001", "reason=" + strings.Repeat("x", 201)}, 400, "invalid_argument", "reason"},
		{"no such device", "/accounts/sign_out", []string{"user=100001", "device=x"}, 404, "not_found", "device"},
		{"bad field", "/accounts/profile", []string{"user=100001", "birthday=x"}, 400, "invalid_argument", "birthday"},
		{"bad flag", "/accounts/profile", []string{"user=100001", "found_by_handle=x"}, 400, "invalid_argument", "found_by_handle"},
		{"bad gender", "/accounts/profile", []string{"user=100001", "gender=x"}, 400, "invalid_argument", "gender"},
		{"long name of an operator", "/accounts/enable", []string{"user=100001", "by=" + strings.Repeat("x", 65)}, 400, "invalid_argument", "by"},
		{"password in the URL", "/accounts/password?password=correcthorse", []string{"user=100001"}, 400, "invalid_argument", ""},
		{"large form", "/accounts/enable", []string{"user=100001", "x=" + strings.Repeat("x", 65<<10)}, 400, "invalid_argument", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, status := o.do(t, test.path, test.fields...)
			if status != test.status || got.Code != test.code || got.Field != test.field {
				t.Errorf("got %d %+v", status, got)
			}
		})
	}
}

func TestOperatorsKeepPeopleOut(t *testing.T) {
	o := openOffice(t)
	one := o.must(t, "/accounts", "account=alice", "password="+password)
	user := "user=" + im.UserID(one.UserID).String()
	s := online(t, o.Host, "alice", "phone", idl.DeviceMobile)
	secret := token(t, o.Host, "alice", "web", idl.DeviceWeb)
	until := o.Now().Add(time.Hour)
	got := o.must(t, "/accounts/disable", user, "reason=spam", "until="+until.Format(time.RFC3339))
	if !got.Disabled || got.DisabledReason != "spam" || !got.DisabledUntil.Equal(until) || len(got.Devices) != 0 {
		t.Errorf("got %+v", got)
	}
	wantClosed(t, "phone", s, idl.CloseSignedOut)
	_, _, err := auth(o.Host, secret)
	wantRefusal(t, err, idl.CodeUnauthenticated, "")
	_, err = signIn(o.Host, "alice", "phone", idl.DeviceMobile)
	refused, ok := errors.AsType[*im.Error](err)
	if !ok || refused.Code != idl.CodePermissionDenied || refused.Field != "account" || !strings.Contains(refused.Reason, "spam") || refused.RetryAfter != time.Hour {
		t.Errorf("got %v", err)
	}
	wantRefusal(t, signInWith(o.Host, "alice", "wrong horse"), idl.CodeBadCredentials, "") // who does not know the password hears nothing
	o.Advance(time.Hour)
	if _, err := signIn(o.Host, "alice", "phone", idl.DeviceMobile); err != nil {
		t.Errorf("after its end: %v", err)
	}
	if got := o.must(t, "/accounts/disable", user); !got.Disabled || !got.DisabledUntil.IsZero() {
		t.Errorf("for good: got %+v", got)
	}
	o.Advance(10 * 365 * 24 * time.Hour)
	_, err = signIn(o.Host, "alice", "phone", idl.DeviceMobile)
	wantRefusal(t, err, idl.CodePermissionDenied, "account")
	if got := o.must(t, "/accounts/enable", user); got.Disabled {
		t.Errorf("got %+v", got)
	}
	if _, err := signIn(o.Host, "alice", "phone", idl.DeviceMobile); err != nil {
		t.Errorf("let in again: %v", err)
	}
}

func TestOperatorsSignOutAndDelete(t *testing.T) {
	o := openOffice(t)
	one := o.must(t, "/accounts", "account=alice", "password="+password)
	user := "user=" + im.UserID(one.UserID).String()
	phone, web := online(t, o.Host, "alice", "phone", idl.DeviceMobile), online(t, o.Host, "alice", "web", idl.DeviceWeb)
	o.must(t, "/accounts/sign_out", user, "device=web")
	wantClosed(t, "web", web, idl.CloseSignedOut)
	wantClosed(t, "phone", phone, 0)
	o.must(t, "/accounts/password", user, "password="+newPassword)
	wantClosed(t, "phone", phone, idl.CloseSignedOut)
	wantRefusal(t, signInWith(o.Host, "alice", password), idl.CodeBadCredentials, "")
	if err := signInWith(o.Host, "alice", newPassword); err != nil {
		t.Error(err)
	}
	if got := o.must(t, "/accounts/sign_out", user); len(got.Devices) != 0 {
		t.Errorf("got %+v", got)
	}
	if got := o.must(t, "/accounts/delete", user); got.State != "deleting" || !got.EraseAt.Equal(o.Now().Add(30*24*time.Hour)) {
		t.Errorf("got %+v", got)
	}
	if err := signInWith(o.Host, "alice", newPassword); err != nil { // which takes it back
		t.Error(err)
	}
	if got := o.must(t, "/accounts/delete", user, "now=1"); got.State != "deleting" || !got.EraseAt.Equal(o.Now()) {
		t.Errorf("got %+v", got)
	}
	wantRefusal(t, signInWith(o.Host, "alice", newPassword), idl.CodeBadCredentials, "") // without grace nothing takes it back
	if err := o.plugin.EraseDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := o.must(t, "/accounts?"+user); got.State != "erased" || strings.Contains(got.Account, "alice") || got.HasPassword {
		t.Errorf("got %+v", got)
	}
	for _, path := range []string{"/accounts/enable", "/accounts/profile", "/accounts/delete", "/accounts/sign_out"} {
		if got, status := o.do(t, path, user); status != http.StatusNotFound {
			t.Errorf("%s of an erased one: %d %+v", path, status, got)
		}
	}
}

// TestNoSecretIsLogged does everything that has to do with secrets, well and badly, and looks
// for them in the log, which is everything from debug up.
func TestNoSecretIsLogged(t *testing.T) {
	p := newIDP(t)
	o := openOffice(t, func(c *account.Config) { c.External = []account.Issuer{p.by()} })
	const wrong, third, push = "wrong horse 71", "staple horse 93", "push-token-4711"
	one := o.must(t, "/accounts", "account=alice", "password="+password, "by=carol")
	user := "user=" + im.UserID(one.UserID).String()
	s := online(t, o.Host, "alice", "phone", idl.DeviceMobile)
	secret := token(t, o.Host, "alice", "web", idl.DeviceWeb)
	external := signed(t, jwt.SigningMethodRS256, "r1", p.rsa, said(o.Host))
	_ = signInWith(o.Host, "alice", wrong)
	_, _ = changePassword(s, wrong, newPassword, false)
	_, _ = changePassword(s, password, newPassword, false)
	_ = setPush(s, "apns", push)
	_ = s.Call(idl.ActionExport, &accountpb.ExportRequest{}, nil)
	_, _ = signInExternal(o.Host, external, "desk", idl.DeviceDesktop)
	_, _ = signInExternal(o.Host, external+"x", "desk", idl.DeviceDesktop)
	_, _, _ = auth(o.Host, secret)
	o.do(t, "/accounts/password", user, "password="+third, "by=carol")
	o.do(t, "/accounts/password", user, "password=x7x7x", "by=carol")
	o.do(t, "/accounts/password?password="+url.QueryEscape(third), user)
	_, _ = leave(s, wrong, false)
	for _, lost := range []error{errors.New("away")} {
		o.plugin.LoseAnswers(true, lost)
		_ = signInWith(o.Host, "alice", third)
		o.do(t, "/accounts/password", user, "password="+newPassword)
		o.do(t, "/accounts", "account=dave", "password="+third)
	}
	logs := o.Logs()
	for _, want := range []string{"administrative action", "by=carol", "action=password", "administrative action refused"} {
		if !strings.Contains(logs, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	hash := ""
	if err := o.DB().QueryRowContext(t.Context(), "SELECT password FROM account_users WHERE name = 'alice'").Scan(&hash); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{password, wrong, newPassword, third, push, "x7x7x", secret, external, external[len(external)-40:], hash, "argon2"} {
		for _, form := range []string{bad, url.QueryEscape(bad)} {
			if strings.Contains(logs, form) {
				t.Errorf("the log has the secret %q", form)
			}
		}
	}
}

package account_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

// idp is somebody else's identity provider: its keys, and a server that gives them away.
type idp struct {
	*httptest.Server
	rsa     *rsa.PrivateKey
	ed      ed25519.PrivateKey
	asked   atomic.Int64
	answer  atomic.Pointer[string] // the JWKS
	refuses atomic.Bool
}

const (
	idpName  = "https://id.example"
	audience = "freeim"
)

func newIDP(t *testing.T) *idp {
	t.Helper()
	p := &idp{}
	var err error
	if p.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if _, p.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	p.publish(jwk("r1", &p.rsa.PublicKey), jwk("e1", p.ed.Public()))
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		if p.refuses.Load() {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, *p.answer.Load())
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *idp) publish(keys ...map[string]string) {
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err) // maps of strings
	}
	set := string(text)
	p.answer.Store(&set)
}

// jwk is a public key as RFC 7517 writes it.
func jwk(kid string, key crypto.PublicKey) map[string]string {
	raw := base64.RawURLEncoding
	switch key := key.(type) {
	case *rsa.PublicKey:
		return map[string]string{"kty": "RSA", "kid": kid, "use": "sig", "n": raw.EncodeToString(key.N.Bytes()), "e": raw.EncodeToString(big.NewInt(int64(key.E)).Bytes())}
	case ed25519.PublicKey:
		return map[string]string{"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": raw.EncodeToString(key)}
	}
	return map[string]string{"kty": "oct", "kid": kid, "k": raw.EncodeToString(key.([]byte))}
}

// by is an issuer's configuration whose keys are at the server.
func (p *idp) by() account.Issuer {
	return account.Issuer{Issuer: idpName, Audience: audience, Algorithms: []string{"RS256", "EdDSA"}, KeysURL: p.URL,
		NicknameClaim: "name", AvatarClaim: "picture"}
}

func external(t *testing.T, by ...account.Issuer) *plugintest.Host {
	t.Helper()
	return start(t, func(c *account.Config) { c.External, c.FailuresPerMinute = by, 1000 })
}

// said are claims that are accepted, changed by some.
func said(h *plugintest.Host, changes ...func(jwt.MapClaims)) jwt.MapClaims {
	c := jwt.MapClaims{"iss": idpName, "aud": audience, "sub": "s1", "exp": h.Now().Add(time.Hour).Unix(), "name": "Zoë", "picture": "https://id.example/z.png"}
	for _, change := range changes {
		change(c)
	}
	return c
}

func signed(t *testing.T, method jwt.SigningMethod, kid string, key any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func signInExternal(h *plugintest.Host, token, device string, kind idl.DeviceType) (*accountpb.SignInReply, error) {
	rep := &accountpb.SignInReply{}
	req := &accountpb.SignInExternalRequest{Token: token, Device: &accountpb.Device{Id: device, Type: kind}}
	return rep, h.Connect(idl.CodecJSON).Call(idl.ActionSignInExternal, req, rep)
}

func set(name string, value any) func(jwt.MapClaims) {
	return func(c jwt.MapClaims) {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
}

func TestExternalSignIn(t *testing.T) {
	p := newIDP(t)
	h := external(t, p.by())
	in, err := signInExternal(h, signed(t, jwt.SigningMethodRS256, "r1", p.rsa, said(h)), "phone", idl.DeviceMobile)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := auth(h, in.Token)
	if err != nil {
		t.Fatal(err)
	}
	one := own(t, s)
	if one.Nickname != "Zoë" || one.Avatar != "https://id.example/z.png" || !strings.HasPrefix(one.Account, "ext-") || one.FoundByAccount {
		t.Errorf("got %+v", one)
	}
	// The same one, by another algorithm, with other claims: what he has changed himself stays.
	if _, err := update(s, &accountpb.UpdateProfileRequest{Nickname: new("Z")}); err != nil {
		t.Fatal(err)
	}
	again, err := signInExternal(h, signed(t, jwt.SigningMethodEdDSA, "e1", p.ed, said(h, set("name", "New"))), "web", idl.DeviceWeb)
	if err != nil || again.UserId != in.UserId {
		t.Errorf("got user %d, %v, want %d", again.UserId, err, in.UserId)
	}
	if one := own(t, s); one.Nickname != "Z" {
		t.Errorf("got nickname %q", one.Nickname)
	}
	other, err := signInExternal(h, signed(t, jwt.SigningMethodRS256, "", p.rsa, said(h, set("sub", "s2"), set("name", "a\x1b"), set("picture", "javascript:x"))), "phone", idl.DeviceMobile)
	if err != nil || other.UserId == in.UserId {
		t.Fatalf("got user %d, %v", other.UserId, err)
	}
	s2, _, err := auth(h, other.Token)
	if err != nil {
		t.Fatal(err)
	}
	if one := own(t, s2); one.Avatar != "" || one.Nickname != one.Account {
		t.Errorf("from claims that cannot be taken: %+v", one)
	}
	// There is no password to sign in with, or to change.
	for _, tried := range []string{"", " ", "password"} {
		if err := signInWith(h, one.Account, tried); err == nil {
			t.Errorf("signed in with password %q", tried)
		} else if tried == "password" { // as whoever is not there
			wantRefusal(t, err, idl.CodeBadCredentials, "")
		}
	}
	_, err = changePassword(s, "password", newPassword, false)
	wantRefusal(t, err, idl.CodeBadCredentials, "")
}

func TestExternalTokensThatAreRefused(t *testing.T) {
	p, q := newIDP(t), newIDP(t)
	h := external(t, p.by())
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&p.rsa.PublicKey))})
	rs, now := jwt.SigningMethodRS256, h.Now()
	good := signed(t, rs, "r1", p.rsa, said(h))
	head, body, _ := strings.Cut(good, ".")
	_, signature, _ := strings.Cut(body, ".")
	forged := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"` + idpName + `","aud":"freeim","sub":"admin","exp":99999999999}`))
	for name, token := range map[string]string{
		"none":                         signed(t, jwt.SigningMethodNone, "r1", jwt.UnsafeAllowNoneSignatureType, said(h)),
		"HS256 by the public key":      signed(t, jwt.SigningMethodHS256, "r1", publicPEM, said(h)),
		"HS256 by the modulus":         signed(t, jwt.SigningMethodHS256, "r1", p.rsa.N.Bytes(), said(h)),
		"RS512":                        signed(t, jwt.SigningMethodRS512, "r1", p.rsa, said(h)),
		"PS256":                        signed(t, jwt.SigningMethodPS256, "r1", p.rsa, said(h)),
		"another's key":                signed(t, rs, "r1", q.rsa, said(h)),
		"expired":                      signed(t, rs, "r1", p.rsa, said(h, set("exp", now.Add(-31*time.Second).Unix()))),
		"no end":                       signed(t, rs, "r1", p.rsa, said(h, set("exp", nil))),
		"not yet":                      signed(t, rs, "r1", p.rsa, said(h, set("nbf", now.Add(31*time.Second).Unix()))),
		"another issuer":               signed(t, rs, "r1", p.rsa, said(h, set("iss", "https://evil.example"))),
		"no issuer":                    signed(t, rs, "r1", p.rsa, said(h, set("iss", nil))),
		"another audience":             signed(t, rs, "r1", p.rsa, said(h, set("aud", "mail"))),
		"no audience":                  signed(t, rs, "r1", p.rsa, said(h, set("aud", nil))),
		"no subject":                   signed(t, rs, "r1", p.rsa, said(h, set("sub", nil))),
		"empty subject":                signed(t, rs, "r1", p.rsa, said(h, set("sub", ""))),
		"a number as subject":          signed(t, rs, "r1", p.rsa, said(h, set("sub", 7))),
		"a subject with a space after": signed(t, rs, "r1", p.rsa, said(h, set("sub", "s1 "))),
		"long subject":                 signed(t, rs, "r1", p.rsa, said(h, set("sub", strings.Repeat("s", 256)))),
		"control in the subject":       signed(t, rs, "r1", p.rsa, said(h, set("sub", "s\x00"))),
		"other claims":                 head + "." + forged + "." + signature,
		"no signature":                 head + "." + body[:strings.Index(body, ".")] + ".",
		"no token":                     "x",
		"two parts":                    "e30.e30",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := signInExternal(h, token, "phone", idl.DeviceMobile)
			wantRefusal(t, err, idl.CodeBadCredentials, "token")
		})
	}
	for name, token := range map[string]string{"empty": "", "huge": strings.Repeat("x", 4097)} {
		_, err := signInExternal(h, token, "phone", idl.DeviceMobile)
		t.Log(name)
		wantRefusal(t, err, idl.CodeInvalidArgument, "token")
	}
	_, err := signInExternal(h, good, "", idl.DeviceMobile)
	wantRefusal(t, err, idl.CodeInvalidArgument, "device.id")
	for name, c := range map[string]jwt.MapClaims{
		"expired within the leeway": said(h, set("exp", now.Add(-29*time.Second).Unix())),
		"not yet within the leeway": said(h, set("nbf", now.Add(29*time.Second).Unix())),
		"several audiences":         said(h, set("aud", []string{"mail", audience})),
	} {
		if _, err := signInExternal(h, signed(t, rs, "r1", p.rsa, c), "phone", idl.DeviceMobile); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, kid := range []string{"e1", "r9"} { // the other key's, and one that there is not
		h.Advance(10 * time.Second)
		_, err := signInExternal(h, signed(t, rs, kid, p.rsa, said(h)), "phone", idl.DeviceMobile)
		wantRefusal(t, err, idl.CodeBadCredentials, "token")
	}
	if logs := h.Logs(); strings.Contains(logs, signature[:20]) {
		t.Error("a token is in the log")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestExternalFailuresAreLimited(t *testing.T) {
	p := newIDP(t)
	h := start(t, func(c *account.Config) { c.External, c.FailuresPerMinute = []account.Issuer{p.by()}, 3 })
	for range 3 {
		_, err := signInExternal(h, "x.y.z", "phone", idl.DeviceMobile)
		wantRefusal(t, err, idl.CodeBadCredentials, "token")
	}
	_, err := signInExternal(h, signed(t, jwt.SigningMethodRS256, "r1", p.rsa, said(h)), "phone", idl.DeviceMobile)
	if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Code != idl.CodeRateLimited || refused.RetryAfter <= 0 {
		t.Errorf("got %v, want to be told when to try again", err)
	}
}

// TestKeysThatChange: a new key is known at once, one that is taken away within an hour, and
// whoever invents keys has the issuer asked no more than now and then.
func TestKeysThatChange(t *testing.T) {
	p, q := newIDP(t), newIDP(t)
	h := external(t, p.by())
	try := func(kid string, key *rsa.PrivateKey) idl.Code {
		_, err := signInExternal(h, signed(t, jwt.SigningMethodRS256, kid, key, said(h)), "phone", idl.DeviceMobile)
		return im.CodeOf(err)
	}
	want := func(name string, got, want idl.Code, asked int64) {
		t.Helper()
		if got != want || p.asked.Load() != asked {
			t.Errorf("%s: got %v after %d readings, want %v after %d", name, got, p.asked.Load(), want, asked)
		}
	}
	want("the first", try("r1", p.rsa), 0, 1)
	want("from memory", try("r1", p.rsa), 0, 1)
	for range 20 {
		want("invented or new, too soon", try("r2", q.rsa), idl.CodeUnavailable, 1)
	}
	h.Advance(10 * time.Second)
	want("invented", try("r2", q.rsa), idl.CodeBadCredentials, 2)
	p.publish(jwk("r1", &p.rsa.PublicKey), jwk("r2", &q.rsa.PublicKey))
	h.Advance(10 * time.Second)
	want("new", try("r2", q.rsa), 0, 3)
	p.publish(jwk("r2", &q.rsa.PublicKey))
	want("taken away, not known yet", try("r1", p.rsa), 0, 3)
	h.Advance(time.Hour)
	want("taken away", try("r1", p.rsa), idl.CodeBadCredentials, 4)
	p.refuses.Store(true)
	h.Advance(time.Hour)
	want("away", try("r2", q.rsa), 0, 5)
	want("away, asked again too soon", try("r2", q.rsa), 0, 5)
	h.Advance(23 * time.Hour)
	want("away for a day", try("r2", q.rsa), idl.CodeUnavailable, 6)
	p.refuses.Store(false)
	h.Advance(10 * time.Second)
	want("back", try("r2", q.rsa), 0, 7)
	for name, set := range map[string]string{"no JSON": "<html>", "no keys": `{"keys":[]}`, "too many": `{"keys":[` + strings.Repeat("{},", 64) + `{}]}`,
		"too large": `{"keys":[{}]}` + strings.Repeat(" ", 256<<10)} {
		p.answer.Store(&set)
		h.Advance(time.Hour)
		before := p.asked.Load()
		want(name, try("r2", q.rsa), 0, before+1)
	}
}

// TestKeysAwayCountForNobody: who comes by a new key while the set cannot be read is told to come again, and it is no
// failure of his.
func TestKeysAwayCountForNobody(t *testing.T) {
	p, q := newIDP(t), newIDP(t)
	h := start(t, func(c *account.Config) { c.External, c.FailuresPerMinute = []account.Issuer{p.by()}, 3 })
	try := func(kid string, key *rsa.PrivateKey) idl.Code {
		_, err := signInExternal(h, signed(t, jwt.SigningMethodRS256, kid, key, said(h)), "phone", idl.DeviceMobile)
		return im.CodeOf(err)
	}
	if got := try("r1", p.rsa); got != 0 {
		t.Fatalf("got %v", got)
	}
	p.publish(jwk("r1", &p.rsa.PublicKey), jwk("r2", &q.rsa.PublicKey))
	p.refuses.Store(true)
	h.Advance(10 * time.Second)
	for range 20 {
		if got := try("r2", q.rsa); got != idl.CodeUnavailable {
			t.Errorf("got %v", got)
		}
	}
	p.refuses.Store(false)
	h.Advance(10 * time.Second)
	if got := try("r2", q.rsa); got != 0 {
		t.Errorf("when it can be read: got %v", got)
	}
}

// TestManyWhoWaitForKeys have the issuer asked once.
func TestManyWhoWaitForKeys(t *testing.T) {
	p := newIDP(t)
	h := external(t, p.by())
	token := signed(t, jwt.SigningMethodRS256, "r1", p.rsa, said(h))
	var wg sync.WaitGroup
	users := make([]int64, 16)
	for i := range users {
		wg.Go(func() {
			rep, err := signInExternal(h, token, fmt.Sprint("d", i), idl.DeviceMobile)
			if err != nil {
				t.Error(err)
			}
			users[i] = rep.UserId
		})
	}
	wg.Wait()
	for _, u := range users {
		if u != users[0] || u == 0 {
			t.Errorf("one person became several: %v", users)
			break
		}
	}
	if p.asked.Load() != 1 {
		t.Errorf("asked %d times", p.asked.Load())
	}
	if n := count(t, h, "SELECT count(*) FROM account_users"); n != 1 {
		t.Errorf("%d accounts were made", n)
	}
}

// TestKeysAreReadForAll: the one for whom they are read goes, and the others get them.
func TestKeysAreReadForAll(t *testing.T) {
	p := newIDP(t)
	ctx, leave := context.WithCancel(t.Context())
	key := account.KeyOf(func(ctx context.Context) ([]byte, error) {
		leave()
		return []byte(*p.answer.Load()), ctx.Err()
	})
	for _, ctx := range []context.Context{ctx, t.Context()} {
		if got, err := key(ctx, "r1", "RS256"); err != nil || got == nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

func TestKeysThatAreNotTaken(t *testing.T) {
	p := newIDP(t)
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	encrypts, other := jwk("r1", &p.rsa.PublicKey), jwk("r1", &p.rsa.PublicKey)
	encrypts["use"], other["alg"] = "enc", "RS512"
	for _, test := range []struct {
		name string
		key  map[string]string
		sign func(h *plugintest.Host) string
	}{
		{"1,024 bits", jwk("r1", &small.PublicKey), func(h *plugintest.Host) string { return signed(t, jwt.SigningMethodRS256, "r1", small, said(h)) }},
		{"for encryption", encrypts, func(h *plugintest.Host) string { return signed(t, jwt.SigningMethodRS256, "r1", p.rsa, said(h)) }},
		{"for another algorithm", other, func(h *plugintest.Host) string { return signed(t, jwt.SigningMethodRS256, "r1", p.rsa, said(h)) }},
		{"a secret that everybody can read", jwk("r1", []byte("0123456789abcdef0123456789abcdef")), func(h *plugintest.Host) string {
			return signed(t, jwt.SigningMethodHS256, "r1", []byte("0123456789abcdef0123456789abcdef"), said(h))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.publish(test.key, jwk("e1", p.ed.Public()))
			h := external(t, p.by())
			_, err := signInExternal(h, test.sign(h), "phone", idl.DeviceMobile)
			wantRefusal(t, err, idl.CodeBadCredentials, "token")
			if _, err := signInExternal(h, signed(t, jwt.SigningMethodEdDSA, "e1", p.ed, said(h)), "phone", idl.DeviceMobile); err != nil {
				t.Errorf("by the other key: %v", err)
			}
		})
	}
	p.publish(jwk("r1", &p.rsa.PublicKey), jwk("r2", &small.PublicKey), jwk("r3", &newIDP(t).rsa.PublicKey))
	h := external(t, p.by())
	_, err := signInExternal(h, signed(t, jwt.SigningMethodRS256, "", p.rsa, said(h)), "phone", idl.DeviceMobile)
	wantRefusal(t, err, idl.CodeBadCredentials, "token") // which of two?
}

// TestSecretsAndFiles are the other two places that keys come from.
func TestSecretsAndFiles(t *testing.T) {
	p, dir := newIDP(t), t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const secret = "0123456789abcdef0123456789abcdef"
	shared := account.Issuer{Issuer: "shared", Audience: audience, Algorithms: []string{"HS256"}, SecretFile: write("secret", secret+"\n")}
	filed := account.Issuer{Issuer: idpName, Audience: audience, Algorithms: []string{"EdDSA"}, KeysFile: write("keys", *p.answer.Load())}
	h := external(t, shared, filed)
	one, err := signInExternal(h, signed(t, jwt.SigningMethodHS256, "", []byte(secret), said(h, set("iss", "shared"))), "phone", idl.DeviceMobile)
	if err != nil {
		t.Fatal(err)
	}
	two, err := signInExternal(h, signed(t, jwt.SigningMethodEdDSA, "e1", p.ed, said(h)), "phone", idl.DeviceMobile)
	if err != nil || two.UserId == one.UserId {
		t.Errorf("the same subject of two issuers is user %d and %d, %v", one.UserId, two.UserId, err)
	}
	for name, token := range map[string]string{
		"another's secret": signed(t, jwt.SigningMethodHS256, "", []byte(secret), said(h)),
		"RS256, not named": signed(t, jwt.SigningMethodRS256, "r1", p.rsa, said(h)),
		"wrong secret":     signed(t, jwt.SigningMethodHS256, "", []byte(secret+"x"), said(h, set("iss", "shared"))),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := signInExternal(h, token, "phone", idl.DeviceMobile)
			wantRefusal(t, err, idl.CodeBadCredentials, "token")
		})
	}
	// Whoever has no password leaves by his token.
	s, _, err := auth(h, one.Token)
	if err != nil {
		t.Fatal(err)
	}
	leave := func(token string) error {
		return s.Call(idl.ActionDeleteAccount, &accountpb.DeleteRequest{Token: token}, nil)
	}
	wantRefusal(t, leave(signed(t, jwt.SigningMethodEdDSA, "e1", p.ed, said(h))), idl.CodeBadCredentials, "token")
	wantRefusal(t, leave("x"), idl.CodeBadCredentials, "token")
	if err := leave(signed(t, jwt.SigningMethodHS256, "", []byte(secret), said(h, set("iss", "shared")))); err != nil {
		t.Errorf("by the own token: %v", err)
	}
	wantClosed(t, "phone", s, idl.CloseSignedOut)

	for name, by := range map[string]account.Issuer{
		"a short secret":    {Issuer: "x", Audience: "y", Algorithms: []string{"HS256"}, SecretFile: write("short", "short")},
		"no such file":      {Issuer: "x", Audience: "y", Algorithms: []string{"HS256"}, SecretFile: filepath.Join(dir, "nothing")},
		"no keys in a file": {Issuer: "x", Audience: "y", Algorithms: []string{"EdDSA"}, KeysFile: write("none", "{}")},
	} {
		t.Run(name, func(t *testing.T) {
			p := account.Cheap(func(c *account.Config) { c.External = []account.Issuer{by} })
			if _, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{p}}); err == nil {
				t.Error("it starts")
			} else if strings.Contains(err.Error(), "short\"") {
				t.Errorf("the error has the secret: %v", err)
			}
		})
	}
}

func TestIssuersAreChecked(t *testing.T) {
	good := account.Issuer{Issuer: "a", Audience: "b", Algorithms: []string{"RS256"}, KeysURL: "https://id.example/keys"}
	for _, test := range []struct {
		name   string
		change func(*account.Issuer)
		field  string
	}{
		{"no issuer", func(i *account.Issuer) { i.Issuer = "" }, "issuer"},
		{"no audience", func(i *account.Issuer) { i.Audience = "" }, "audience"},
		{"no keys", func(i *account.Issuer) { i.KeysURL = "" }, "secret_file"},
		{"two places", func(i *account.Issuer) { i.KeysFile = "x" }, "secret_file"},
		{"no algorithm", func(i *account.Issuer) { i.Algorithms = nil }, "algorithms"},
		{"HS256 with public keys", func(i *account.Issuer) { i.Algorithms = []string{"RS256", "HS256"} }, "algorithms"},
		{"RS256 with a secret", func(i *account.Issuer) { i.KeysURL, i.SecretFile = "", "x" }, "algorithms"},
		{"none", func(i *account.Issuer) { i.Algorithms = []string{"none"} }, "algorithms"},
		{"plain http", func(i *account.Issuer) { i.KeysURL = "http://id.example/keys" }, "keys_url"},
		{"no URL", func(i *account.Issuer) { i.KeysURL = "keys" }, "keys_url"},
	} {
		t.Run(test.name, func(t *testing.T) {
			by := good
			test.change(&by)
			p := account.Cheap(func(c *account.Config) { c.External = []account.Issuer{by} })
			_, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{p}})
			if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Field != "account.external[0]."+test.field {
				t.Errorf("got %v", err)
			}
		})
	}
	p := account.Cheap(func(c *account.Config) { c.External = []account.Issuer{good, good} })
	_, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{p}})
	if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Field != "account.external[1].issuer" {
		t.Errorf("one issuer twice: got %v", err)
	}
}

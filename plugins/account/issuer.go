package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"freeim/core/im"

	"github.com/golang-jwt/jwt/v5"
)

// Issuer is one whose tokens (JWT) sign people in.
type Issuer struct {
	// Issuer and Audience are what a token must say in iss, and have in aud.
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"`
	// Algorithms are those that it signs by: HS256 alone, or RS256 and EdDSA.
	Algorithms []string `yaml:"algorithms"`
	// One of these has its keys: the secret of HS256, 32 octets at least; a JWKS in a file;
	// a JWKS at an https URL, or http on this machine.
	SecretFile string `yaml:"secret_file"`
	KeysFile   string `yaml:"keys_file"`
	KeysURL    string `yaml:"keys_url"`
	// NicknameClaim and AvatarClaim are the claims that a new person's nickname and avatar
	// are taken from; empty: none.
	NicknameClaim string `yaml:"nickname_claim"`
	AvatarClaim   string `yaml:"avatar_claim"`
}

const (
	algSecret    = "HS256"
	leastSecret  = 32 // octets: as long as the hash, RFC 7518 §3.2
	mostIssuers  = 16
	mostIdentity = 255 // characters of an issuer or a subject
	mostJWT      = 4096
)

func (i Issuer) validate(key string) error {
	sources := 0
	for _, source := range []string{i.SecretFile, i.KeysFile, i.KeysURL} {
		if source != "" {
			sources++
		}
	}
	secret := i.SecretFile != ""
	switch {
	case i.Issuer == "" || utf8.RuneCountInString(i.Issuer) > mostIdentity:
		return im.Invalid(key+".issuer", "must have 1-%d characters", mostIdentity)
	case i.Audience == "":
		return im.Invalid(key+".audience", "must be given: a token for another service is not one for this")
	case sources != 1:
		return im.Invalid(key+".secret_file", "give one of secret_file, keys_file and keys_url")
	case len(i.Algorithms) == 0:
		return im.Invalid(key+".algorithms", "must name one at least")
	case i.KeysURL != "" && !trustedURL(i.KeysURL):
		return im.Invalid(key+".keys_url", "must be an https URL, or http on this machine")
	}
	for _, alg := range i.Algorithms {
		// A public key is no secret: whoever has it could sign by HS256 with it.
		if secret && alg != algSecret || !secret && alg != "RS256" && alg != "EdDSA" {
			return im.Invalid(key+".algorithms", "%q is not one: HS256 with secret_file, else RS256 and EdDSA", alg)
		}
	}
	return nil
}

func validateIssuers(issuers []Issuer) error {
	if len(issuers) > mostIssuers {
		return im.Invalid("account.external", "must be at most %d", mostIssuers)
	}
	for n, i := range issuers {
		key := fmt.Sprintf("account.external[%d]", n)
		if err := i.validate(key); err != nil {
			return err
		}
		if slices.ContainsFunc(issuers[:n], func(other Issuer) bool { return other.Issuer == i.Issuer }) {
			return im.Invalid(key+".issuer", "comes twice")
		}
	}
	return nil
}

// trustedURL reports whether keys that are fetched from a URL come from whom it names.
func trustedURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	local := err == nil && ip.IsLoopback() || u.Hostname() == "localhost"
	return u.Scheme == "https" || u.Scheme == "http" && local
}

// issuer checks one issuer's tokens. Safe for concurrent use.
type issuer struct {
	Issuer
	parser *jwt.Parser
	secret []byte // of HS256
	keys   *keys  // of the others
}

// claims is what a token that is accepted says.
type claims struct {
	issuer, subject  string
	nickname, avatar string // as they stand there, not checked
}

var (
	errNotAccepted = errors.New("the token is not accepted")
	errExpired     = errors.New("the token has expired")
	errNotYet      = errors.New("the token is not valid yet")
)

// newIssuer reads the secret, or makes sure that the file of keys can be read. What is at a
// URL is asked for when a token comes.
func newIssuer(ctx context.Context, i Issuer, leeway time.Duration, now func() time.Time) (*issuer, error) {
	made := &issuer{Issuer: i, parser: jwt.NewParser(
		jwt.WithValidMethods(i.Algorithms), jwt.WithIssuer(i.Issuer), jwt.WithAudience(i.Audience),
		jwt.WithExpirationRequired(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(now))}
	switch {
	case i.SecretFile != "":
		text, err := os.ReadFile(i.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("secret of issuer %s: %w", i.Issuer, err)
		}
		if made.secret = bytes.TrimRight(text, "\r\n"); len(made.secret) < leastSecret {
			return nil, fmt.Errorf("secret of issuer %s has %d octets, must have %d at least", i.Issuer, len(made.secret), leastSecret)
		}
	case i.KeysFile != "":
		made.keys = newKeys(func(context.Context) ([]byte, error) { return os.ReadFile(i.KeysFile) }, now)
		if err := made.keys.load(ctx); err != nil {
			return nil, fmt.Errorf("keys of issuer %s: %w", i.Issuer, err)
		}
	default:
		made.keys = newKeys(fetch(i.KeysURL), now)
	}
	return made, nil
}

// check gives what the token says. Its errors are the three above, or that keys cannot be had
// now, or may be had in a moment.
func (i *issuer) check(ctx context.Context, token string) (claims, error) {
	var keyErr error
	said := jwt.MapClaims{}
	_, err := i.parser.ParseWithClaims(token, said, func(t *jwt.Token) (any, error) {
		if i.secret != nil {
			return i.secret, nil
		}
		kid, _ := t.Header["kid"].(string)
		var key any
		key, keyErr = i.keys.key(ctx, kid, t.Method.Alg())
		return key, keyErr
	})
	switch {
	case errors.Is(keyErr, errKeysAway) || errors.Is(keyErr, errKeyNotYet):
		return claims{}, keyErr
	case errors.Is(err, jwt.ErrTokenExpired):
		return claims{}, errExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return claims{}, errNotYet
	case err != nil:
		return claims{}, errNotAccepted
	}
	subject, err := said.GetSubject()
	if err != nil || im.CheckLine("sub", subject, 1, mostIdentity) != nil || !utf8.ValidString(subject) || strings.TrimSpace(subject) != subject {
		return claims{}, errNotAccepted
	}
	out := claims{issuer: i.Issuer.Issuer, subject: subject}
	out.nickname, _ = said[i.NicknameClaim].(string)
	out.avatar, _ = said[i.AvatarClaim].(string)
	return out, nil
}

// issuerOf says whose token it claims to be; nothing of it is true yet.
func issuerOf(token string) string {
	said := jwt.RegisteredClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, &said); err != nil {
		return ""
	}
	return said.Issuer
}

package account

import (
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
)

const (
	keysFor   = time.Hour        // how long keys are used before they are read again
	keysStale = 24 * time.Hour   // and how long if they cannot be
	keysAgain = 10 * time.Second // between two readings, whatever is asked for
	keysTime  = 5 * time.Second  // for one reading
	mostKeys  = 64               // in a set
	mostJWKS  = 256 << 10        // octets of it
	leastRSA  = 2048             // bits
)

// errKeysAway says that there are no keys to check a token by, now.
var errKeysAway = errors.New("the issuer's keys cannot be read")

// errKeyNotYet says that the key may be newer than those that were read, and that it is too early to read them again.
var errKeyNotYet = errors.New("the issuer's keys were read a moment ago")

// keys is an issuer's set of public keys, JWKS (RFC 7517), read again when it is old and when
// a token names a key that is not in it: a new one, or an invented one, for which it is
// read once in keysAgain at most. Safe for concurrent use.
type keys struct {
	read func(ctx context.Context) ([]byte, error)
	now  func() time.Time
	busy chan struct{} // one entry while somebody reads; the others wait for him

	mu     sync.Mutex // guards the fields below
	set    []jwkset.JWK
	readAt time.Time // when set was; zero: never
	tried  time.Time // when the last reading began
	failed bool      // it did
}

func newKeys(read func(ctx context.Context) ([]byte, error), now func() time.Time) *keys {
	return &keys{read: read, now: now, busy: make(chan struct{}, 1)}
}

// key is the one that a token's kid and alg name. Without a kid it must be the only one for
// the alg.
func (k *keys) key(ctx context.Context, kid, alg string) (any, error) {
	found, fresh := k.find(kid, alg)
	if found != nil && fresh {
		return found, nil
	}
	early, err := k.renew(ctx)
	if err != nil && found == nil {
		return nil, err
	}
	if renewed, _ := k.find(kid, alg); renewed != nil {
		return renewed, nil
	}
	switch {
	case !k.usable():
		return nil, errKeysAway
	case early && kid != "": // it may be a new one, or an invented one
		return nil, fmt.Errorf("no key %q for %s: %w", kid, alg, errKeyNotYet)
	}
	return nil, fmt.Errorf("no key %q for %s", kid, alg)
}

// find looks in what was read; fresh is whether that is new enough not to be read again.
func (k *keys) find(kid, alg string) (found any, fresh bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := k.now().Sub(k.readAt)
	if k.readAt.IsZero() || age >= keysStale {
		return nil, false
	}
	for _, one := range k.set {
		if said := one.Marshal(); kid != "" && said.KID != kid || !fits(one, alg) {
			continue
		}
		if found != nil {
			return nil, age < keysFor // which of them?
		}
		found = one.Key()
	}
	return found, age < keysFor
}

func (k *keys) usable() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.readAt.IsZero() && k.now().Sub(k.readAt) < keysStale
}

// fits reports whether a key is a public one that checks signatures by alg.
func fits(one jwkset.JWK, alg string) bool {
	said := one.Marshal()
	if said.ALG != "" && said.ALG.String() != alg || said.USE != "" && said.USE != jwkset.UseSig {
		return false
	}
	switch key := one.Key().(type) {
	case *rsa.PublicKey:
		return alg == "RS256" && key.N.BitLen() >= leastRSA
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// renew reads the set unless that was tried a moment ago: then it is too early. One reads for all who wait.
func (k *keys) renew(ctx context.Context) (early bool, err error) {
	asked := k.now()
	select {
	case k.busy <- struct{}{}:
		defer func() { <-k.busy }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	k.mu.Lock()
	now := k.now()
	recent := !k.tried.IsZero() && now.Sub(k.tried) < keysAgain
	early = recent && !k.tried.After(asked) // else it was read for this one too
	if !recent {
		k.tried = now
	}
	k.mu.Unlock()
	if recent && k.lastFailed() {
		return false, errKeysAway
	}
	if recent {
		return early, nil
	}
	err = k.load(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed = err != nil
	return false, err
}

func (k *keys) lastFailed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failed
}

// load reads the set, in a time of its own: it is for all who wait, also when the one who asked
// goes. What it holds beside public keys of the right kinds is passed over.
func (k *keys) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysTime)
	defer cancel()
	text, err := k.read(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errKeysAway, err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return fmt.Errorf("%w: %w", errKeysAway, err)
	}
	if len(set.Keys) == 0 || len(set.Keys) > mostKeys {
		return fmt.Errorf("%w: the set has %d keys, must have 1-%d", errKeysAway, len(set.Keys), mostKeys)
	}
	var good []jwkset.JWK
	for _, raw := range set.Keys {
		one, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipKeyOps: true, SkipUse: true})
		if err == nil && (fits(one, "RS256") || fits(one, "EdDSA")) {
			good = append(good, one)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.set, k.readAt = good, k.now()
	return nil
}

// fetch reads a set from a URL, which must answer itself: it follows no redirect.
func fetch(url string) func(ctx context.Context) ([]byte, error) {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return func(ctx context.Context) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s answers %s", url, resp.Status)
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, mostJWKS+1))
		if err == nil && len(text) > mostJWKS {
			err = fmt.Errorf("%s gives more than %d octets", url, mostJWKS)
		}
		return text, err
	}
}

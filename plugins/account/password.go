package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"freeim/core/im"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

const (
	lanes    = 1
	saltSize = 16 // octets
	hashSize = 32 // octets

	// The least that OWASP's Password Storage sheet accepts for argon2id on one lane.
	leastMemoryKiB = 19 << 10
	leastPasses    = 2

	// Where a configured or stored cost is surely wrong.
	mostMemoryKiB = 1 << 20
	mostPasses    = 100
)

// cost is what argon2id spends on one password.
type cost struct{ memoryKiB, passes uint32 }

// hasher makes and checks password hashes, at most cap(slots) at one time, so
// that a rush of sign-ins takes bounded memory. Safe for concurrent use.
type hasher struct {
	cost  cost          // of new hashes
	slots chan struct{} // one entry for each hash being computed
	line  chan struct{} // one entry for each caller: computing or waiting
	dummy string        // static after prepare: a hash that no password has
}

func newHasher(c cost, atOnce, waiting int) *hasher {
	return &hasher{cost: c, slots: make(chan struct{}, max(atOnce, 1)), line: make(chan struct{}, max(atOnce, 1)+max(waiting, 0))}
}

// prepare makes the dummy hash that stands for the password of an account that
// does not exist: checking against it costs what checking a wrong password costs.
func (h *hasher) prepare() { h.dummy = hashPassword(rand.Text(), h.cost) }

// run calls fn when a slot is free. It refuses with UNAVAILABLE when the waiting
// line is full, and gives up when ctx ends.
func (h *hasher) run(ctx context.Context, fn func()) error {
	select {
	case h.line <- struct{}{}:
		defer func() { <-h.line }()
	default:
		return im.Unavailable(time.Second, nil)
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	fn()
	return nil
}

// outdated reports whether stored was made at another cost than new hashes are.
func (h *hasher) outdated(stored string) bool {
	parsed, err := parseHash(stored)
	return err == nil && parsed.cost != h.cost
}

// hashPassword gives the hash of password as a PHC string, which holds the cost
// and a new salt: $argon2id$v=19$m=…,t=…,p=…$salt$hash.
func hashPassword(password string, c cost) string {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never returns an error
	sum := argon2.IDKey(prepared(password), salt, c.passes, c.memoryKiB, lanes, hashSize)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memoryKiB, c.passes, lanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
}

// passwordMatches reports whether stored is the hash of password. It returns an
// error when stored is no hash.
func passwordMatches(stored, password string) (bool, error) {
	h, err := parseHash(stored)
	if err != nil {
		return false, err
	}
	sum := argon2.IDKey(prepared(password), h.salt, h.cost.passes, h.cost.memoryKiB, h.lanes, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1, nil
}

// prepared makes passwords that look the same equal, whatever keyboard they were
// typed on. Source: RFC 8265, OpaqueString.
func prepared(password string) []byte { return norm.NFC.Bytes([]byte(password)) }

type parsedHash struct {
	cost      cost
	lanes     uint8
	salt, sum []byte
}

// parseHash reads what hashPassword writes. Its errors never hold the hash.
func parseHash(stored string) (h parsedHash, err error) {
	parts := strings.Split(stored, "$") // "", argon2id, v=, m=…, salt, sum
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errors.New("stored password is not a hash of argon2id")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.cost.memoryKiB, &h.cost.passes, &h.lanes); err != nil {
		return h, errors.New("stored password has no readable cost")
	}
	if h.lanes == 0 || h.cost.passes == 0 || h.cost.passes > mostPasses || h.cost.memoryKiB > mostMemoryKiB {
		return h, errors.New("stored password has an impossible cost")
	}
	var saltErr, sumErr error
	h.salt, saltErr = base64.RawStdEncoding.DecodeString(parts[4])
	h.sum, sumErr = base64.RawStdEncoding.DecodeString(parts[5])
	if saltErr != nil || sumErr != nil || len(h.salt) < 8 || len(h.sum) < 16 {
		return h, errors.New("stored password has no readable salt or hash")
	}
	return h, nil
}

package account

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

const (
	tokenSize    = 32 // octets of randomness in a token
	maxTokenText = 64 // characters; what is longer was not made here
)

// newToken makes a token and the hash that is stored of it. The token says
// nothing of whom it belongs to, so it can be neither forged nor read.
func newToken() (token, hash string) {
	random := make([]byte, tokenSize)
	rand.Read(random) // never returns an error
	token = base64.RawURLEncoding.EncodeToString(random)
	return token, hashToken(token)
}

// hashToken is what is stored of token: the SHA-256 of its text, in hex. A token
// has 256 random bits, so it needs neither salt nor a slow hash.
func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

package session

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	callerTime   = time.Minute // after which a core is asked anew whose a token is
	maxCallers   = 1 << 14     // tokens remembered; beyond it some are forgotten
	sweptCallers = 3           // looked at for each new one
)

// callers remembers whose the tokens of requests are: for limits and rules only, since the
// core looks at the token of each request. It keeps hashes, no tokens.
type callers struct {
	mu      sync.Mutex // guards byToken
	byToken map[[sha256.Size]byte]known
}

// known is whom a core has named.
type known struct {
	who   *Identity // not changed any more
	until time.Time
}

// find gives whose a token is; nil: a core must be asked.
func (c *callers) find(token string) *Identity {
	key := sha256.Sum256([]byte(token))
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.byToken[key]; ok && time.Now().Before(k.until) {
		return k.who
	}
	return nil
}

func (c *callers) add(token string, who *Identity) {
	key, now := sha256.Sum256([]byte(token)), time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byToken == nil {
		c.byToken = make(map[[sha256.Size]byte]known)
	}
	looked := 0
	for other, k := range c.byToken {
		if now.After(k.until) || len(c.byToken) >= maxCallers {
			delete(c.byToken, other)
		}
		if looked++; looked == sweptCallers {
			break
		}
	}
	c.byToken[key] = known{who, now.Add(callerTime)}
}

func (c *callers) forget(token string) {
	key := sha256.Sum256([]byte(token))
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byToken, key)
}

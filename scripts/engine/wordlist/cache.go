package wordlist

import (
	"crypto/sha256"
	"fmt"
	"sync"
)

// Cache keeps lists by their content, up to MaxTotal characters, and takes over those of an
// older one: so a list is built once for all who want it, and once for all generations of
// them. Beyond MaxTotal lists are built, and not kept. Safe for concurrent use; made by
// NewCache.
type Cache struct {
	mu    sync.Mutex // guards the fields below
	lists map[[sha256.Size]byte]*List
	sum   int    // characters in lists
	older *Cache // nil: there is none, or no more
}

// NewCache makes an empty cache. older may be nil.
func NewCache(older *Cache) *Cache {
	return &Cache{lists: map[[sha256.Size]byte]*List{}, older: older}
}

// Get gives the list that New would make, building it if nobody has.
func (c *Cache) Get(words []string, how Options) *List {
	key := sha256.Sum256(fmt.Appendf(nil, "%t %t %q", how.Spacing, how.Confusables, words))
	list := c.lookup(key)
	if list == nil {
		list = New(words, how)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if size := len(list.labels); c.lists[key] == nil && c.sum+size <= MaxTotal {
		c.lists[key] = list
		c.sum += size
	}
	return list
}

func (c *Cache) lookup(key [sha256.Size]byte) *List {
	c.mu.Lock()
	list, older := c.lists[key], c.older
	c.mu.Unlock()
	if list == nil && older != nil {
		return older.lookup(key)
	}
	return list
}

// Settle lets go of the older cache.
func (c *Cache) Settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.older = nil
}

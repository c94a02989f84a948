package limits

import (
	"hash/maphash"
	"sync"
	"time"
)

// maxActionKeys is how many users, and addresses, of how many actions are remembered at
// once. Beyond it some are forgotten: the cores, which say the rates, count too.
const maxActionKeys = 1 << 16

// Actions keep single actions to the rates that the cores say, for each user or, before
// Auth, each address. They are this edge's alone. Safe for concurrent use.
type Actions struct {
	began time.Time
	seed  maphash.Seed
	parts [stripes]actionStripe
}

// Caller is who calls: a user, or an address if User is 0.
type Caller struct {
	User    int64
	Address string
}

type actionKey struct {
	action int32
	caller Caller
}

type actionStripe struct {
	mu   sync.Mutex          // guards paid
	paid map[actionKey]int64 // when all that was used is paid for, since began
	_    [40]byte
}

// NewActions makes an empty table.
func NewActions() *Actions {
	a := &Actions{began: time.Now(), seed: maphash.MakeSeed()}
	for i := range a.parts {
		a.parts[i].paid = map[actionKey]int64{}
	}
	return a
}

// Take counts one call of an action that a caller may call n times per period, and gives
// how long to wait if that is too often: then nothing is counted.
func (a *Actions) Take(action int32, who Caller, n int, per time.Duration) (wait time.Duration) {
	if n <= 0 || per <= 0 {
		return 0
	}
	key := actionKey{action, who}
	part := &a.parts[maphash.Comparable(a.seed, key)%stripes]
	now := int64(time.Since(a.began))
	part.mu.Lock()
	defer part.mu.Unlock()
	then := max(part.paid[key], now) + int64(per)/int64(n)
	if over := then - now - int64(per); over > 0 {
		return time.Duration(over)
	}
	part.sweep(now)
	part.paid[key] = then
	return 0
}

// sweep forgets a few that owe nothing, and when there are still too many one that does.
func (s *actionStripe) sweep(now int64) {
	looked := 0
	for key, paid := range s.paid {
		if paid <= now || len(s.paid) >= maxActionKeys/stripes {
			delete(s.paid, key)
		}
		if looked++; looked == swept {
			return
		}
	}
}

package sql

// known remembers names in two generations: what the old one has and nobody
// names is forgotten when the young one is full. The zero value has none.
type known[K comparable] struct{ young, old map[K]struct{} }

// maxKnown is how many names a generation has.
const maxKnown = 100_000

func (k *known[K]) has(name K) bool {
	if _, ok := k.young[name]; ok {
		return true
	}
	_, ok := k.old[name]
	return ok
}

func (k *known[K]) add(name K) {
	if len(k.young) >= maxKnown || k.young == nil {
		k.old, k.young = k.young, map[K]struct{}{}
	}
	k.young[name] = struct{}{}
}

package rpc

import "slices"

// forget takes a link away that discovery does not name any more, and that has
// no stream; false for any other.
func (l *Links) forget(k *link) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.unwanted {
		return false
	}
	known := slices.DeleteFunc(slices.Clone(*l.known.Load()), func(other *link) bool { return other == k })
	l.known.Store(&known)
	l.log.Info("core is forgotten", "core", k.address)
	return true
}

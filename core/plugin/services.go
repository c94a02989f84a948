package plugin

import (
	"fmt"
	"sync"
)

// Services is what plugins offer each other, by name. A host embeds or wraps one
// to implement Provide and Service. Safe for concurrent use.
type Services struct {
	mu      sync.Mutex // guards offered
	offered map[string]offer
}

type offer struct {
	by      string // the plugin's name
	service any
}

// NewServices makes an empty collection.
func NewServices() *Services { return &Services{offered: map[string]offer{}} }

// Provide files a service of the named plugin. It panics when the name is taken,
// which is a fault of the program: Set.Start turns it into an error.
func (s *Services) Provide(plugin, name string, service any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, taken := s.offered[name]; taken {
		panic(fmt.Sprintf("service %q is provided by plugin %s and by plugin %s", name, other.by, plugin))
	}
	s.offered[name] = offer{by: plugin, service: service}
}

// Service gives the service filed under name; ok is false if there is none.
func (s *Services) Service(name string) (service any, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.offered[name]
	return found.service, ok
}

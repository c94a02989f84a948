package account

import (
	"fmt"
	"slices"
	"sync"

	"freeim/core/plugin"
)

// holdings is the service plugin.ServiceHoldings: what all plugins keep of people. Safe for
// concurrent use.
type holdings struct {
	mu  sync.Mutex // guards all
	all []holding
}

type holding struct {
	plugin string
	plugin.Holdings
}

// Hold implements plugin.HoldingsOf. It panics when a plugin comes twice: that is a fault of
// the program.
func (h *holdings) Hold(name string, of plugin.Holdings) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.ContainsFunc(h.all, func(one holding) bool { return one.plugin == name }) {
		panic(fmt.Sprintf("plugin %s has holdings twice", name))
	}
	h.all = append(h.all, holding{name, of})
}

// list gives them in the order of the plugins.
func (h *holdings) list() []holding {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

package plugin

import (
	"context"

	"freeim/core/im"
)

// This file is what plugins may ask of the one that accounts belong to. The account
// plugin provides both services.

// The names of services: ServicePeople is a People, ServiceHoldings a HoldingsOf.
const (
	ServicePeople   = "account.people"
	ServiceHoldings = "account.holdings"
)

// Person is what everybody may know of somebody.
type Person struct {
	User     im.UserID
	Handle   string // the public name that can be searched; empty: none
	Nickname string
	Avatar   string // a URL; empty: none
}

// People tells about people. Safe for concurrent use.
type People interface {
	// People gives those of the users that exist and are not deleted, in no order, each
	// once: at most 1,000 may be asked for.
	People(ctx context.Context, users []im.UserID) (map[im.UserID]Person, error)
}

// Holdings is what a plugin keeps of people: it is asked when somebody wants a copy of what is kept
// of him, and when he is deleted. Safe for concurrent use.
type Holdings interface {
	// Export gives all that is kept of user, as encoding/json takes it.
	Export(ctx context.Context, user im.UserID) (any, error)
	// Erase forgets it. It may be called again, also when it was done.
	Erase(ctx context.Context, user im.UserID) error
}

// HoldingsOf collects the Holdings of all plugins.
type HoldingsOf interface {
	// Hold adds those of the named plugin. Once each, in Provision.
	Hold(plugin string, h Holdings)
}

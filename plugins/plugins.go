// Package plugins lists the plugins that are compiled in. The list is the whole
// registration: to add a plugin, add a line. Mains and tests call All; it
// decides nothing else.
package plugins

import (
	"freeim/core/plugin"
	"freeim/plugins/account"
	"freeim/plugins/chat"
	"freeim/plugins/file"
	"freeim/plugins/group"
	"freeim/plugins/moment"
	"freeim/plugins/room"
	"freeim/plugins/social"
	"freeim/plugins/webhook"
)

// All makes every plugin anew, each before those that need its services.
func All() []plugin.Plugin {
	return []plugin.Plugin{
		account.New(),
		file.New(),
		chat.New(),
		social.New(),
		group.New(),
		moment.New(),
		room.New(),
		webhook.New(),
	}
}

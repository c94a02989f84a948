package chat

import (
	"net/http"

	"freeim/core/plugin"
)

// Pages implements plugin.Pager.
func (p *Chat) Pages() []plugin.Page {
	return []plugin.Page{
		{Pattern: "GET /held", Handler: http.HandlerFunc(p.showHeld), About: "messages that wait for a reviewer; ?queue=, ?after=ID, ?limit="},
		{Pattern: "POST /held", Handler: http.HandlerFunc(p.decideHeld), About: "decides about one: ?id=ID&verdict=approve, or &verdict=deny&reason=TEXT; &by=NAME"},
		{Pattern: "POST /messages", Handler: http.HandlerFunc(p.sendSystem), About: "sends as an account of the operator's: from=, client_id=, to=IDs or conversation=GROUP, text= or message=JSON; &by=NAME"},
		{Pattern: "GET /announcements", Handler: http.HandlerFunc(p.listAnnouncements), About: "what was announced to everybody, the newest first; ?before=SEQ, ?limit="},
		{Pattern: "POST /announcements", Handler: p.announcing("announce", p.announce), About: "announces to everybody: from=, client_id=, text= or message=JSON; &by=NAME"},
		{Pattern: "POST /announcements/edit", Handler: p.announcing("edit announcement", p.editAnnouncement), About: "gives one another text: seq=, message_id=, text=, version=; &by=NAME"},
		{Pattern: "POST /announcements/recall", Handler: p.announcing("recall announcement", p.recallAnnouncement), About: "takes one back: seq=, message_id=; &by=NAME"},
	}
}

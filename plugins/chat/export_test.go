package chat

import "fmt"

// Listings are the queries of lists.
var Listings = []string{followsOf, selectWhole, silentOf + "(?, ?)", selectOwn, selectDue, selectLate, selectShown, selectAll,
	selectBecame + selectSpan + " OR " + selectSpan, selectVersions, selectReacted, selectReactions, selectMine + selectSpan + " OR " + selectSpan + ")",
	selectScheduled, selectScheduledAs, selectToSend, selectScheduledID, fmt.Sprintf(selectUnread, "(?, ?)"), fmt.Sprintf(selectSaid, "(?)"), fmt.Sprintf(selectSaid, "(?, ?)"),
	selectDueSweeps, selectErasures, selectLifetimes + "(?, ?)"}

package chat

import (
	"context"
	"fmt"
)

// Listings are the queries of lists.
var Listings = []string{followsOf, selectWhole, silentOf + "(?, ?)", selectOwn, selectDue, selectLate, selectShown, selectAll,
	selectVersions, selectReacted, selectReactions,
	selectScheduled, selectScheduledAs, selectToSend, selectScheduledID, fmt.Sprintf(selectUnread, "(?, ?)"), fmt.Sprintf(selectSaid, "(?)"), fmt.Sprintf(selectSaid, "(?, ?)"),
	selectDueSweeps, selectErasures, selectLifetimes + "(?, ?)", selectChangesOfLog, selectChangesAfter, selectSettled}

// OfSpans are the statements about what became of so many messages that stand alone, and so many runs.
func OfSpans(dialect string, alone, runs int) []string {
	where := whereSpans(dialect, alone, runs)
	all := []string{selectBecame + where, selectMine + where + ")"}
	for _, statement := range clearing {
		all = append(all, statement+where)
	}
	return all
}

// AnnouncementHeadsAsked is how many wait for the next look-up of where announcements end.
func (p *Chat) AnnouncementHeadsAsked() int { return p.announcements.heads.Waiting() }

// AnnouncementTimes gives how many announcements are known up to seq.
func (p *Chat) AnnouncementTimes(ctx context.Context, seq int64) (int, error) {
	times, err := p.announcements.upTo(ctx, seq)
	return len(times), err
}

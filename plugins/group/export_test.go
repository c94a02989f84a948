package group

import (
	"fmt"

	"freeim/core/plugin"
)

// Listing is a query with arguments.
type Listing struct {
	Text string
	Args []any
}

// Listings are the queries that run with every message, and those that list, by what they are for.
func Listings() map[string]Listing {
	const member = "SELECT " + memberColumns + " FROM group_members m "
	const waiting = "SELECT " + requestColumns + " FROM group_requests r "
	return map[string]Listing{
		"versions":                {versionsOf + plugin.Marks(3), []any{100001, 100002, 100003}},
		"members of a message":    {matesOf, []any{100001}},
		"levels":                  {fmt.Sprintf(selectLevels, "(?, ?)"), []any{100001, 200001, 200002}},
		"silenced groups":         {selectSilenced, []any{200001, 2}},
		"own groups":              {ownGroups, []any{200001, 0, 101}},
		"members":                 {member + pageOfMembers, []any{100001, 2, 2, 200001, 101}},
		"deciders":                {member + decidersOf, []any{100001, 2}},
		"requests of a user":      {waiting + requestsOfUser, []any{200001, 0, 1, 51}},
		"requests of a group":     {waiting + requestsOfGroup, []any{100001, 0, 1, 51}},
		"requests that are over":  {waiting + requestsOver, []any{1, 64}},
		"bans":                    {"SELECT " + banColumns + " FROM group_bans b " + bansOfGroup, []any{100001, 0, 1, 101}},
		"mutes of those who come": {mutesOf + plugin.Marks(2), []any{100001, 200001, 200002}},
		"mutes of one":            {mutesOfOne, []any{200001, 200001}},
		"events of a group":       {eventsOf, []any{100001, 64}},
		"groups with events":      {groupsWithEvents, []any{0, 64}},
	}
}

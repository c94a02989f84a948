package social

import (
	"fmt"

	"freeim/core/im"
)

// cursor is where a page of somebody's list ends: which list, whose, and the place of
// the last entry. It is written so that it can be checked, not that clients read it.
type cursor struct {
	list byte // of the lists below
	user im.UserID
	a, b int64 // what the list is ordered by
}

// The lists.
const (
	friendsList  = 'f' // by friend
	changesList  = 'v' // by version and friend
	blocksList   = 'b' // by who is blocked
	receivedList = 'i' // by time and person
	sentList     = 'o'
)

func (c cursor) String() string { return fmt.Sprintf("%c.%d.%d.%d", c.list, c.user, c.a, c.b) }

// parseCursor reads one of user's in the list, from the field of a request. No text: nil.
func parseCursor(field, text string, list byte, user im.UserID) (*cursor, error) {
	if text == "" {
		return nil, nil
	}
	c := &cursor{}
	var read rune
	if _, err := fmt.Sscanf(text, "%c.%d.%d.%d", &read, &c.user, &c.a, &c.b); err == nil {
		c.list = byte(read)
	}
	if c.list != list || c.user != user || c.String() != text {
		return nil, im.Invalid(field, "is none that was given to you for this list")
	}
	return c, nil
}

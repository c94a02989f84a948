package im

import (
	"strconv"
	"strings"
)

// Feeds is how many feeds there are. Stored positions rest on it: it never changes.
const Feeds = 16

// FeedOf is the feed of c: the inbox, nobody's, into which the messages of c come for whoever tells
// other programs of them. All messages of one conversation, those that only their sender
// sees among them, are in one feed, in their order. A feed's own notices are in itself.
func FeedOf(c ConversationID) UserID {
	if u, ok := strings.CutPrefix(string(c), "n_-"); ok {
		if n, err := strconv.Atoi(u); err == nil && UserID(-n).IsFeed() {
			return UserID(-n)
		}
	}
	c, _ = c.Shadowed()
	h := uint32(2166136261) // FNV-1a: hash/fnv's would be on the heap
	for i := range len(c) {
		h = (h ^ uint32(c[i])) * 16777619
	}
	return -1 - UserID(h%Feeds)
}

// IsFeed reports whether u is a feed and no person.
func (u UserID) IsFeed() bool { return -Feeds <= u && u < 0 }

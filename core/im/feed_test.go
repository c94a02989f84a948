package im_test

import (
	"fmt"
	"testing"

	"freeim/core/im"
)

func TestFeedOf(t *testing.T) {
	seen := map[im.UserID]int{}
	for i := range im.UserID(1000) {
		for _, c := range []im.ConversationID{im.ChatOf(1, i+1), im.ConversationID(fmt.Sprintf("g_%d", i)), im.NoticesOf(i + 1)} {
			feed := im.FeedOf(c)
			if !feed.IsFeed() {
				t.Fatalf("the feed of %s is %d", c, feed)
			}
			if shadow := im.FeedOf(c.Shadow(i + 1)); shadow != feed {
				t.Errorf("the feed of %s is %d, of its shadow %d", c, feed, shadow)
			}
			seen[feed]++
		}
	}
	for feed := im.UserID(-im.Feeds); feed < 0; feed++ {
		if n := seen[feed]; n < 3000/im.Feeds/2 || n > 3000/im.Feeds*2 {
			t.Errorf("feed %d has %d of 3,000 conversations", feed, n)
		}
		if got := im.FeedOf(im.NoticesOf(feed)); got != feed {
			t.Errorf("the notices of feed %d are in %d", feed, got)
		}
	}
	for _, u := range []im.UserID{0, 1, -im.Feeds - 1} {
		if u.IsFeed() {
			t.Errorf("%d is a feed", u)
		}
	}
	if feed := im.FeedOf("n_--3"); !feed.IsFeed() {
		t.Errorf("got %d", feed)
	}
}

// Positions are stored: what a conversation's feed is must never change.
func TestFeedsStay(t *testing.T) {
	for c, want := range map[im.ConversationID]im.UserID{"c_1_2": -16, "g_ABC": -6, "n_17": -3} {
		if got := im.FeedOf(c); got != want {
			t.Errorf("the feed of %s is %d, was %d", c, got, want)
		}
	}
}

func TestFeedOfAllocates(t *testing.T) {
	c := im.ChatOf(1, 2)
	if n := testing.AllocsPerRun(100, func() { im.FeedOf(c) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

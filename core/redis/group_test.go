package redis_test

import (
	"testing"

	"freeim/core/im"
	"freeim/core/redis"
	"freeim/core/timeline"
)

// TestGroupIsOnePipeline: a message to 500 people goes to Redis in one piece.
func TestGroupIsOnePipeline(t *testing.T) {
	const members = 500
	h := newHouse(t, redis.Config{})
	d := timeline.Draft{Conversation: "g_1", Sender: 1, ClientID: "m1", Body: []byte("hello")}
	for user := range im.UserID(members) {
		d.Inboxes = append(d.Inboxes, user+1)
	}
	if _, err := h.store.Append(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if err := h.store.Close(); err != nil { // everything is written then
		t.Fatal(err)
	}
	all, err := h.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() != "freeim_redis_pipeline_commands" {
			continue
		}
		got := family.Metric[0].GetHistogram()
		if got.GetSampleCount() != 1 || got.GetSampleSum() != members+1 {
			t.Errorf("%v commands in %d pipelines, want the log and %d inboxes in one", got.GetSampleSum(), got.GetSampleCount(), members)
		}
		return
	}
	t.Error("there is no such figure")
}

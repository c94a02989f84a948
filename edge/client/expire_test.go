package client_test

import (
	"testing"
	"time"

	"freeim/edge/client"
	"freeim/idl/kitex_gen/chatpb"
)

// An application takes a message away when its time is over, once, and keeps what stays.
func TestExpire(t *testing.T) {
	at := time.UnixMilli(1_800_000_000_000)
	m := &chatpb.Message{Id: "x", Text: "secret", Media: &chatpb.Media{File: "file:x"}, ExpiresMs: at.UnixMilli(), Became: &chatpb.Became{Revision: 2, Version: 2}}
	if client.Expire(m, at.Add(-time.Millisecond)) || m.Text != "secret" {
		t.Errorf("too early: %v", m)
	}
	if !client.Expire(m, at) || m.Text != "" || m.Media != nil || !m.Became.Expired || !m.Became.Recalled || m.Became.Revision != 3 || m.Became.Version != 2 {
		t.Errorf("got %v", m)
	}
	if client.Expire(m, at) {
		t.Error("it disappears twice")
	}
	for name, m := range map[string]*chatpb.Message{"stays": {Text: "x"}, "recalled": {ExpiresMs: 1, Became: &chatpb.Became{Revision: 1, Recalled: true}}} {
		if client.Expire(m, at) {
			t.Errorf("%s: got %v", name, m)
		}
	}
}

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"freeim/edge/limits"
)

// An operator sees the bans, and lifts one.
func TestBanPages(t *testing.T) {
	guard, err := limits.New(limits.Options{Ban: time.Minute, BanMax: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddr("192.0.2.7")
	peer, ok := guard.Connect(address)
	if !ok {
		t.Fatal("the address may not connect")
	}
	peer.Offend("FLOOD")
	peer.Leave()
	mux := http.NewServeMux()
	for pattern, page := range banPages(guard) {
		mux.Handle(pattern, page.Handler)
	}
	ask := func(method, path string) *httptest.ResponseRecorder {
		out := httptest.NewRecorder()
		mux.ServeHTTP(out, httptest.NewRequest(method, path, nil))
		return out
	}
	list := func() (bans []listedBan) {
		if err := json.Unmarshal(ask("GET", "/bans").Body.Bytes(), &bans); err != nil {
			t.Fatal(err)
		}
		return bans
	}
	if got := list(); len(got) != 1 || got[0].Address != "192.0.2.7/32" || got[0].Reason != "FLOOD" || got[0].Times != 1 {
		t.Fatalf("got %+v", got)
	}
	for _, row := range []struct {
		address string
		status  int
	}{
		{"", http.StatusBadRequest},
		{"nobody", http.StatusBadRequest},
		{"192.0.2.8", http.StatusNotFound},
		{"192.0.2.7", http.StatusNoContent},
		{"192.0.2.7", http.StatusNotFound},
	} {
		if got := ask("POST", "/bans/lift?address="+row.address).Code; got != row.status {
			t.Errorf("lift %q: got %d, want %d", row.address, got, row.status)
		}
	}
	if got := list(); len(got) != 0 {
		t.Errorf("got %+v, want none", got)
	}
	if _, ok := guard.Connect(address); !ok {
		t.Error("the address is still shut out")
	}
}

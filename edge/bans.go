package main

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"time"

	"freeim/core/admin"
	"freeim/edge/limits"
)

// banPages are the bans on the administrative port: GET /bans lists those that
// run, POST /bans/lift?address=ADDRESS ends one.
func banPages(guard *limits.Guard) map[string]admin.Page {
	return map[string]admin.Page{
		"GET /bans": {About: "the addresses that are shut out, as JSON", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			list := []listedBan{}
			for _, b := range guard.Bans() {
				list = append(list, listedBan{b.Address.String(), b.Until.UTC().Format(time.RFC3339), b.Times, b.Reason})
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			_ = json.NewEncoder(w).Encode(list) // a reader that went away is nobody's fault here
		})},
		"POST /bans/lift": {About: "lifts the ban of ?address=ADDRESS", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			address, err := netip.ParseAddr(r.FormValue("address"))
			switch {
			case err != nil:
				http.Error(w, "address must be an IP address", http.StatusBadRequest)
			case !guard.Unban(address):
				http.Error(w, "the address is not banned", http.StatusNotFound)
			default:
				w.WriteHeader(http.StatusNoContent)
			}
		})},
	}
}

// listedBan is a ban as the page shows it.
type listedBan struct {
	Address string `json:"address"` // a network: 32 bits of IPv4, 64 of IPv6
	Until   string `json:"until"`
	Times   int    `json:"times"` // in a row
	Reason  string `json:"reason"`
}

package main

import (
	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"

	"github.com/prometheus/client_golang/prometheus"
)

// figures shows what hub and gateway count, read when Prometheus asks.
type figures struct {
	edge    *edge
	hub     *session.Hub
	gateway *gateway.Gateway

	sessions, live, calls, refused, pushed, lost, stray, closed *prometheus.Desc
	overLimit, bans                                             *prometheus.Desc
	frames, octets, draining, barred                            *prometheus.Desc
	conns, http, accepted, turnedAway, unproxied                *prometheus.Desc
	upgrades, handshakes, reads, writes, stalled, panics        *prometheus.Desc
	expires                                                     *prometheus.Desc
	rooms, members, passes, blocks, deliveries, skipped         *prometheus.Desc
	slow, evicted, asked, wakes                                 *prometheus.Desc
}

func newFigures(e *edge) *figures {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("freeim_edge_"+name, help, labels, nil)
	}
	return &figures{
		edge: e, hub: e.hub, gateway: e.gateway,
		sessions:   desc("sessions", "Connections now, authenticated or not."),
		live:       desc("sessions_live", "Authenticated sessions now."),
		frames:     desc("frames_total", "Frames received (in), and answers and pushes (out).", "direction"),
		overLimit:  desc("limited_total", "Connections and frames refused by the limits: connections over them, connections of banned addresses, frames.", "what"),
		barred:     desc("barred_total", "Connections refused by a rule (on_connect)."),
		bans:       desc("bans", "Addresses that are banned now."),
		octets:     desc("octets_total", "Octets read from (in) and written to (out) connections.", "direction"),
		draining:   desc("draining", "1 while the edge takes no new sessions, since it is ending."),
		calls:      desc("calls_total", "Actions passed to a core."),
		refused:    desc("refused_total", "Actions that the edge refused itself."),
		pushed:     desc("pushed_total", "Frames pushed, one for each session."),
		lost:       desc("pushes_lost_total", "Pushes for sessions that were gone or not live."),
		stray:      desc("replies_stray_total", "Replies that no session waited for."),
		closed:     desc("closed_total", "Sessions ended, by the reason; NONE: by the client or the network.", "reason"),
		conns:      desc("connections", "TCP and WebSocket connections now."),
		accepted:   desc("accepted_total", "Connections accepted."),
		http:       desc("http_connections", "Connections now that serve pages or have not become a session yet."),
		turnedAway: desc("turned_away_total", "Connections closed at once, since too many had not become a session yet."),
		unproxied:  desc("unproxied_total", "Connections of trusted proxies that sent no right PROXY header."),
		handshakes: desc("tls_handshakes_total", "TLS handshakes, by how they went.", "result"),
		expires:    desc("certificate_expiry_timestamp_seconds", "When the certificate in use expires, in seconds since 1970."),
		upgrades:   desc("upgrades_total", "WebSocket handshakes that passed."),
		reads:      desc("reads_total", "Times that a connection was woken to read."),
		writes:     desc("writes_total", "Writes to connections: frames out by these are how many leave together."),
		stalled:    desc("stalled_total", "Connections that took no octet for too long."),
		rooms:      desc("rooms", "Rooms that this edge knows now."),
		members:    desc("room_members", "Members of rooms now: a session counts in each of its rooms."),
		passes:     desc("room_passes_total", "Times that a room's members were given what had gathered."),
		blocks:     desc("room_writes_total", "Blocks given to a member: deliveries by these are how many leave together."),
		deliveries: desc("room_deliveries_total", "Messages of rooms in those blocks."),
		skipped:    desc("room_skipped_total", "Messages declared skipped: sampled and lost once for a room, slow once for each member.", "reason"),
		slow:       desc("room_slow_total", "Times that a member read too slowly and fell behind."),
		evicted:    desc("room_evicted_total", "Members taken out of a room since they stayed behind."),
		asked:      desc("room_asked_total", "Times that a room's missing messages were asked for."),
		wakes:      desc("wakes_waiting", "Sessions that are to be asked to sync still, about: since logs that they follow have grown (logs), and since something was announced (everybody).", "of"),
		panics:     desc("panics_total", "Connections closed by a fault of the edge's own."),
	}
}

// Describe implements prometheus.Collector.
func (f *figures) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(f, out) }

// Collect implements prometheus.Collector.
func (f *figures) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	hub, gate := f.hub.Stats(), f.gateway.Stats()
	gauge(f.sessions, hub.Sessions)
	gauge(f.live, hub.Live)
	out <- prometheus.MustNewConstMetric(f.wakes, prometheus.GaugeValue, float64(hub.WakesOfLogs), "logs")
	out <- prometheus.MustNewConstMetric(f.wakes, prometheus.GaugeValue, float64(hub.WakesOfAll), "everybody")
	gauge(f.conns, int64(gate.Conns))
	gauge(f.http, int64(gate.HTTP))
	draining := int64(0)
	if f.edge.draining.Load() {
		draining = 1
	}
	gauge(f.draining, draining)
	guard := f.edge.limits.Stats()
	count(f.overLimit, guard.Refused, "connection")
	count(f.overLimit, guard.Banned, "banned")
	count(f.overLimit, guard.Limited, "frame")
	gauge(f.bans, guard.Bans)
	count(f.barred, hub.Barred)
	count(f.frames, hub.Received, "in")
	count(f.frames, hub.Answered+hub.Pushed+hub.Rooms.Delivered, "out")
	count(f.octets, gate.OctetsIn, "in")
	count(f.octets, gate.OctetsOut, "out")
	count(f.turnedAway, gate.TurnedAway)
	count(f.unproxied, gate.Unproxied)
	count(f.handshakes, gate.Handshakes, "passed")
	count(f.handshakes, gate.Unsecured, "failed")
	count(f.calls, hub.Calls)
	count(f.refused, hub.Refused)
	count(f.pushed, hub.Pushed)
	count(f.lost, hub.Lost)
	count(f.stray, hub.Stray)
	count(f.accepted, gate.Accepted)
	if f.edge.certs != nil {
		if at, ok := f.edge.certs.Expires(); ok {
			gauge(f.expires, at.Unix())
		}
	}
	count(f.upgrades, gate.Upgrades)
	count(f.reads, gate.Reads)
	count(f.writes, gate.Writes)
	count(f.stalled, gate.Stalled)
	count(f.panics, gate.Panics)
	rooms := hub.Rooms
	gauge(f.rooms, rooms.Rooms)
	gauge(f.members, rooms.Members)
	count(f.passes, rooms.Passes)
	count(f.blocks, rooms.Writes)
	count(f.deliveries, rooms.Delivered)
	count(f.skipped, rooms.Sampled, "sampled")
	count(f.skipped, rooms.Missed, "slow")
	count(f.skipped, rooms.Lost, "lost")
	count(f.slow, rooms.Slow)
	count(f.evicted, rooms.Evicted)
	count(f.asked, rooms.Asked)
	for reason, n := range hub.Closed {
		count(f.closed, n, reasonLabel(reason))
	}
}

func reasonLabel(r idl.CloseReason) string {
	if r == 0 {
		return "NONE"
	}
	return r.String()
}

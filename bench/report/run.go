// Package report is what a measurement of bench leaves behind: its results (Run,
// Row), their file, and the pages made of them. It measures nothing and knows no
// server; bench and its scenarios fill the rows.
package report

import "time"

// Version is that of the file format. It grows when a field changes its meaning;
// new fields that may be missing need no new version.
const Version = 1

// Run is one call of bench: every row was measured on one machine, of one commit,
// by one command.
type Run struct {
	Version int       `json:"version"`
	Started time.Time `json:"started"`
	Command string    `json:"command"` // as it was typed, to be repeated
	Commit  string    `json:"commit"`  // empty: not known
	Dirty   bool      `json:"dirty"`   // the tree differed from the commit
	Machine Machine   `json:"machine"`
	Rows    []Row     `json:"rows"` // in the order of measuring
}

// Machine is what figures depend on that bench does not choose.
type Machine struct {
	CPUs        int        `json:"cpus"`
	Model       string     `json:"model"`
	MemoryBytes int64      `json:"memory_bytes"`
	Kernel      string     `json:"kernel"`
	Go          string     `json:"go"`
	OpenFiles   int64      `json:"open_files"` // the hard limit of one process
	Congestion  string     `json:"congestion"` // TCP's congestion control
	LoadBefore  [3]float64 `json:"load_before"`
	LoadAfter   [3]float64 `json:"load_after"`
}

// Targets that bench itself brings; other names are those of peers.
const (
	Freeim      = "freeim"
	Limit       = "limit"        // one write per delivery, on raw epoll
	LimitJoined = "limit-joined" // one write per socket and pass, on raw epoll
)

// Scenarios that more than their own code must know. bench/README.md tells what
// each measures.
const (
	Connect = "connect" // a storm of connections that pass Auth
	Idle    = "idle"    // sessions that only keep up heartbeats
	Chat    = "chat"    // pairs who talk
	FanOut  = "fanout"  // one room
	Crowd   = "group"   // one group
	Slow    = "slow"    // FanOut by rate, with members who read nothing, and without
)

// Transports, codecs and loops of Params.
const (
	TCP       = "tcp"
	WebSocket = "ws"

	JSON     = "json"
	Protobuf = "protobuf"

	Closed = "closed" // a send waits for an earlier one's deliveries: finds the most that is possible
	Open   = "open"   // sends keep to a rate, and latency counts from when each was due
)

// Classes of processes, of CPU and Memory. A baseline's server counts as the edge
// that it stands in for.
const (
	Edge  = "edge"
	Core  = "core"
	Store = "store"
	Load  = "load" // the clients
)

// Params is what a scenario was asked for. Rows with the same scenario, target and
// Params are rounds of one measurement; zero means that it does not apply.
type Params struct {
	Transport  string  `json:"transport,omitempty"`
	Codec      string  `json:"codec,omitempty"`
	Sessions   int     `json:"sessions,omitempty"` // clients that connect
	Members    int     `json:"members,omitempty"`  // of one room or group
	Rooms      int     `json:"rooms,omitempty"`
	Publishers int     `json:"publishers,omitempty"`
	Payload    int     `json:"payload,omitempty"` // octets of text in a message
	Loop       string  `json:"loop,omitempty"`    // Closed, Open, or empty when nothing is sent
	Window     int     `json:"window,omitempty"`  // messages under way, of one publisher
	Rate       float64 `json:"rate,omitempty"`    // messages per second that were due, of all publishers; 0 in an open loop: half of what a round found
	Edges      int     `json:"edges,omitempty"`   // processes
	Cores      int     `json:"cores,omitempty"`
	Variant    string  `json:"variant,omitempty"` // what else sets it apart: "durable", "before-hook", "stalled 1%"
}

// Row is one round of one measurement. Its counts are of the measured time alone.
type Row struct {
	Scenario string  `json:"scenario"` // "fanout", "connect", "idle", …
	Target   string  `json:"target"`
	Params   Params  `json:"params"`
	Round    int     `json:"round"`   // from 1
	Seconds  float64 `json:"seconds"` // measured, without warming up

	Connected int64 `json:"connected,omitempty"` // sessions that passed Auth in this time
	Sent      int64 `json:"sent"`                // messages
	Delivered int64 `json:"delivered"`           // of them, to all receivers together
	Lost      int64 `json:"lost"`                // due to a receiver that lives, and neither delivered nor declared as skipped
	Doubled   int64 `json:"doubled"`             // delivered again
	Reordered int64 `json:"reordered"`           // delivered after a later one
	Skipped   int64 `json:"skipped"`             // declared by the server as left out for a receiver
	Errors    int64 `json:"errors"`              // refusals, connections that failed or ended
	Reads     int64 `json:"reads,omitempty"`     // read calls of the clients that brought deliveries

	Latency *Latency `json:"latency,omitempty"` // of deliveries, or of connecting when nothing is sent; nil: not measured

	CPU          map[string]CPU    `json:"cpu,omitempty"`           // by class, in the measured time
	Memory       map[string]Memory `json:"memory,omitempty"`        // by class, at the end of it
	MemoryBefore map[string]Memory `json:"memory_before,omitempty"` // before the first client came

	Series []Series `json:"series,omitempty"`
	Notes  []string `json:"notes,omitempty"`
}

// CPU is the processor time of a class of processes, in seconds.
type CPU struct {
	User   float64 `json:"user"`
	System float64 `json:"system"`
}

// Total is both parts together.
func (c CPU) Total() float64 { return c.User + c.System }

// Memory is that of a class of processes together, in octets; zero means that it
// was not read.
type Memory struct {
	Processes int   `json:"processes"`
	RSS       int64 `json:"rss"`
	PSS       int64 `json:"pss,omitempty"`    // pages shared with n processes count 1/n
	Heap      int64 `json:"heap,omitempty"`   // in use, as the Go runtime says
	Socket    int64 `json:"socket,omitempty"` // kernel memory of their sockets' buffers
}

// Series is what a chart over time draws.
type Series struct {
	Name   string  `json:"name"` // "deliveries", "rss edge", …
	Unit   string  `json:"unit"` // "1/s", "ms", "B", …
	Points []Point `json:"points"`
}

// Point is a value at a time, in seconds since the row's measured time began.
type Point struct {
	At    float64 `json:"at"`
	Value float64 `json:"value"`
}

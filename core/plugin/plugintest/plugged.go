package plugintest

import (
	"context"
	stdsql "database/sql"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"freeim/core/im"
	"freeim/core/limit"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/timeline"
	"freeim/idl"
)

// plugged is the host as one plugin sees it: a plugin.Host.
type plugged struct {
	host *Host
	name string
	log  *slog.Logger
}

func (h *Host) hostFor(info plugin.Info) plugin.Host {
	return plugged{host: h, name: info.Name, log: h.log.With("plugin", info.Name)}
}

func (p plugged) Log() *slog.Logger                                    { return p.log }
func (p plugged) Now() time.Time                                       { return p.host.Now() }
func (p plugged) DB() *stdsql.DB                                       { return p.host.DB() }
func (p plugged) Dialect() string                                      { return p.host.directory.Dialect() }
func (p plugged) Timelines() timeline.Store                            { return p.host.timelines }
func (p plugged) Presence() presence.Registry                          { return p.host.registry }
func (p plugged) Watch(heard func(presence.Change, ...presence.Route)) { p.host.observed.Listen(heard) }
func (p plugged) Rooms() plugin.Rooms                                  { return p.host.rooms }
func (p plugged) MessageIDs() *im.IDGenerator                          { return p.host.ids }

func (p plugged) Tx(ctx context.Context, fn func(*stdsql.Tx) error) error {
	return p.host.directory.Tx(ctx, fn)
}

func (p plugged) Limiter(_ string, n int, per time.Duration) plugin.Limiter {
	return limit.New(n, per, p.host.Now)
}

func (p plugged) Provide(name string, service any) { p.host.services.Provide(p.name, name, service) }
func (p plugged) Service(name string) (any, bool)  { return p.host.services.Service(name) }

// Go runs background work; a panic is logged, and fails nothing else.
func (p plugged) Go(name string, fn func(ctx context.Context)) {
	p.host.work.Go(func() {
		defer func() {
			if cause := recover(); cause != nil {
				p.log.Error("background work panicked", "work", name, "cause", cause, "stack", string(debug.Stack()))
			}
		}()
		fn(p.host.ctx)
	})
}

// Wake has the sessions that follow the log hear a Sync, if their person has less of it, at once. Announcements
// all follow, whatever they have.
func (p plugged) Wake(log im.ConversationID, seq int64) {
	p.host.mu.Lock()
	p.host.wakes = append(p.host.wakes, plugin.Followed{Log: log, Seq: seq})
	all := slices.Collect(maps.Values(p.host.sessions))
	p.host.mu.Unlock()
	for _, s := range all {
		if log.Type() == im.Announcements {
			s.askToSync()
		} else {
			s.wake(log, seq)
		}
	}
}

// Wakes are those that plugins asked for so far, in order.
func (h *Host) Wakes() []plugin.Followed {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.wakes)
}

// Push gives the frame to every session of the users that presence knows, in the
// caller's goroutine: when it returns, the sessions have it.
func (p plugged) Push(push plugin.Push) {
	routes, err := p.host.registry.Routes(p.host.ctx, push.Users...)
	if err != nil {
		p.log.Error("push finds no routes", "err", err)
		return
	}
	for i, ofUser := range routes {
		for _, r := range ofUser {
			if r.SessionRef == push.Except {
				continue
			}
			received := Received{Action: push.Action, codec: r.Codec}
			if len(push.InboxSeqs) > 0 {
				received.InboxSeq = push.InboxSeqs[i]
			}
			if received.Body, err = stamped(push.Body, r.Codec, received.InboxSeq); err != nil {
				p.log.Error("push is not encoded", "action", push.Action, "err", err)
				return
			}
			p.host.deliver(r.SessionRef, received)
		}
	}
}

// stamped encodes a push as the edge would send it: with inbox_seq, field 1,
// when there is one. Of a field that comes twice both codecs take the last.
func stamped(m idl.Message, c idl.Codec, inboxSeq int64) ([]byte, error) {
	body, err := idl.Append(nil, c, m)
	if err != nil || inboxSeq == 0 {
		return body, err
	}
	if c == idl.CodecProtobuf {
		return varint(append(body, 1<<3), uint64(inboxSeq)), nil
	}
	body = body[:len(body)-1] // the closing brace
	if len(body) > 1 {
		body = append(body, ',')
	}
	body = append(body, `"inbox_seq":`...)
	return append(strconv.AppendInt(body, inboxSeq, 10), '}'), nil
}

// varint appends n as protobuf writes it.
func varint(dst []byte, n uint64) []byte {
	for ; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

func (h *Host) deliver(ref presence.SessionRef, received Received) {
	if s := h.session(ref); s != nil {
		s.receive(received)
	}
}

// Kick is a session that a plugin ended.
type Kick struct {
	Route   presence.Route
	Reason  idl.CloseReason
	Message string
}

// Kick ends the sessions that are live and notes every one it is asked for.
func (p plugged) Kick(routes []presence.Route, reason idl.CloseReason, message string) {
	for _, r := range routes {
		p.host.mu.Lock()
		p.host.kicks = append(p.host.kicks, Kick{r, reason, message})
		p.host.mu.Unlock()
		if s := p.host.session(r.SessionRef); s != nil {
			s.end(reason, message)
		}
	}
}

// Kicks are the kicks that plugins asked for so far, in order.
func (h *Host) Kicks() []Kick {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Kick(nil), h.kicks...)
}

package server

import (
	"context"
	stdsql "database/sql"
	"log/slog"
	"runtime/debug"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/timeline"
	"freeim/idl"
)

// host is the server as one plugin sees it.
type host struct {
	*Server
	name string
	log  *slog.Logger
}

func (s *Server) hostFor(info plugin.Info) plugin.Host {
	return host{Server: s, name: info.Name, log: s.log.With("plugin", info.Name)}
}

func (h host) Log() *slog.Logger                                    { return h.log }
func (h host) Now() time.Time                                       { return h.now() }
func (h host) DB() *stdsql.DB                                       { return h.directory.DB() }
func (h host) Dialect() string                                      { return h.directory.Dialect() }
func (h host) Timelines() timeline.Store                            { return watched{h.timelines, h.storeErrs} }
func (h host) Presence() presence.Registry                          { return h.registry }
func (h host) Watch(heard func(presence.Change, ...presence.Route)) { h.observed.Listen(heard) }
func (h host) MessageIDs() *im.IDGenerator                          { return h.ids }
func (h host) Push(p plugin.Push)                                   { h.fanout.Push(p) }
func (h host) Rooms() plugin.Rooms                                  { return h.rooms }

func (h host) Wake(log im.ConversationID, seq int64) { h.fanout.Wake(log, seq) }

func (h host) Tx(ctx context.Context, fn func(*stdsql.Tx) error) error {
	return h.directory.Tx(ctx, fn)
}

func (h host) Limiter(name string, n int, per time.Duration) plugin.Limiter {
	return h.limiter(h.name+"."+name, n, per)
}

func (h host) Kick(routes []presence.Route, reason idl.CloseReason, message string) {
	h.fanout.Kick(routes, reason, message)
}

func (h host) Provide(name string, service any) { h.services.Provide(h.name, name, service) }
func (h host) Service(name string) (any, bool)  { return h.services.Service(name) }

// Go runs a plugin's background work until the server stops.
func (h host) Go(name string, fn func(ctx context.Context)) {
	h.work.Go(func() {
		defer func() {
			if cause := recover(); cause != nil {
				h.log.Error("background work panicked", "work", name, "cause", cause, "stack", string(debug.Stack()))
			}
		}()
		fn(h.ctx)
	})
}

package rpc_test

import (
	"context"
	"log/slog"
	"time"

	"freeim/core/dispatch"
	"freeim/core/plugin"
	"freeim/edge/session"
	"freeim/idl"
)

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// echo is a Dispatcher that answers each call with its body.
type echo struct{}

func (echo) Do(_ context.Context, call *plugin.Call, body []byte) dispatch.Reply {
	return dispatch.Reply{Action: call.Action, Body: body}
}

func (echo) Actions() []plugin.Spec {
	return []plugin.Spec{{Action: idl.ActionMessage, Name: "chat.send", MaxBody: 4096}, {Action: idl.ActionAuth, Name: "account.auth", Open: true}}
}

// receiver is a Receiver that takes everything and knows nobody.
type receiver struct{}

func (receiver) Reply(session.Reply)                                       {}
func (receiver) Push(session.Push)                                         {}
func (receiver) Kick([]session.ID, idl.CloseReason, string, time.Duration) {}
func (receiver) Live(func(session.ID, session.Identity, idl.Codec) bool)   {}
func (receiver) Resync()                                                   {}

package server

import (
	"context"
	"strconv"
	"strings"

	"freeim/core/dispatch"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
	"freeim/scripts/engine"
)

// rules lets the rule engine judge messages: it translates between dispatch's
// words and the engine's, which knows nothing of the core.
type rules struct{ engine *engine.Engine }

// hooks gives dispatch the rules, nil when there are none.
func (s *Server) hooks() dispatch.Hooks {
	if s.rules == nil {
		return nil
	}
	return rules{s.rules}
}

// OnMessage implements dispatch.Hooks.
func (r rules) OnMessage(ctx context.Context, call *plugin.Call, m plugin.Reviewed) error {
	message := engine.Message{
		Action: call.Name, User: call.User.String(), Device: string(call.Device), DeviceType: deviceType(call.DeviceType),
		Conversation: string(m.Conversation), ConversationType: conversationType(m.Conversation.Type()),
		Kind: m.Kind, ClientAddr: call.Address, Text: *m.Text,
	}
	ctx, asked := span(ctx, "rules")
	verdict := r.engine.OnMessage(ctx, &message)
	end(asked, false)
	if verdict.Denied {
		return &im.Error{Code: code(verdict.Code), Reason: verdict.Reason, RetryAfter: verdict.RetryAfter}
	}
	*m.Text = message.Text
	return nil
}

// ruleCodes are the codes that a rule may refuse with, as scripts write them:
// "rejected".
func ruleCodes() []string {
	var names []string
	for n, name := range wirepb.Code_name {
		if n != int32(idl.CodeUnknown) {
			names = append(names, strings.ToLower(strings.TrimPrefix(name, "CODE_")))
		}
	}
	return names
}

// code is the wire code that a rule named.
func code(name string) idl.Code {
	if n := wirepb.Code_value["CODE_"+strings.ToUpper(name)]; n != 0 {
		return idl.Code(n)
	}
	return idl.CodeRejected
}

func conversationType(t im.ConversationType) string {
	switch t {
	case im.Chat:
		return "chat"
	case im.Group:
		return "group"
	case im.Room:
		return "room"
	}
	return strconv.Itoa(int(t))
}

func deviceType(t idl.DeviceType) string {
	switch t {
	case idl.DeviceMobile:
		return "mobile"
	case idl.DeviceDesktop:
		return "desktop"
	case idl.DeviceWeb:
		return "web"
	case idl.DeviceTablet:
		return "tablet"
	}
	return "unknown"
}

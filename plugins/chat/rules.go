package chat

import (
	"context"
	"errors"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// SendFor commits a message that a rule of the operator's sends from an account of
// his, and pushes it to all devices of both. No rule is asked about it: it is no action.
// What was sent under the client ID before stays, whatever it was. Its errors are
// refusals. It is the service "chat.sender".
func (p *Chat) SendFor(ctx context.Context, from, to im.UserID, clientID, text string) error {
	call := &plugin.Call{User: from}
	req := &chatpb.SendRequest{ClientId: clientID, ToUserId: int64(to), Text: text}
	if err := p.validateSend(call, req); err != nil {
		return err
	}
	if err := p.mustExist(ctx, from, nil); err != nil {
		return err
	}
	rep, err := p.answered(ctx, call, req)
	if rep == nil && err == nil {
		_, err = p.send(ctx, call, req)
	}
	if refused, ok := errors.AsType[*im.Error](err); ok && refused.Code == idl.CodeConflict {
		return nil
	}
	return err
}

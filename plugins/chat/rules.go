package chat

import (
	"context"
	"errors"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// SendFor commits a message that a rule of the operator's sends from an account of
// his, and pushes it to all devices of both. No rule and no guard is asked about it: it is no action.
// What was sent under the client ID before stays, whatever it was. Its errors are
// refusals. It is the service "chat.sender".
func (p *Chat) SendFor(ctx context.Context, from, to im.UserID, clientID, text string) error {
	_, err := p.sendFrom(ctx, from, &chatpb.SendRequest{ClientId: clientID, ToUserId: int64(to), Text: text})
	if refused, ok := errors.AsType[*im.Error](err); ok && refused.Code == idl.CodeConflict {
		return nil
	}
	return err
}

package client

import (
	"context"

	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// SearchMessages looks for messages in one's own conversations, the newest first: all words of the text must be in one,
// as parts of words too. One call looks at so many messages only: while the answer has more, ask again with its
// cursor, also if it has no messages.
func (a Actions) SearchMessages(ctx context.Context, req *chatpb.SearchMessagesRequest) (*chatpb.SearchMessagesReply, error) {
	return ask[chatpb.SearchMessagesReply](ctx, a.call, idl.ActionSearchMessages, req)
}

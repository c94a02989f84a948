package chat

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// mostEdits is how often one message is edited at most.
const mostEdits = 100

func (p *Chat) validateEdit(_ *plugin.Call, req *chatpb.EditRequest) error {
	if err := checkRef("", req.Seq, req.MessageId); err != nil {
		return err
	}
	if req.Version < 0 {
		return im.Invalid("version", "must not be negative")
	}
	return im.CheckText("text", req.Text, 0, p.config.MaxText)
}

// permitEdit refuses who may not edit a message, before the rules are asked about the text.
func (p *Chat) permitEdit(ctx context.Context, call *plugin.Call, req *chatpb.EditRequest) error {
	if err := p.mayChange(ctx, call.User); err != nil {
		return err
	}
	t, _, err := p.alterable(ctx, call.User, req.ConversationId, req.Seq, req.MessageId)
	if err != nil {
		return err
	}
	switch {
	case t.Sender != call.User:
		return &im.Error{Code: idl.CodePermissionDenied, Field: "message_id", Reason: "not a message of yours"}
	case t.content.Origin != nil:
		return &im.Error{Code: idl.CodePermissionDenied, Field: "message_id", Reason: "those are another's words"}
	case p.host.Now().Sub(t.Time) >= p.config.EditWindow:
		return late(p.config.EditWindow)
	}
	if err := p.mayBecome(t, req.Text); err != nil {
		return err
	}
	call.Found = t
	return nil
}

// mayBecome refuses a text that a message of its kind cannot have.
func (p *Chat) mayBecome(t *target, text string) error {
	if !captioned(t.content.Kind) {
		return im.Invalid("message_id", "a message of this kind is not edited")
	}
	least, _ := leastText(t.content.Kind)
	return im.CheckText("text", text, least, p.config.MaxText)
}

// reviewedEdit shows the rules the new text, as that of a message.
func reviewedEdit(call *plugin.Call, req *chatpb.EditRequest) plugin.Reviewed {
	t := call.Found.(*target)
	return plugin.Reviewed{Conversation: t.conversation, Kind: kindName(t.content.Kind), Text: &req.Text}
}

// edit gives a message another text.
func (p *Chat) edit(ctx context.Context, call *plugin.Call, req *chatpb.EditRequest) (*chatpb.EditReply, error) {
	t := call.Found.(*target)
	if call.Shadowed || call.Hold != nil || call.Target != nil {
		return nil, &im.Error{Code: idl.CodeRejected, Field: "text", Reason: "a message may not become that"}
	}
	heard, err := p.heard(ctx, t, call.User)
	if err != nil {
		return nil, err
	}
	now, err := p.change(ctx, t, call.User, eventEdited, p.mayWrite(t, call.User, "edit"), heard, func(ctx context.Context, c *changing) (string, error) {
		return "", c.edit(ctx, &t.content, req)
	})
	if err != nil {
		return nil, err
	}
	return &chatpb.EditReply{Became: now.told(), Rewritten: call.Rewritten}, nil
}

// edit changes the text, unless it was recalled, or is another version by now.
func (c *changing) edit(ctx context.Context, content *chatpb.Content, req *chatpb.EditRequest) error {
	b, reads := c.now, content.Text
	if b.edited() {
		reads = b.text
	}
	switch {
	case b.recalled():
		return errGone
	case reads == req.Text && (req.Version == 0 || req.Version == b.version || req.Version == b.version-1): // the last may be this request, resent
		return errSame
	case req.Version != 0 && req.Version != b.version:
		return &im.Error{Code: idl.CodeConflict, Field: "version", Reason: "it was edited since"}
	case b.version > mostEdits:
		return &im.Error{Code: idl.CodeLimitExceeded, Field: "message_id", Reason: "it was edited too often"}
	}
	b.version, b.editedMs, b.text = b.version+1, c.ms, req.Text
	return c.p.changes.version(ctx, c.tx, b)
}

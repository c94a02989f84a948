package chat

import (
	"context"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

const (
	usualVersions = 20
	mostVersions  = 50
)

// The values of Config.Versions.
const (
	versionsAll    = "all"
	versionsSender = "sender"
	versionsNobody = "nobody"
)

// versions tells how a message read before it was edited, to those who may know. Of one that was
// recalled nobody may.
func (p *Chat) versions(ctx context.Context, call *plugin.Call, req *chatpb.VersionsRequest) (*chatpb.VersionsReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualVersions, mostVersions)
	if err != nil {
		return nil, err
	}
	if err := checkRef("", req.Seq, req.MessageId); err != nil {
		return nil, err
	}
	if req.AfterVersion < 0 {
		return nil, im.Invalid("after_version", "must not be negative")
	}
	if err := p.mayLook(ctx, call.User); err != nil {
		return nil, err
	}
	t, _, err := p.changeable(ctx, call.User, req.ConversationId, req.Seq, req.MessageId)
	if err != nil {
		return nil, err
	}
	if p.config.Versions == versionsNobody || p.config.Versions == versionsSender && t.Sender != call.User {
		return nil, &im.Error{Code: idl.CodePermissionDenied, Field: "message_id", Reason: "what it was is kept to few"}
	}
	at := stored{t.Message.Conversation, t.Message.Seq}
	all, err := p.changes.versions(ctx, at, req.AfterVersion, limit+1)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if req.AfterVersion == 0 {
		all = append([]*chatpb.Version{{Version: 1, Text: t.content.Text, TimeMs: t.Time.UnixMilli()}}, all...)
	}
	// Looked up behind them: a recall in between counts.
	now, err := p.changes.one(ctx, p.host.DB(), at, t.ID.String())
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	switch {
	case now.recalled():
		return nil, errGone
	case now == nil: // what is there is of another life of the store
		all = slices.DeleteFunc(all, func(v *chatpb.Version) bool { return v.Version > 1 })
	}
	n := min(limit, plugin.Fits(all, p.config.PageBytes, func(v *chatpb.Version) int { return plugin.SizeOf(v.Text, call.Codec) + perMessage }))
	return &chatpb.VersionsReply{Versions: all[:min(n, len(all))], HasMore: n < len(all)}, nil
}

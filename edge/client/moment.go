package client

import (
	"context"

	"freeim/idl"
	"freeim/idl/kitex_gen/momentpb"
)

// This file is moments: what people publish for others to see.

// PublishMoment publishes as this person. Call it again with the same req, and so the same
// ClientId, until it is answered: it is published once.
func (a Actions) PublishMoment(ctx context.Context, req *momentpb.PublishMomentRequest) (*momentpb.PublishMomentReply, error) {
	return ask[momentpb.PublishMomentReply](ctx, a.call, idl.ActionPublishMoment, req)
}

// DeleteMoment deletes one of one's own, with its likes and comments.
func (a Actions) DeleteMoment(ctx context.Context, id string) error {
	_, err := ask[momentpb.DeleteMomentReply](ctx, a.call, idl.ActionDeleteMoment, &momentpb.DeleteMomentRequest{MomentId: id})
	return err
}

// SetMomentVisibility changes who sees one of one's own; users are those of ONLY and EXCEPT.
func (a Actions) SetMomentVisibility(ctx context.Context, id string, to momentpb.MomentVisibility, users ...int64) (*momentpb.Moment, error) {
	rep, err := ask[momentpb.SetMomentVisibilityReply](ctx, a.call, idl.ActionSetMomentVisibility,
		&momentpb.SetMomentVisibilityRequest{MomentId: id, Visibility: to, UserIds: users})
	return rep.GetMoment(), err
}

// Moment gives one that this person may see.
func (a Actions) Moment(ctx context.Context, id string) (*momentpb.Moment, error) {
	rep, err := ask[momentpb.GetMomentReply](ctx, a.call, idl.ActionGetMoment, &momentpb.GetMomentRequest{MomentId: id})
	return rep.GetMoment(), err
}

// MomentFeed reads a page of one's own moments and those of friends, the newest first.
func (a Actions) MomentFeed(ctx context.Context, req *momentpb.FeedRequest) (*momentpb.MomentsReply, error) {
	return ask[momentpb.MomentsReply](ctx, a.call, idl.ActionMomentFeed, req)
}

// MomentsOf reads a page of one person's moments, one's own if it names nobody.
func (a Actions) MomentsOf(ctx context.Context, req *momentpb.ListMomentsRequest) (*momentpb.MomentsReply, error) {
	return ask[momentpb.MomentsReply](ctx, a.call, idl.ActionListMoments, req)
}

// MomentSquare reads a page of everybody's public moments.
func (a Actions) MomentSquare(ctx context.Context, req *momentpb.SquareRequest) (*momentpb.MomentsReply, error) {
	return ask[momentpb.MomentsReply](ctx, a.call, idl.ActionMomentSquare, req)
}

// LikeMoment likes one, once, and gives how many likes it has.
func (a Actions) LikeMoment(ctx context.Context, id string) (likes int64, err error) {
	rep, err := ask[momentpb.LikeReply](ctx, a.call, idl.ActionLikeMoment, &momentpb.LikeRequest{MomentId: id})
	return rep.GetLikes(), err
}

// UnlikeMoment takes one's like back, and gives how many are left.
func (a Actions) UnlikeMoment(ctx context.Context, id string) (likes int64, err error) {
	rep, err := ask[momentpb.UnlikeReply](ctx, a.call, idl.ActionUnlikeMoment, &momentpb.UnlikeRequest{MomentId: id})
	return rep.GetLikes(), err
}

// CommentMoment comments on a moment, or replies to a comment on it. Call it again with the same
// req until it is answered: the comment is made once.
func (a Actions) CommentMoment(ctx context.Context, req *momentpb.CommentRequest) (*momentpb.CommentReply, error) {
	return ask[momentpb.CommentReply](ctx, a.call, idl.ActionCommentMoment, req)
}

// DeleteComment deletes one's own comment, or one on one's own moment.
func (a Actions) DeleteComment(ctx context.Context, id string) error {
	_, err := ask[momentpb.DeleteCommentReply](ctx, a.call, idl.ActionDeleteComment, &momentpb.DeleteCommentRequest{CommentId: id})
	return err
}

// MomentLikes reads a page of who likes a moment, the oldest like first.
func (a Actions) MomentLikes(ctx context.Context, req *momentpb.LikesRequest) (*momentpb.LikesReply, error) {
	return ask[momentpb.LikesReply](ctx, a.call, idl.ActionMomentLikes, req)
}

// MomentComments reads a page of the comments on a moment, the oldest first.
func (a Actions) MomentComments(ctx context.Context, req *momentpb.CommentsRequest) (*momentpb.CommentsReply, error) {
	return ask[momentpb.CommentsReply](ctx, a.call, idl.ActionMomentComments, req)
}

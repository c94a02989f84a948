package client

import (
	"context"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// Schedule has a message be sent at a time. Its ClientId must be one of its own: the same again gives the same answer. The
// event chat.scheduled tells what becomes of it. Asked again it gives the same; once it is sent, SCHEDULED_STATE_SENT, without an ID.
func (a Actions) Schedule(ctx context.Context, m *chatpb.SendRequest, at time.Time) (*chatpb.Scheduled, error) {
	rep, err := ask[chatpb.ScheduleReply](ctx, a.call, idl.ActionSchedule, &chatpb.ScheduleRequest{Message: m, AtMs: at.UnixMilli()})
	return rep.GetScheduled(), err
}

// Scheduled lists one's messages that are to be sent later, or could not be, in pages.
func (a Actions) Scheduled(ctx context.Context, req *chatpb.ScheduledRequest) (*chatpb.ScheduledReply, error) {
	return ask[chatpb.ScheduledReply](ctx, a.call, idl.ActionListScheduled, req)
}

// Reschedule gives one of them another time, or text.
func (a Actions) Reschedule(ctx context.Context, req *chatpb.RescheduleRequest) (*chatpb.Scheduled, error) {
	rep, err := ask[chatpb.RescheduleReply](ctx, a.call, idl.ActionReschedule, req)
	return rep.GetScheduled(), err
}

// Unschedule has one of them not be sent.
func (a Actions) Unschedule(ctx context.Context, id string) error {
	_, err := ask[chatpb.UnscheduleReply](ctx, a.call, idl.ActionUnschedule, &chatpb.UnscheduleRequest{Id: id})
	return err
}

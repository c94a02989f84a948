package room

import (
	"context"

	"freeim/core/plugin"
	"freeim/idl/kitex_gen/roompb"
)

// leave takes the session out of a room. One that is not in it is told so, whatever
// the name.
func (p *Room) leave(_ context.Context, call *plugin.Call, req *roompb.LeaveRoomRequest) (*roompb.LeaveRoomReply, error) {
	name, err := canonical(req.Room)
	if err != nil {
		return nil, err
	}
	if !call.In(conversation(name)) {
		return &roompb.LeaveRoomReply{}, nil
	}
	call.LeaveRoom(conversation(name))
	return &roompb.LeaveRoomReply{WasIn: true}, nil
}

package account_test

import (
	"testing"

	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

func TestFindUser(t *testing.T) {
	h := start(t)
	alice := int64(signUp(t, h, "alice"))
	for _, test := range []struct {
		name  string
		req   *accountpb.FindUserRequest
		code  idl.Code // 0: alice is found
		field string
	}{
		{"by name", &accountpb.FindUserRequest{Account: "alice"}, 0, ""},
		{"by name in capitals", &accountpb.FindUserRequest{Account: "ALICE"}, 0, ""},
		{"by ID", &accountpb.FindUserRequest{UserId: alice}, 0, ""},
		{"unknown name", &accountpb.FindUserRequest{Account: "nobody"}, idl.CodeNotFound, ""},
		{"unknown ID", &accountpb.FindUserRequest{UserId: alice + 1}, idl.CodeNotFound, ""},
		{"neither", &accountpb.FindUserRequest{}, idl.CodeInvalidArgument, "account"},
		{"both", &accountpb.FindUserRequest{Account: "alice", UserId: alice}, idl.CodeInvalidArgument, "user_id"},
		{"negative ID", &accountpb.FindUserRequest{UserId: -1}, idl.CodeInvalidArgument, "user_id"},
		{"no name that can be", &accountpb.FindUserRequest{Account: "a%"}, idl.CodeInvalidArgument, "account"},
	} {
		for _, codec := range codecs {
			t.Run(test.name+" in "+codec.String(), func(t *testing.T) {
				var rep accountpb.FindUserReply
				err := h.As(100001, "device", codec).Call(idl.ActionFindUser, test.req, &rep)
				if test.code != 0 {
					wantRefusal(t, err, test.code, test.field)
				} else if err != nil || rep.UserId != alice || rep.Account != "alice" || rep.Nickname != "alice" {
					t.Errorf("got %v and %v", &rep, err)
				}
			})
		}
	}
}

package account_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

func TestSignUpFields(t *testing.T) {
	for _, test := range []struct {
		name  string
		req   *accountpb.SignUpRequest
		code  idl.Code // 0: accepted
		field string
	}{
		{"shortest", &accountpb.SignUpRequest{Account: "abc", Password: "12345678"}, 0, ""},
		{"longest", &accountpb.SignUpRequest{Account: "z" + strings.Repeat("9", 31), Password: strings.Repeat("ü", 128), Nickname: strings.Repeat("界", 64)}, 0, ""},
		{"every character", &accountpb.SignUpRequest{Account: "a.b_c-9", Password: password}, 0, ""},
		{"folded letters", &accountpb.SignUpRequest{Account: "Ｆｏｌｄed", Password: password}, 0, ""},
		{"nothing", &accountpb.SignUpRequest{}, idl.CodeInvalidArgument, "account"},
		{"short name", &accountpb.SignUpRequest{Account: "ab", Password: password}, idl.CodeInvalidArgument, "account"},
		{"long name", &accountpb.SignUpRequest{Account: "a" + strings.Repeat("b", 32), Password: password}, idl.CodeInvalidArgument, "account"},
		{"huge name", &accountpb.SignUpRequest{Account: strings.Repeat("a", 60_000), Password: password}, idl.CodeInvalidArgument, "account"},
		{"digit first", &accountpb.SignUpRequest{Account: "1abc", Password: password}, idl.CodeInvalidArgument, "account"},
		{"dot first", &accountpb.SignUpRequest{Account: ".abc", Password: password}, idl.CodeInvalidArgument, "account"},
		{"space", &accountpb.SignUpRequest{Account: "a bc", Password: password}, idl.CodeInvalidArgument, "account"},
		{"other letters", &accountpb.SignUpRequest{Account: "аbc", Password: password}, idl.CodeInvalidArgument, "account"},
		{"quote", &accountpb.SignUpRequest{Account: "abc'--", Password: password}, idl.CodeInvalidArgument, "account"},
		{"no password", &accountpb.SignUpRequest{Account: "nobody"}, idl.CodeInvalidArgument, "password"},
		{"short password", &accountpb.SignUpRequest{Account: "nobody", Password: "1234567"}, idl.CodeInvalidArgument, "password"},
		{"short password of many octets", &accountpb.SignUpRequest{Account: "nobody", Password: "üüüüüüü"}, idl.CodeInvalidArgument, "password"},
		{"long password", &accountpb.SignUpRequest{Account: "nobody", Password: strings.Repeat("x", 129)}, idl.CodeInvalidArgument, "password"},
		{"nickname turned round", &accountpb.SignUpRequest{Account: "nobody", Password: password, Nickname: "a\u202eb"}, idl.CodeInvalidArgument, "nickname"},
		{"long nickname", &accountpb.SignUpRequest{Account: "nobody", Password: password, Nickname: strings.Repeat("x", 65)}, idl.CodeInvalidArgument, "nickname"},
	} {
		for _, codec := range codecs {
			t.Run(test.name+" in "+codec.String(), func(t *testing.T) {
				h := start(t)
				var rep accountpb.SignUpReply
				err := h.Connect(codec).Call(idl.ActionSignUp, test.req, &rep)
				if test.code != 0 {
					wantRefusal(t, err, test.code, test.field)
				} else if err != nil || rep.UserId != 100001 {
					t.Errorf("got user %d and %v, want 100001", rep.UserId, err)
				}
			})
		}
	}
}

func TestAccountNamesAreUnique(t *testing.T) {
	h := start(t)
	signUp(t, h, "alice")
	for _, name := range []string{"alice", "ALICE", "Ａlice", "alicE"} {
		err := h.Connect(idl.CodecJSON).Call(idl.ActionSignUp, &accountpb.SignUpRequest{Account: name, Password: password}, nil)
		wantRefusal(t, err, idl.CodeAlreadyExists, "account")
	}
	if bob := signUp(t, h, "bob"); bob != 100002 {
		t.Errorf("got user ID %d after refusals, want 100002", bob)
	}
}

func TestRacingSignUpsOfOneName(t *testing.T) {
	h := start(t)
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() {
			errs[i] = h.Connect(idl.CodecProtobuf).Call(idl.ActionSignUp, &accountpb.SignUpRequest{Account: "alice", Password: password}, nil)
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			wantRefusal(t, err, idl.CodeAlreadyExists, "account")
		}
	}
	if n := count(t, h, "SELECT count(*) FROM account_users"); won != 1 || n != 1 {
		t.Errorf("%d sign-ups succeeded and %d users are there, want 1 and 1", won, n)
	}
}

func TestSignUpsAreLimitedByAddress(t *testing.T) {
	h := start(t, func(c *account.Config) { c.SignUpsPerMinute = 3 })
	try := func(name, address string) error {
		return h.Connect(idl.CodecJSON).From(address).Call(idl.ActionSignUp, &accountpb.SignUpRequest{Account: name, Password: password}, nil)
	}
	for _, name := range []string{"one", "two", "three"} {
		if err := try(name, "198.51.100.7:1"); err != nil {
			t.Fatal(err)
		}
	}
	err := try("four", "198.51.100.7:2")
	wantRefusal(t, err, idl.CodeRateLimited, "")
	if err := try("four", "198.51.100.8:1"); err != nil {
		t.Errorf("another address: %v", err)
	}
	h.Advance(retryAfter(t, err) - time.Millisecond)
	wantRefusal(t, try("five", "198.51.100.7:3"), idl.CodeRateLimited, "")
	h.Advance(time.Millisecond)
	if err := try("five", "198.51.100.7:4"); err != nil {
		t.Errorf("after the advised wait: %v", err)
	}
}

// A sign-up whose COMMIT was carried out and not answered has made the account, and
// says so; one that was rolled back has not, and may be tried again.
func TestSignUpWhoseAnswerWasLost(t *testing.T) {
	for _, committed := range []bool{true, false} {
		t.Run(fmt.Sprint("committed: ", committed), func(t *testing.T) {
			p := account.Cheap()
			h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}})
			p.LoseAnswers(committed, errors.New("the connection broke"))
			var rep accountpb.SignUpReply
			err := h.Connect(idl.CodecJSON).Call(idl.ActionSignUp, &accountpb.SignUpRequest{Account: "alice", Password: password}, &rep)
			n := count(t, h, "SELECT count(*) FROM account_users WHERE id = ? AND name = 'alice'", rep.UserId)
			switch {
			case committed && (err != nil || n != 1):
				t.Errorf("got user %d and %v, want the account that was made", rep.UserId, err)
			case !committed && im.CodeOf(err) != idl.CodeUnavailable:
				t.Errorf("got %v, want UNAVAILABLE", err)
			}
			if err := h.Connect(idl.CodecJSON).Call(idl.ActionSignUp, &accountpb.SignUpRequest{Account: "alice", Password: password}, nil); committed {
				wantRefusal(t, err, idl.CodeAlreadyExists, "account") // another's
			}
		})
	}
}

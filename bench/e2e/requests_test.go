package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"freeim/bench/cluster"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is people who have no session: each step of theirs is a request over HTTP with a
// bearer token, and what they are told they ask for with chat.sync.

// requests is how one device of theirs asks.
type requests struct {
	caller
	names map[idl.Action]string // as the edge describes them
}

// describedBy asks the edge what can be called, when it has reached its core.
func describedBy(ctx context.Context, e *cluster.Edge) (*requests, error) {
	r := &requests{caller: caller{url: e.API(), http: &http.Client{Transport: &http.Transport{}}}, names: map[idl.Action]string{}}
	var doc struct {
		Paths map[string]struct {
			Post struct {
				Action idl.Action `json:"x-freeim-action"`
			}
		}
	}
	err := until(ctx, func() (bool, error) {
		in, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"openapi.json", nil)
		if err != nil {
			return false, err
		}
		out, err := r.http.Do(in)
		if err != nil {
			return false, err
		}
		defer out.Body.Close()
		if out.StatusCode == http.StatusServiceUnavailable {
			return false, nil
		}
		return true, json.NewDecoder(out.Body).Decode(&doc)
	})
	for path, is := range doc.Paths {
		r.names[is.Post.Action] = strings.TrimPrefix(path, "/v1/")
	}
	return r, err
}

func (r *requests) do(ctx context.Context, action idl.Action, req, rep idl.Message) error {
	name := r.names[action]
	if name == "" {
		return fmt.Errorf("%v is no action over HTTP", action)
	}
	_, err := r.call(ctx, name, req, rep)
	return err
}

// signUpByRequest is signUp over HTTP.
func signUpByRequest(ctx context.Context, e *cluster.Edge, name string) (*person, error) {
	r, err := describedBy(ctx, e)
	if err != nil {
		return nil, err
	}
	defer r.http.CloseIdleConnections()
	var rep accountpb.SignUpReply
	if err := r.do(ctx, idl.ActionSignUp, &accountpb.SignUpRequest{Account: name, Password: password}, &rep); err != nil {
		return nil, fmt.Errorf("sign up %s: %w", name, err)
	}
	return &person{name: name, id: rep.UserId}, nil
}

// newRequests is newDevice over HTTP.
func newRequests(ctx context.Context, e *cluster.Edge, owner *person, name string, kind idl.DeviceType) (*device, error) {
	r, err := describedBy(ctx, e)
	if err != nil {
		return nil, err
	}
	var rep accountpb.SignInReply
	req := &accountpb.SignInRequest{Account: owner.name, Password: password, Device: &accountpb.Device{Id: name, Type: kind, Name: name}}
	if err := r.do(ctx, idl.ActionSignIn, req, &rep); err != nil {
		r.http.CloseIdleConnections()
		return nil, fmt.Errorf("sign in %s@%s: %w", owner.name, name, err)
	}
	r.token = rep.Token
	d := emptyDevice(owner, name)
	d.requests, d.Actions = r, client.ActionsBy(r.do)
	return d, nil
}

// call calls an action, over the session or by a request.
func (d *device) call(ctx context.Context, action idl.Action, req, rep idl.Message) error {
	if d.requests != nil {
		return d.requests.do(ctx, action, req, rep)
	}
	return d.session.Call(ctx, action, req, rep)
}

// there reports whether the device can call actions.
func (d *device) there() bool {
	return d.requests != nil || d.session != nil && d.session.Err() == nil
}

// awaits asks until there is something that was not seen; whom the server tells by himself waits
// for nothing here.
func (d *device) awaits(ctx context.Context) error {
	if d.requests == nil {
		return nil
	}
	err := until(ctx, func() (bool, error) {
		err := d.fetch(ctx)
		return len(d.entries) > 0, err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("got nothing")
	}
	return err
}

// fetch asks for what has come since.
func (d *device) fetch(ctx context.Context) error {
	if d.requests == nil {
		return nil
	}
	for {
		var rep chatpb.SyncReply
		if err := d.call(ctx, idl.ActionSync, &chatpb.SyncRequest{AfterSeq: d.position()}, &rep); err != nil {
			return err
		}
		for _, e := range rep.Entries {
			d.take(&client.Entry{Message: e.Message, InboxSeq: e.InboxSeq, Mine: e.Message.SenderId == d.owner.id})
		}
		if !rep.HasMore {
			return nil
		}
	}
}

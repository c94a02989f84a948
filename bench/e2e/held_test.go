package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"

	"freeim/edge/client"
	"freeim/idl/kitex_gen/chatpb"
)

// decided waits until a held message is not held any more.
func decided(ctx context.Context, p *client.Pending) (*chatpb.SendReply, error) {
	if err := until(ctx, func() (bool, error) { return p.State() != client.Held, nil }); err != nil {
		return nil, errors.New("nobody decides")
	}
	return p.Result()
}

// learns that m1 is WAITING | APPROVED | DENIED
func (s *stage) learns(ctx context.Context, d *device, w []string) error {
	select {
	case h := <-d.held:
		if want := "HELD_STATE_" + w[3]; h.ClientId != d.owner.name+"-"+w[1] || h.State.String() != want {
			return fmt.Errorf("got %+v", h)
		}
		return nil
	case <-ctx.Done():
		return errors.New("heard nothing")
	}
}

// lists held "a" "b" | lists conversations "bob 1" …
func (s *stage) lists(ctx context.Context, d *device, w []string) error {
	if w[0] == "conversations" {
		return s.listsConversations(ctx, d, w[1:])
	}
	return s.listsHeld(ctx, d, w)
}

func (s *stage) listsHeld(ctx context.Context, d *device, w []string) error {
	var got []string
	err := until(ctx, func() (bool, error) {
		rep, err := d.Held(ctx, &chatpb.HeldRequest{})
		got = nil
		for _, h := range rep.GetHeld() {
			if h.State == chatpb.HeldState_HELD_STATE_WAITING {
				got = append(got, h.Text)
			}
		}
		return err == nil && slices.Equal(got, w[1:]), err
	})
	if err != nil {
		return fmt.Errorf("got %q, %w", got, err)
	}
	return nil
}

// reviews is a reviewer's decision, on the page of the first core: approves "text" |
// denies "text" "reason"
func (s *stage) reviews(ctx context.Context, w []string) error {
	var list struct {
		Held []struct{ ID, Text string }
	}
	err := until(ctx, func() (bool, error) {
		err := s.page(ctx, 0, "GET /held", url.Values{"queue": {"newcomers"}}, &list)
		i := slices.IndexFunc(list.Held, func(one struct{ ID, Text string }) bool { return one.Text == w[1] })
		if i < 0 || err != nil {
			return false, err
		}
		values := url.Values{"id": {list.Held[i].ID}, "verdict": {strings.TrimSuffix(w[0], "s")}, "by": {"rita"}}
		if values.Get("verdict") == "denie" {
			values.Set("verdict", "deny")
			values.Set("reason", w[2])
		}
		return true, s.page(ctx, 0, "POST /held", values, nil)
	})
	if err != nil {
		return fmt.Errorf("the reviewer sees %v: %w", list, err)
	}
	return nil
}

// page asks a page of one of the cores, as "GET /held".
func (s *stage) page(ctx context.Context, core int, what string, values url.Values, into any) error {
	mux := http.NewServeMux()
	for _, p := range s.cluster.Cores[core].Server().Pages() {
		mux.Handle(p.Pattern, p.Handler)
	}
	w := httptest.NewRecorder()
	method, path, _ := strings.Cut(what, " ")
	r := httptest.NewRequestWithContext(ctx, method, path+"?"+values.Encode(), nil)
	if method == http.MethodPost {
		r = httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(values.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	mux.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return fmt.Errorf("%d %s", w.Code, w.Body)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(w.Body.Bytes(), into)
}

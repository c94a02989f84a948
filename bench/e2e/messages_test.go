package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"freeim/edge/client"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what people do with messages that are there.

// message is one that somebody sent under that name, and its answer named.
func (s *stage) message(ctx context.Context, as string) (*chatpb.Message, error) {
	for _, d := range s.devices {
		if p := d.sent[as]; p != nil {
			rep, err := p.Wait(ctx)
			if err != nil {
				return nil, err
			}
			return &chatpb.Message{ConversationId: rep.ConversationId, Seq: rep.Seq, Id: rep.MessageId, SenderId: d.owner.id}, nil
		}
	}
	return nil, fmt.Errorf("nobody sent %s", as)
}

// recalls m1 [and is refused CODE]
func (s *stage) recalls(ctx context.Context, d *device, w []string) error {
	m, err := s.message(ctx, w[0])
	if err != nil {
		return err
	}
	_, err = d.session.Recall(ctx, m)
	return refused(err, w[1:])
}

// edits m1 to "text" [and is refused CODE]
func (s *stage) edits(ctx context.Context, d *device, w []string) error {
	m, err := s.message(ctx, w[0])
	if err != nil {
		return err
	}
	_, err = d.session.Edit(ctx, m, w[2], 0)
	return refused(err, w[3:])
}

// reacts 👍 to m1 [and is refused CODE]
func (s *stage) reacts(ctx context.Context, d *device, w []string) error {
	m, err := s.message(ctx, w[2])
	if err != nil {
		return err
	}
	_, err = d.session.React(ctx, m, w[0], false)
	return refused(err, w[3:])
}

// quotes m1 "text" as m2, to the same conversation
func (s *stage) quotes(ctx context.Context, d *device, w []string) error {
	m, err := s.message(ctx, w[0])
	if err != nil {
		return err
	}
	return d.put(ctx, client.Outgoing{Conversation: m.ConversationId, Text: w[1], ReplyTo: client.ReplyTo(m)}, w[3])
}

// names bob in climbing "text" as m2
func (s *stage) names(ctx context.Context, d *device, w []string) error {
	out := s.destination(w[2]).outgoing(w[3], "")
	out.Mentions = []int64{s.people[w[0]].id}
	return d.put(ctx, out, w[5])
}

// forwards m1 bob as m2
func (s *stage) forwards(ctx context.Context, d *device, w []string) error {
	m, err := s.message(ctx, w[0])
	if err != nil {
		return err
	}
	out := s.destination(w[1]).outgoing("", "")
	out.Forward = client.Forward(m)
	return d.put(ctx, out, w[3])
}

// put sends any message under a name.
func (d *device) put(ctx context.Context, out client.Outgoing, as string) (err error) {
	out.ClientID = d.owner.name + "-" + as
	d.mu.Lock()
	d.own[out.ClientID] = true
	d.mu.Unlock()
	d.texts[as] = out
	d.sent[as], err = d.session.Send(ctx, out)
	return err
}

// sees m1 as "text" | recalled | with "👍1" | replying m2 | of carol: what history has in its place
func (s *stage) sees(ctx context.Context, d *device, w []string) error {
	m, err := s.message(ctx, w[0])
	if err != nil {
		return err
	}
	page, err := d.session.History(ctx, &chatpb.HistoryRequest{ConversationId: m.ConversationId, BeforeSeq: m.Seq + 1, Limit: 1})
	if err != nil {
		return err
	}
	if len(page.Messages) != 1 || page.Messages[0].Id != m.Id {
		return errors.New("it is not in its place")
	}
	got, is := page.Messages[0], ""
	switch w[1] {
	case "as":
		is = got.Text
	case "recalled":
		if !got.Became.GetRecalled() || got.Text != "" {
			return fmt.Errorf("got %+v", got)
		}
		return nil
	case "with":
		var all []string
		for _, r := range got.Became.GetReactions() {
			all = append(all, fmt.Sprint(r.Reaction, r.Count))
		}
		is = strings.Join(all, " ")
	case "replying":
		to, err := s.message(ctx, w[2])
		if err != nil || got.ReplyTo.GetMessageId() != to.Id || got.ReplyTo.SenderId != to.SenderId {
			return fmt.Errorf("got %+v, %v", got.ReplyTo, err)
		}
		return nil
	case "of":
		if got.Origin.GetSenderId() != s.people[w[2]].id {
			return fmt.Errorf("got %+v", got.Origin)
		}
		return nil
	}
	if is != w[2] {
		return fmt.Errorf("got %q", is)
	}
	return nil
}

// settles bob to 10s: after how long messages disappear
func (s *stage) settles(ctx context.Context, d *device, w []string) error {
	after, err := time.ParseDuration(w[2])
	if err != nil {
		return err
	}
	to := s.destination(w[0]).outgoing("", "")
	_, err = d.session.Lifetime(ctx, &chatpb.LifetimeRequest{ConversationId: to.Conversation, ToUserId: to.To, LifetimeMs: new(after.Milliseconds())})
	return err
}

// loses m1: it disappears
func (s *stage) loses(ctx context.Context, d *device, w []string) error {
	for {
		err := s.sees(ctx, d, []string{w[0], "recalled"})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

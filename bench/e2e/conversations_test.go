package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what people do with their conversations: read them, search them, keep them in order, and have messages
// be sent later.

// conversation is that of a person with somebody, or a group's.
func (s *stage) conversation(d *device, name string) string {
	to := s.destination(name)
	if to.group != 0 {
		return groupConversation(to.group)
	}
	return fmt.Sprintf("c_%d_%d", min(d.owner.id, to.user), max(d.owner.id, to.user))
}

// seeks "two words" everywhere "newest" "older" | in climbing … | with bob … | from bob … | … nothing
func (s *stage) seeks(ctx context.Context, d *device, w []string) error {
	req, want := &chatpb.SearchMessagesRequest{Text: w[0], Limit: 2}, w[2:]
	switch w[1] {
	case "in", "with":
		req.ConversationId, want = s.conversation(d, w[2]), w[3:]
	case "from":
		req.SenderId, want = s.people[w[2]].id, w[3:]
	}
	var got []string
	for more := true; more; {
		rep, err := d.SearchMessages(ctx, req)
		if err != nil || slices.Contains(want, "refused") {
			return outcome(err, want)
		}
		for _, m := range rep.Messages {
			got = append(got, m.Text)
		}
		req.Cursor, more = rep.Cursor, rep.HasMore
	}
	if !slices.Equal(got, slices.DeleteFunc(slices.Clone(want), nobody)) {
		return fmt.Errorf("got %q", got)
	}
	return nil
}

// reads up to m1 [and is refused CODE]
func (s *stage) readsUpTo(ctx context.Context, d *device, w []string) error {
	m, err := s.message(ctx, w[0])
	if err != nil {
		return err
	}
	return outcome(d.MarkRead(ctx, m.ConversationId, m.Seq), w[1:])
}

// isRead waits until others have read a message, or looks that they have not: by all that the server tells of that.
func (s *stage) isRead(ctx context.Context, d *device, as string, want bool) error {
	m, err := s.message(ctx, as)
	if err != nil {
		return err
	}
	if want {
		return until(ctx, func() (bool, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.read[m.ConversationId] >= m.Seq, nil
		})
	}
	var rep chatpb.SyncReply
	if err := d.call(ctx, idl.ActionSync, &chatpb.SyncRequest{AfterSeq: d.position()}, &rep); err != nil {
		return err
	}
	for _, r := range rep.Reads {
		if r.ConversationId == m.ConversationId && r.UserId != d.owner.id && r.Seq >= m.Seq {
			return fmt.Errorf("%s has read up to %d", s.nameOf(r.UserId), r.Seq)
		}
	}
	return nil
}

// counts m1 read by bob carol of 3 [and is refused CODE]
func (s *stage) counts(ctx context.Context, d *device, w []string) error {
	m, err := s.message(ctx, w[0])
	if err != nil {
		return err
	}
	rep, err := d.Readers(ctx, m)
	if err != nil || w[1] == "and" {
		return outcome(err, w[1:])
	}
	got := []string{}
	for _, u := range rep.UserIds {
		got = append(got, s.nameOf(u))
	}
	of := slices.Index(w, "of")
	want := slices.DeleteFunc(slices.Clone(w[3:of]), nobody)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || fmt.Sprint(rep.Of) != w[of+1] {
		return fmt.Errorf("got %v of %d", got, rep.Of)
	}
	return nil
}

// turns receipts off | on
func (s *stage) turns(ctx context.Context, d *device, w []string) error {
	_, err := d.ChatSettings(ctx, &chatpb.ChatSettingsRequest{ReadReceipts: new(w[1] == "on")})
	return err
}

// keeps bob pinned | unpinned | hidden | shown | silent | muted | audible | empty | draft "text"
func (s *stage) keeps(ctx context.Context, d *device, w []string) error {
	req := &chatpb.UpdateConversationRequest{ConversationId: s.conversation(d, w[0])}
	switch w[1] {
	case "pinned", "unpinned":
		req.Pinned = new(w[1] == "pinned")
	case "hidden", "shown":
		req.Hidden = new(w[1] == "hidden")
	case "silent":
		req.Mute = new(chatpb.Mute_MUTE_SILENT)
	case "muted":
		req.Mute = new(chatpb.Mute_MUTE_NONE)
	case "audible":
		req.Mute = new(chatpb.Mute_MUTE_NORMAL)
	case "empty":
		req.Delete = true
	case "draft":
		req.Draft = &w[2]
	default:
		return fmt.Errorf("no trait %q", w[1])
	}
	_, err := d.UpdateConversation(ctx, req)
	return err
}

// listsConversations compares the whole list, in pages of two: each as "bob 2", with whom and how many are unread, and behind
// that what is unusual, in this order: pinned, silent or muted, draft=…, mentions=….
func (s *stage) listsConversations(ctx context.Context, d *device, want []string) error {
	names := map[string]string{}
	for name := range s.people {
		names[s.conversation(d, name)] = name
	}
	for name := range s.groups {
		names[s.conversation(d, name)] = name
	}
	var got []string
	for req, more := (&chatpb.ListConversationsRequest{Limit: 2}), true; more; {
		rep, err := d.Conversations(ctx, req)
		if err != nil {
			return err
		}
		for _, c := range rep.Conversations {
			got = append(got, names[c.ConversationId]+traits(c))
		}
		req.Cursor, more = rep.Cursor, rep.HasMore
	}
	if !slices.Equal(got, slices.DeleteFunc(slices.Clone(want), nobody)) {
		return fmt.Errorf("got %q", got)
	}
	return nil
}

func traits(c *chatpb.Conversation) string {
	all := fmt.Sprint(" ", c.Unread)
	if c.Pinned {
		all += " pinned"
	}
	switch c.Mute {
	case chatpb.Mute_MUTE_SILENT:
		all += " silent"
	case chatpb.Mute_MUTE_NONE:
		all += " muted"
	}
	if c.Draft != "" {
		all += " draft=" + c.Draft
	}
	if c.Mentions > 0 {
		all += fmt.Sprint(" mentions=", c.Mentions)
	}
	return all
}

// schedules bob "text" in 1h as m1
func (s *stage) schedules(ctx context.Context, d *device, w []string) error {
	after, err := time.ParseDuration(w[3])
	if err != nil {
		return err
	}
	out := s.destination(w[0]).outgoing(w[1], d.owner.name+"-"+w[5])
	req := &chatpb.SendRequest{ClientId: out.ClientID, ToUserId: out.To, ConversationId: out.Conversation, Text: out.Text}
	at := s.now().Add(after)
	first, err := d.Schedule(ctx, req, at)
	if err != nil {
		return err
	}
	s.scheduled[w[5]] = first.Id
	again, err := d.Schedule(ctx, req, at)
	if err == nil && again.Id != first.Id {
		err = fmt.Errorf("scheduled again it is another: %+v, %+v", first, again)
	}
	return err
}

// postpones m1 to 2h, from now [and is refused CODE]
func (s *stage) postpones(ctx context.Context, d *device, w []string) error {
	after, err := time.ParseDuration(w[2])
	if err != nil {
		return err
	}
	_, err = d.Reschedule(ctx, &chatpb.RescheduleRequest{Id: s.scheduled[w[0]], AtMs: s.now().Add(after).UnixMilli()})
	return outcome(err, w[3:])
}

// rewords m1 to "text" [and is refused CODE]
func (s *stage) rewords(ctx context.Context, d *device, w []string) error {
	_, err := d.Reschedule(ctx, &chatpb.RescheduleRequest{Id: s.scheduled[w[0]], Text: &w[2]})
	return outcome(err, w[3:])
}

// cancels m1 [and is refused CODE]
func (s *stage) cancels(ctx context.Context, d *device, w []string) error {
	return outcome(d.Unschedule(ctx, s.scheduled[w[0]]), w[1:])
}

// listsScheduled waits until exactly these are in that state: plans "a" "b" | missed "c" | … nothing
func listsScheduled(state chatpb.ScheduledState) func(s *stage, ctx context.Context, d *device, want []string) error {
	return func(s *stage, ctx context.Context, d *device, want []string) error {
		want = slices.DeleteFunc(slices.Clone(want), nobody)
		var got []string
		err := until(ctx, func() (bool, error) {
			rep, err := d.Scheduled(ctx, &chatpb.ScheduledRequest{})
			got = nil
			for _, one := range rep.GetScheduled() {
				if one.State == state {
					got = append(got, one.Message.Text)
				}
			}
			return slices.Equal(got, want), err
		})
		if err != nil {
			return fmt.Errorf("got %q, %w", got, err)
		}
		return nil
	}
}

// holds climbing "a" "b": waits until these are all texts of the conversation that the device was given since its cursor was
// forgotten last, in this order, each once.
func (s *stage) holds(ctx context.Context, d *device, w []string) error {
	c := s.conversation(d, w[0])
	var got []string
	err := until(ctx, func() (bool, error) {
		err := d.fetch(ctx)
		got = d.texted(c)
		return slices.Equal(got, w[1:]), err
	})
	if err != nil {
		return fmt.Errorf("got %q, %w", got, err)
	}
	return nil
}

func (d *device) texted(conversation string) (all []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.inbox {
		if e.ConversationId == conversation && e.Kind == chatpb.MessageKind_MESSAGE_KIND_TEXT {
			all = append(all, e.Text)
		}
	}
	return all
}

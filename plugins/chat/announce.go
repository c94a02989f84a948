package chat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is how announcements are written: by the operator's programs, on the administrative port. They send one, take
// it back, give it another text, and look what was sent.

// announced is an announcement as the operator's programs see it.
type announced struct {
	Seq       int64     `json:"seq"`
	MessageID string    `json:"message_id"`
	From      im.UserID `json:"from"`
	ClientID  string    `json:"client_id"`
	Time      time.Time `json:"time"`
	Kind      string    `json:"kind"`
	Text      string    `json:"text,omitempty"` // as it reads now
	Version   int32     `json:"version,omitempty"`
	EditedAt  time.Time `json:"edited_at,omitzero"`
	Recalled  time.Time `json:"recalled_at,omitzero"`
}

// announcing is a page that does something by a form, leaves a line in the log, and shows what came of it: when that fails it is done
// all the same.
func (p *Chat) announcing(what string, do func(ctx context.Context, r *http.Request) (show shower, seq int64, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, mostSystemForm)
		by, err := readBy(r)
		if err != nil {
			plugin.RefusePage(w, err)
			return
		}
		var show shower
		var seq int64
		err = p.barred(func() (err error) {
			show, seq, err = do(r.Context(), r)
			return err
		})
		line := []any{"action", what, "seq", seq, "from", r.PostForm.Get("from"), "client_id", r.PostForm.Get("client_id"), "by", by, "address", r.RemoteAddr}
		if err != nil {
			err = refusal(r.Context(), err)
			p.host.Log().Info("administrative action refused", append(line, "code", im.CodeOf(err))...)
			plugin.RefusePage(w, err)
			return
		}
		p.host.Log().Info("administrative action", line...)
		var said any
		err = p.barred(func() (err error) {
			said, err = show(r.Context())
			return err
		})
		if err != nil {
			plugin.RefusePage(w, refusal(r.Context(), err))
			return
		}
		plugin.AnswerPage(w, http.StatusOK, said)
	}
}

// shower gives what a page says of what it has done.
type shower func(ctx context.Context) (any, error)

// announce sends one. The same call again sends nothing, and gives what it gave.
func (p *Chat) announce(ctx context.Context, r *http.Request) (show shower, seq int64, err error) {
	s, err := readSystem(r.PostForm)
	if err != nil {
		return nil, 0, im.Invalid("", "%v", err)
	}
	if r.PostForm.Has("to") || r.PostForm.Has("conversation") {
		return nil, 0, im.Invalid("to", "an announcement is for everybody")
	}
	s.message.ConversationId, s.message.ClientId = string(im.ToAll), s.clientID
	rep, err := p.sendFrom(ctx, s.from, &s.message)
	if err != nil {
		return nil, 0, err
	}
	one := systemSent{To: string(im.ToAll)}
	one.note(rep, nil)
	return func(context.Context) (any, error) { return one, nil }, rep.Seq, nil
}

// sendToEverybody is sending within the hour's limit. What fails does not count, nor what another call has sent: when the
// outcome is open, the same call again finds out, by its client ID.
func (p *Chat) sendToEverybody(ctx context.Context, call *plugin.Call, req *chatpb.SendRequest) (*chatpb.SendReply, error) {
	if wait := p.announces.Take(ctx, ""); wait > 0 {
		return nil, &im.Error{Code: idl.CodeRateLimited, Reason: "too many announcements", RetryAfter: wait}
	}
	rep, err := p.sending(ctx, call, req, toEverybody)
	if err != nil || rep.Duplicate {
		p.announces.GiveBack(ctx, "")
	}
	return rep, err
}

// toEverybody is admit for announcements.
func toEverybody(_ context.Context, m *message) error {
	m.logged, m.operators = true, true
	return nil
}

// announcement finds the one that a form names by seq and message_id.
func (p *Chat) announcement(ctx context.Context, r *http.Request) (*target, error) {
	seq, err := strconv.ParseInt(r.PostForm.Get("seq"), 10, 64)
	if err != nil {
		return nil, im.Invalid("seq", "must be a number")
	}
	id := r.PostForm.Get("message_id")
	if err := checkRef("", seq, id); err != nil {
		return nil, err
	}
	page, err := p.timelines.Log(ctx, im.ToAll, seq-1, 1)
	if err != nil {
		return nil, err
	}
	if len(page.Items) == 0 || page.Items[0].ID.String() != id {
		return nil, &im.Error{Code: idl.CodeNotFound, Field: "message_id", Reason: "no such announcement"}
	}
	t := &target{Message: page.Items[0], conversation: im.ToAll, shownSeq: seq}
	if err := t.content.Unmarshal(t.Body); err != nil {
		return nil, fmt.Errorf("body of message %s: %w", t.ID, err)
	}
	if t.content.Kind == kindEvent {
		return nil, im.Invalid("message_id", "what happened stays")
	}
	return t, nil
}

// recallAnnouncement takes one back, however old it is.
func (p *Chat) recallAnnouncement(ctx context.Context, r *http.Request) (show shower, seq int64, err error) {
	t, err := p.announcement(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	if _, err := p.takeBack(ctx, t, t.Sender, nil); err != nil {
		return nil, t.shownSeq, err
	}
	return p.announcedNow(t), t.shownSeq, nil
}

// editAnnouncement gives one another text, however old it is.
func (p *Chat) editAnnouncement(ctx context.Context, r *http.Request) (show shower, seq int64, err error) {
	t, err := p.announcement(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	req := &chatpb.EditRequest{Seq: t.shownSeq, MessageId: t.ID.String(), Text: r.PostForm.Get("text")}
	if text := r.PostForm.Get("version"); text != "" {
		version, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return nil, t.shownSeq, im.Invalid("version", "must be a number")
		}
		req.Version = int32(version)
	}
	if err := p.validateEdit(nil, req); err != nil {
		return nil, t.shownSeq, err
	}
	if err := p.mayBecome(t, req.Text); err != nil {
		return nil, t.shownSeq, err
	}
	_, err = p.change(ctx, t, t.Sender, eventEdited, nil, true, func(ctx context.Context, c *changing) (string, error) {
		return "", c.edit(ctx, &t.content, req)
	})
	if err != nil {
		return nil, t.shownSeq, err
	}
	return p.announcedNow(t), t.shownSeq, nil
}

// announcedNow shows an announcement as it is by then.
func (p *Chat) announcedNow(t *target) shower {
	return func(ctx context.Context) (any, error) {
		all, err := p.open(ctx, 0, []im.Message{t.Message})
		if err != nil {
			return nil, err
		}
		return all[0].announced(), nil
	}
}

func (o *opened) announced() announced {
	a := announced{Seq: o.Seq, MessageID: o.ID.String(), From: o.Sender, ClientID: o.ClientID, Time: o.Time.UTC(), Kind: kindName(o.content.Kind)}
	switch {
	case o.now.recalled():
		a.Recalled = time.UnixMilli(o.now.recalledMs).UTC()
		return a
	case o.now.edited():
		a.Version, a.EditedAt = o.now.version, time.UnixMilli(o.now.editedMs).UTC()
	}
	a.Text = o.text()
	return a
}

// listAnnouncements gives what was sent, the newest first.
func (p *Chat) listAnnouncements(w http.ResponseWriter, r *http.Request) {
	limit, err := plugin.ReviewLimit(r)
	before := int64(0)
	if text := r.FormValue("before"); err == nil && text != "" {
		if before, err = strconv.ParseInt(text, 10, 64); err != nil || before < 1 {
			err = errors.New("before must be a seq")
		}
	}
	if err != nil {
		plugin.RefusePage(w, im.Invalid("", "%v", err))
		return
	}
	page := struct {
		Announcements []announced `json:"announcements"`
		Next          int64       `json:"next,omitempty"` // as before, for more
	}{Announcements: []announced{}}
	log, err := p.timelines.LogBefore(r.Context(), im.ToAll, before, limit)
	var all []opened
	if err == nil {
		all, err = p.open(r.Context(), 0, log.Items)
	}
	if err != nil {
		plugin.RefusePage(w, refusal(r.Context(), err))
		return
	}
	for i := range all {
		if all[i].content.Kind != kindEvent {
			page.Announcements = append(page.Announcements, all[i].announced())
		}
	}
	if n := len(all); n > 0 && log.HasMore {
		page.Next = all[n-1].Seq
	}
	plugin.AnswerPage(w, http.StatusOK, page)
}

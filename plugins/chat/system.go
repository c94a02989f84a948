package chat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is messages that the operator's programs send, by the administrative port: from an account of his, to one
// person, to many, or to a group. They are messages as all others: pushed, synced, unread, searched and recalled so.

const (
	mostSystemForm = 256 << 10 // octets
	mostRecipients = 1000
	systemAtOnce   = 16
)

// systemSent is what came of a message for one recipient.
type systemSent struct {
	To             string `json:"to"` // a user ID, or the conversation
	ConversationID string `json:"conversation_id,omitempty"`
	MessageID      string `json:"message_id,omitempty"`
	Seq            int64  `json:"seq,omitempty"`
	Duplicate      bool   `json:"duplicate,omitempty"` // it was sent by an earlier call
	HeldID         string `json:"held_id,omitempty"`   // it stands behind one that waits
	Code           string `json:"code,omitempty"`      // why it was not sent; UNAVAILABLE: make the same call again
	Reason         string `json:"reason,omitempty"`
}

// system is what a call of the page asks for.
type system struct {
	from     im.UserID
	clientID string
	to       []im.UserID
	group    im.ConversationID
	message  chatpb.SendRequest
}

// sendSystem is the page.
func (p *Chat) sendSystem(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostSystemForm)
	by, err := readBy(r)
	var s *system
	if err == nil {
		s, err = readSystem(r.PostForm)
	}
	if err == nil {
		err = s.readRecipients(r.PostForm)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	sent := p.sendAll(r.Context(), s)
	failed := 0
	for _, one := range sent {
		if one.Code != "" {
			failed++
		}
	}
	p.host.Log().Info("administrative action", "action", "messages", "from", s.from, "client_id", s.clientID, "recipients", len(sent), "failed", failed, "by", by, "address", r.RemoteAddr)
	plugin.AnswerPage(w, http.StatusOK, struct {
		Sent []systemSent `json:"sent"`
	}{sent})
}

// readBy reads a page's form, and who sends it.
func readBy(r *http.Request) (by string, err error) {
	if err := r.ParseForm(); err != nil || len(r.URL.Query()) > 0 {
		return "", im.Invalid("", "give a form of at most %d octets in the body, and nothing in the URL", mostSystemForm)
	}
	by = r.PostForm.Get("by")
	return by, im.CheckLine("by", by, 0, 64)
}

// readRecipients reads of the form to whom it goes.
func (s *system) readRecipients(f url.Values) error {
	s.group = im.ConversationID(f.Get("conversation"))
	for _, field := range f["to"] {
		for one := range strings.SplitSeq(field, ",") {
			u, err := userOf(strings.TrimSpace(one))
			if err != nil || slices.Contains(s.to, u) || len(s.to) == mostRecipients {
				return fmt.Errorf("to: must be IDs of users, each once, %d at most", mostRecipients)
			}
			s.to = append(s.to, u)
		}
	}
	switch {
	case (len(s.to) > 0) == (s.group != ""):
		return errors.New("give to or conversation, not both")
	case s.group.Type() == im.Chat:
		return errors.New("conversation: to a person it goes by to")
	case s.group.Type() == im.Announcements:
		return errors.New("conversation: to everybody it goes by POST /announcements")
	}
	return nil
}

// readSystem reads of the form what it says, and in whose name.
func readSystem(f url.Values) (s *system, err error) {
	s = &system{clientID: f.Get("client_id")}
	if s.from, err = userOf(f.Get("from")); err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	if err := plugin.ValidateClientID(s.clientID); err != nil {
		return nil, err
	}
	switch text, message := f.Get("text"), f.Get("message"); {
	case (text != "") == (message != ""):
		return nil, errors.New("give text, or message as JSON, not both")
	case text != "":
		s.message.Text = text
	default:
		if err := idl.Decode([]byte(message), idl.CodecJSON, &s.message); err != nil {
			return nil, fmt.Errorf("message: %w", err)
		}
	}
	m := &s.message
	if m.ClientId != "" || m.ToUserId != 0 || m.ConversationId != "" || m.ReplyTo != nil || m.Forward != nil || len(m.Mentions) > 0 {
		return nil, errors.New("message: has kind, text, media, place, payload and mentions_all; the form says the rest")
	}
	return s, nil
}

func userOf(text string) (im.UserID, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > idl.MaxSafeInteger {
		return 0, errors.New("must be the ID of a user")
	}
	return im.UserID(n), nil
}

// sendAll sends to every recipient, to some at the same time.
func (p *Chat) sendAll(ctx context.Context, s *system) []systemSent {
	requests := make([]*chatpb.SendRequest, max(1, len(s.to)))
	sent := make([]systemSent, len(requests))
	for i := range requests {
		m := s.message
		if s.group != "" {
			m.ConversationId, m.ClientId, sent[i].To = string(s.group), s.clientID+"."+string(s.group), string(s.group)
		} else {
			m.ToUserId, m.ClientId, sent[i].To = int64(s.to[i]), s.clientID+"."+s.to[i].String(), s.to[i].String()
		}
		requests[i] = &m
	}
	var working sync.WaitGroup
	for first := range min(systemAtOnce, len(requests)) {
		working.Go(func() {
			for i := first; i < len(requests); i += systemAtOnce {
				var rep *chatpb.SendReply
				err := p.barred(func() (err error) {
					rep, err = p.sendFrom(ctx, s.from, requests[i])
					return err
				})
				sent[i].note(rep, err)
			}
		})
	}
	working.Wait()
	return sent
}

// note takes what came of it.
func (s *systemSent) note(rep *chatpb.SendReply, err error) {
	if err == nil {
		s.ConversationID, s.MessageID, s.Seq, s.Duplicate, s.HeldID = rep.ConversationId, rep.MessageId, rep.Seq, rep.Duplicate, rep.HeldId
		return
	}
	s.Code, s.Reason = strings.TrimPrefix(im.CodeOf(err).String(), "CODE_"), "see the log"
	if refused, ok := errors.AsType[*im.Error](err); ok {
		s.Reason = refused.Reason
		if refused.Field != "" {
			s.Reason = refused.Field + ": " + refused.Reason
		}
	}
}

// sendFrom commits a message from an account, about which neither rules nor guards are asked: it is no action. In a
// conversation that is owned it goes to all members, whether its sender is one or not. Done again it gives what it gave.
func (p *Chat) sendFrom(ctx context.Context, from im.UserID, req *chatpb.SendRequest) (*chatpb.SendReply, error) {
	call := &plugin.Call{User: from}
	if err := p.validateSend(call, req); err != nil {
		return nil, err
	}
	if err := p.mustExist(ctx, from, nil); err != nil {
		return nil, err
	}
	if rep, err := p.answered(ctx, call, req); rep != nil || err != nil {
		return rep, err
	}
	switch im.ConversationID(req.ConversationId) {
	case "":
		return p.sending(ctx, call, req, unasked)
	case im.ToAll:
		return p.sendToEverybody(ctx, call, req)
	default:
		return p.sending(ctx, call, req, p.toMembers)
	}
}

// toMembers is admit for a message of the operator's to a conversation that is owned.
func (p *Chat) toMembers(ctx context.Context, m *message) error {
	keeper, ok := p.owners[m.conversation.Type()].(plugin.Keeper)
	if !ok {
		return errNotYours
	}
	to, err := keeper.Members(ctx, m.conversation)
	if err != nil {
		return refusal(ctx, err)
	}
	m.people, m.logged, m.version, m.operators = to.Inboxes, to.Log, to.Version, true
	if slices.Contains(m.people, m.sender) {
		m.people, err = senderFirst(m.people, m.sender)
	}
	return err
}

// Package chat is the plugin for messages between two people: sending, the
// inbox and its sync, delivery receipts and history. It decides who may write
// and read; timelines commit, the host pushes. core/server runs it.
package chat

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"sync/atomic"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Directory says whether a person exists; the account plugin provides it as the
// service "account.directory".
type Directory interface {
	Exists(ctx context.Context, u im.UserID) (bool, error)
}

// Config is the plugin's section of the configuration.
type Config struct {
	// MaxText is the longest text of a message in characters. Default 5,000.
	MaxText int `yaml:"max_text"`
	// PageBytes is about how many octets a page of sync or history may hold, so
	// that a page fits a session's outbound queue. Default 131,072.
	PageBytes int `yaml:"page_bytes"`
	// HeldOfOne is how many messages of one person may wait for a decision, or behind one
	// that does; HeldOfAll of all people together. Defaults 100 and 10,000.
	HeldOfOne int `yaml:"held_of_one"`
	HeldOfAll int `yaml:"held_of_all"`
}

// Chat is the plugin. Its methods are safe for concurrent use after Provision.
type Chat struct {
	config Config

	// Static after Provision.
	host      plugin.Host
	timelines timeline.Store
	people    Directory
	held      *heldStore
	lines     *lines
	wake      chan struct{} // of length 1: a held message may go on
	counted   atomic.Pointer[counts]
}

// New makes the plugin with the default configuration.
func New() *Chat {
	return &Chat{config: Config{MaxText: 5000, PageBytes: 128 << 10, HeldOfOne: 100, HeldOfAll: 10_000}}
}

// Info implements plugin.Plugin.
func (p *Chat) Info() plugin.Info {
	return plugin.Info{Name: "chat", Version: "1.0", Needs: []string{"account.directory"}, Provides: []string{"chat.sender"}}
}

// Config implements plugin.Configurer.
func (p *Chat) Config() any { return &p.config }

// Validate implements plugin.Validator.
func (p *Chat) Validate() error {
	if p.config.MaxText < 1 || p.config.MaxText > 10_000 {
		return im.Invalid("chat.max_text", "must be 1-10000, is %d", p.config.MaxText)
	}
	if p.config.PageBytes < 1<<10 || p.config.PageBytes > 1<<20 {
		return im.Invalid("chat.page_bytes", "must be 1024-1048576, is %d", p.config.PageBytes)
	}
	if p.config.HeldOfOne < 1 || p.config.HeldOfAll < p.config.HeldOfOne || p.config.HeldOfAll > 100_000 {
		return im.Invalid("chat.held_of_all", "must be from chat.held_of_one (at least 1) to 100000, they are %d and %d", p.config.HeldOfAll, p.config.HeldOfOne)
	}
	return nil
}

// Migrations implements plugin.Migrator.
func (p *Chat) Migrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// Provision implements plugin.Provisioner.
func (p *Chat) Provision(_ context.Context, h plugin.Host) (err error) {
	p.host, p.timelines = h, h.Timelines()
	h.Provide("chat.sender", p)
	p.held = &heldStore{db: h.DB(), tx: h.Tx}
	p.lines = newLines(p.held, h.Dialect() != "sqlite")
	p.wake = make(chan struct{}, 1)
	p.people, err = plugin.Need[Directory](h, "account.directory")
	return err
}

// Start implements plugin.Starter.
func (p *Chat) Start(context.Context) error {
	p.host.Go("held messages", p.runHeld)
	return nil
}

// Register implements plugin.Plugin.
func (p *Chat) Register(r *plugin.Registrar) {
	plugin.Handle(r, idl.ActionMessage, "send", p.send,
		plugin.Validate[chatpb.SendRequest, chatpb.SendReply](p.validateSend),
		plugin.Answered(p.answered),
		plugin.Message[chatpb.SendRequest, chatpb.SendReply](p.reviewed),
		plugin.Joins[chatpb.SendRequest, chatpb.SendReply](),
		plugin.Rewrite[chatpb.SendRequest, chatpb.SendReply]("text", p.config.MaxText),
		plugin.Holds[chatpb.SendRequest, chatpb.SendReply](),
		plugin.Shadows[chatpb.SendRequest, chatpb.SendReply](),
		plugin.Reroutes[chatpb.SendRequest, chatpb.SendReply](plugin.TargetUser))
	plugin.Handle(r, idl.ActionMessageAck, "ack", p.ack, plugin.Joins[chatpb.AckRequest, chatpb.AckReply]())
	plugin.Handle(r, idl.ActionSync, "sync", p.sync)
	plugin.Handle(r, idl.ActionHistory, "history", p.history)
	plugin.Handle(r, idl.ActionHeld, "held", p.listHeld)
	plugin.Handle(r, idl.ActionGetMessageID, "get_message_id", p.getMessageID)
}

// member gives the other person of the chat c, which is user himself in notes to
// self. It refuses everything that is not a chat of user's.
func member(c im.ConversationID, user im.UserID) (peer im.UserID, err error) {
	a, b, ok := c.Pair()
	switch {
	case ok && a == user:
		return b, nil
	case ok && b == user:
		return a, nil
	}
	return 0, &im.Error{Code: idl.CodePermissionDenied, Field: "conversation_id", Reason: "not a conversation of yours"}
}

// conversation finds the chat that a request names in one of two ways, and the
// other person in it.
func conversation(id string, with int64, withField string, user im.UserID) (im.ConversationID, im.UserID, error) {
	switch {
	case id != "" && with != 0:
		return "", 0, im.Invalid(withField, "give conversation_id or %s, not both", withField)
	case id != "":
		peer, err := member(im.ConversationID(id), user)
		return im.ConversationID(id), peer, err
	case with > 0:
		return im.ChatOf(user, im.UserID(with)), im.UserID(with), nil
	}
	return "", 0, im.Invalid(withField, "must be the ID of a user")
}

// perMessage are the IDs, seqs and names around a text, in JSON.
const perMessage = 160

// fits gives how many of the first messages make up a page of so many octets in codec c,
// at least one if there is one.
func fits(items []im.Message, octets int, c idl.Codec) int {
	return plugin.Fits(items, octets, func(m im.Message) int { return plugin.SizeOf(m.Body, c) + perMessage })
}

func shownAll(items []im.Message) ([]*chatpb.Message, error) {
	var all []*chatpb.Message
	for _, item := range items {
		m, err := shown(item)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// shown is a message as clients see it.
func shown(m im.Message) (*chatpb.Message, error) {
	var content chatpb.Content
	if err := content.Unmarshal(m.Body); err != nil {
		return nil, fmt.Errorf("body of message %s: %w", m.ID, err)
	}
	c, seq := place(m, &content)
	return &chatpb.Message{
		Id: m.ID.String(), ConversationId: string(c), Seq: seq, SenderId: int64(m.Sender),
		ClientId: m.ClientID, TimeMs: m.Time.UnixMilli(), Kind: content.Kind, Text: content.Text,
	}, nil
}

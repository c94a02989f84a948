// Package moment is the plugin for what people publish for others to see: moments with
// pictures, a film or a place, the feed of friends, likes and comments. It decides who sees
// what, asks nobody to be told of a new moment (readers collect their feed), and stores no pictures:
// it keeps their addresses. core/server runs it.
package moment

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/momentpb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Relations says how people stand to each other; the social plugin provides it as the
// service "social.relations".
type Relations interface {
	Friends(ctx context.Context, u im.UserID) ([]im.UserID, error) // ascending
	Friend(ctx context.Context, a, b im.UserID) (bool, error)
	// Blocked are those who block u or whom u blocks.
	Blocked(ctx context.Context, u im.UserID) ([]im.UserID, error)
}

// Config is the plugin's section of the configuration.
type Config struct {
	// MaxText and MaxComment are the longest texts in characters. Defaults 2,000 and 500.
	MaxText    int `yaml:"max_text"`
	MaxComment int `yaml:"max_comment"`
	// Images is how many a moment may have. Default 9.
	Images int `yaml:"images"`
	// MomentsPerDay, LikesPerMinute and CommentsPerMinute bound those of one person; taking a
	// like back counts as one. 0: no bound. Defaults 50, 60 and 30.
	MomentsPerDay     int `yaml:"moments_per_day"`
	LikesPerMinute    int `yaml:"likes_per_minute"`
	CommentsPerMinute int `yaml:"comments_per_minute"`
	// ChangesPerMinute bounds the changes of visibility by one person. 0: no bound. Default 30.
	ChangesPerMinute int `yaml:"changes_per_minute"`
	// Review is "none", or "before": nobody but its author sees a moment before a reviewer
	// has published it. Default none.
	Review string `yaml:"review"`
	// PageBytes is about how many octets a page may hold, so that it fits a session's
	// outbound queue. Default 131,072.
	PageBytes int `yaml:"page_bytes"`
}

// The values of Config.Review.
const (
	reviewNone   = "none"
	reviewBefore = "before"
)

// Moment is the plugin. Its methods are safe for concurrent use after Provision.
type Moment struct {
	config Config

	// Static after Provision.
	host      plugin.Host
	store     *store
	relations Relations
	people    plugin.People
	messages  plugin.Messages
	files     plugin.Files
	published plugin.Limiter // by person, as the others
	liked     plugin.Limiter
	commented plugin.Limiter
	changed   plugin.Limiter
	wake      chan struct{} // of length 1: something was deleted
}

// New makes the plugin with the default configuration.
func New() *Moment {
	return &Moment{config: Config{MaxText: 2000, MaxComment: 500, Images: 9, MomentsPerDay: 50, LikesPerMinute: 60, CommentsPerMinute: 30, ChangesPerMinute: 30,
		Review: reviewNone, PageBytes: 128 << 10}}
}

// Info implements plugin.Plugin.
func (p *Moment) Info() plugin.Info {
	return plugin.Info{Name: "moment", Version: "1.0",
		Needs: []string{"social.relations", plugin.ServiceMessages, plugin.ServicePeople, plugin.ServiceHoldings, plugin.ServiceFiles}}
}

// Config implements plugin.Configurer.
func (p *Moment) Config() any { return &p.config }

// Migrations implements plugin.Migrator.
func (p *Moment) Migrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// Validate implements plugin.Validator.
func (p *Moment) Validate() error {
	c := p.config
	checks := []struct {
		ok   bool
		key  string
		rule string
	}{
		{c.MaxText >= 1 && c.MaxText <= 10_000, "max_text", "must be 1-10000"},
		{c.MaxComment >= 1 && c.MaxComment <= 2_000, "max_comment", "must be 1-2000"},
		{c.Images >= 0 && c.Images <= mostImages, "images", "must be 0-64"},
		{c.MomentsPerDay >= 0, "moments_per_day", "must be 0 (no bound) or more"},
		{c.LikesPerMinute >= 0, "likes_per_minute", "must be 0 (no bound) or more"},
		{c.CommentsPerMinute >= 0, "comments_per_minute", "must be 0 (no bound) or more"},
		{c.ChangesPerMinute >= 0, "changes_per_minute", "must be 0 (no bound) or more"},
		{c.Review == reviewNone || c.Review == reviewBefore, "review", "must be none or before"},
		{c.PageBytes >= 1<<10 && c.PageBytes <= 1<<20, "page_bytes", "must be 1024-1048576"},
	}
	for _, check := range checks {
		if !check.ok {
			return im.Invalid("moment."+check.key, "%s", check.rule)
		}
	}
	return nil
}

// Provision implements plugin.Provisioner.
func (p *Moment) Provision(_ context.Context, h plugin.Host) (err error) {
	p.host = h
	p.store = &store{db: h.DB(), tx: h.Tx}
	p.published = h.Limiter("published", p.config.MomentsPerDay, 24*time.Hour)
	p.liked = h.Limiter("liked", p.config.LikesPerMinute, time.Minute)
	p.commented = h.Limiter("commented", p.config.CommentsPerMinute, time.Minute)
	p.changed = h.Limiter("changed", p.config.ChangesPerMinute, time.Minute)
	p.wake = make(chan struct{}, 1)
	if p.relations, err = plugin.Need[Relations](h, "social.relations"); err != nil {
		return err
	}
	if p.messages, err = plugin.Need[plugin.Messages](h, plugin.ServiceMessages); err != nil {
		return err
	}
	if p.people, err = plugin.Need[plugin.People](h, plugin.ServicePeople); err != nil {
		return err
	}
	if p.files, err = plugin.Need[plugin.Files](h, plugin.ServiceFiles); err != nil {
		return err
	}
	all, err := plugin.Need[plugin.HoldingsOf](h, plugin.ServiceHoldings)
	if err != nil {
		return err
	}
	all.Hold("moment", holdings{p})
	return nil
}

// Start implements plugin.Starter.
func (p *Moment) Start(context.Context) error {
	p.host.Go("remains of deleted moments", p.runSweep)
	return nil
}

// Register implements plugin.Plugin.
func (p *Moment) Register(r *plugin.Registrar) {
	plugin.Handle(r, idl.ActionPublishMoment, "publish", p.publish,
		plugin.Validate[momentpb.PublishMomentRequest, momentpb.PublishMomentReply](p.validatePublish),
		plugin.Answered(p.answeredPublish),
		plugin.Rewrite[momentpb.PublishMomentRequest, momentpb.PublishMomentReply]("text", p.config.MaxText))
	plugin.Handle(r, idl.ActionDeleteMoment, "delete", p.remove)
	plugin.Handle(r, idl.ActionSetMomentVisibility, "set_visibility", p.setVisibility)
	plugin.Handle(r, idl.ActionGetMoment, "get", p.get)
	plugin.Handle(r, idl.ActionMomentFeed, "feed", p.feed, plugin.Bulky[momentpb.FeedRequest, momentpb.MomentsReply]())
	plugin.Handle(r, idl.ActionListMoments, "list", p.list, plugin.Bulky[momentpb.ListMomentsRequest, momentpb.MomentsReply]())
	plugin.Handle(r, idl.ActionMomentSquare, "square", p.square, plugin.Bulky[momentpb.SquareRequest, momentpb.MomentsReply]())
	plugin.Handle(r, idl.ActionLikeMoment, "like", p.like)
	plugin.Handle(r, idl.ActionUnlikeMoment, "unlike", p.unlike)
	plugin.Handle(r, idl.ActionCommentMoment, "comment", p.comment,
		plugin.Validate[momentpb.CommentRequest, momentpb.CommentReply](p.validateComment),
		plugin.Answered(p.answeredComment),
		plugin.Permit[momentpb.CommentRequest, momentpb.CommentReply](p.permitComment),
		plugin.Rewrite[momentpb.CommentRequest, momentpb.CommentReply]("text", p.config.MaxComment))
	plugin.Handle(r, idl.ActionDeleteComment, "delete_comment", p.deleteComment)
	plugin.Handle(r, idl.ActionMomentLikes, "likes", p.likes)
	plugin.Handle(r, idl.ActionMomentComments, "comments", p.comments, plugin.Bulky[momentpb.CommentsRequest, momentpb.CommentsReply]())
}

// limited is the refusal of what comes too often.
func limited(wait time.Duration, what string) error {
	return &im.Error{Code: idl.CodeRateLimited, Reason: "too many " + what, RetryAfter: wait}
}

// notFound is the refusal for what is not there, or not for the caller: the same.
func notFound(field, what string) error {
	return &im.Error{Code: idl.CodeNotFound, Field: field, Reason: "no such " + what}
}

// refusal is err as the client sees it.
func refusal(ctx context.Context, err error) error {
	if _, is := errors.AsType[*im.Error](err); is || err == nil {
		return err
	}
	return plugin.Stored(ctx, err)
}

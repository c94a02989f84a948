package moment

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/momentpb"
)

// Short names of the wire's.
const (
	visibleToFriends = momentpb.MomentVisibility_MOMENT_VISIBILITY_FRIENDS
	visibleToAll     = momentpb.MomentVisibility_MOMENT_VISIBILITY_PUBLIC
	visibleToNobody  = momentpb.MomentVisibility_MOMENT_VISIBILITY_PRIVATE
	visibleToOnly    = momentpb.MomentVisibility_MOMENT_VISIBILITY_ONLY
	visibleExcept    = momentpb.MomentVisibility_MOMENT_VISIBILITY_EXCEPT

	published = momentpb.MomentReview_MOMENT_REVIEW_PUBLISHED
	waiting   = momentpb.MomentReview_MOMENT_REVIEW_WAITING
	refused   = momentpb.MomentReview_MOMENT_REVIEW_REFUSED
)

// view is how somebody stands to others, as it was when an action began: who sees what is
// decided by it, in may, and nowhere else. Owned by the goroutine of the action.
type view struct {
	user    im.UserID
	blocked map[im.UserID]bool // who blocks him or whom he blocks
	friends map[im.UserID]bool // of those who were asked about
	there   map[im.UserID]bool // likewise: whether there is such a person
}

// view gives that of user, who knows nobody yet.
func (p *Moment) view(ctx context.Context, user im.UserID) (*view, error) {
	blocked, err := p.relations.Blocked(ctx, user)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	v := &view{user: user, blocked: make(map[im.UserID]bool, len(blocked)), friends: map[im.UserID]bool{}, there: map[im.UserID]bool{}}
	for _, u := range blocked {
		v.blocked[u] = true
	}
	return v, nil
}

// meet has v know whether the people are there.
func (p *Moment) meet(ctx context.Context, v *view, people ...im.UserID) error {
	var ask []im.UserID
	for _, u := range people {
		if _, known := v.there[u]; !known {
			v.there[u] = false
			ask = append(ask, u)
		}
	}
	const atOnce = 1000 // that plugin.People takes
	for len(ask) > 0 {
		n := min(len(ask), atOnce)
		found, err := p.people.People(ctx, ask[:n])
		if err != nil {
			return plugin.Stored(ctx, err)
		}
		for u := range found {
			v.there[u] = true
		}
		ask = ask[n:]
	}
	return nil
}

// befriend has v know whether somebody is a friend.
func (p *Moment) befriend(ctx context.Context, v *view, u im.UserID) error {
	if _, known := v.friends[u]; known || u == v.user {
		return nil
	}
	yes, err := p.relations.Friend(ctx, v.user, u)
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	v.friends[u] = yes
	return nil
}

// near is a view of user that knows one author.
func (p *Moment) near(ctx context.Context, user, author im.UserID) (*view, error) {
	v, err := p.view(ctx, user)
	if err == nil {
		err = p.befriend(ctx, v, author)
	}
	if err == nil {
		err = p.meet(ctx, v, author)
	}
	return v, err
}

// knows reports whether v sees anything of somebody's.
func (v *view) knows(u im.UserID) bool { return u == v.user || !v.blocked[u] && v.there[u] }

// may reports whether v sees the moment, whose author he has met and befriended. listed
// says whether the moment's list names him.
func (v *view) may(m *moment, listed bool) bool {
	if m.author == v.user {
		return true
	}
	if !v.knows(m.author) || m.state != published {
		return false
	}
	switch m.visibility {
	case visibleToAll:
		return true
	case visibleToFriends:
		return v.friends[m.author]
	case visibleToOnly:
		return v.friends[m.author] && listed
	case visibleExcept:
		return v.friends[m.author] && !listed
	}
	return false
}

// seen gives those of the moments that v sees, in their order.
func (p *Moment) seen(ctx context.Context, v *view, all []*moment) (some []*moment, err error) {
	var authors []im.UserID
	var lists []string
	for _, m := range all {
		if m.author == v.user || v.blocked[m.author] {
			continue
		}
		authors = append(authors, m.author)
		if m.visibility != visibleToAll {
			if err := p.befriend(ctx, v, m.author); err != nil {
				return nil, err
			}
		}
		if m.named() {
			lists = append(lists, m.id)
		}
	}
	if err := p.meet(ctx, v, authors...); err != nil {
		return nil, err
	}
	listed, err := p.store.listed(ctx, p.store.db, v.user, lists)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	for _, m := range all {
		if v.may(m, listed[m.id]) {
			some = append(some, m)
		}
	}
	return some, nil
}

// look finds a moment that user sees, and how he stands to its author.
func (p *Moment) look(ctx context.Context, user im.UserID, id string) (*moment, *view, error) {
	m, v, err := p.find(ctx, user, id)
	if err != nil {
		return nil, nil, err
	}
	some, err := p.seen(ctx, v, []*moment{m})
	if err != nil {
		return nil, nil, err
	}
	if len(some) == 0 {
		return nil, nil, notFound("moment_id", "moment")
	}
	return m, v, nil
}

// find is look for a moment that user need not see.
func (p *Moment) find(ctx context.Context, user im.UserID, id string) (*moment, *view, error) {
	if _, err := im.ParseMessageID(id); err != nil {
		return nil, nil, im.Invalid("moment_id", "must be the ID of a moment")
	}
	m, err := p.store.moment(ctx, p.store.db, id)
	if err != nil {
		return nil, nil, plugin.Stored(ctx, err)
	}
	if m == nil {
		return nil, nil, notFound("moment_id", "moment")
	}
	v, err := p.near(ctx, user, m.author)
	return m, v, err
}

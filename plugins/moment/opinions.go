package moment

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
)

// What a page of likes or comments may hold.
const (
	opinionsPage  = 50
	opinionsPages = 100
	// opinionSteps is how often a page reads on instead of what the caller does not see.
	opinionSteps = 10
)

// listing is how likes, or comments, are read and what they are: whose, and with an ID that
// they are ordered by.
type listing[T any] struct {
	read   func(ctx context.Context, moment, after string, n int) ([]T, error)
	id     func(T) string
	author func(T) im.UserID
	others func(T) im.UserID // whom it names beside; nil: nobody
}

// opinions is a page of likes or comments of a moment, without those of people whom the
// caller does not know of.
type opinions[T any] struct {
	items []T
	view  *view
	at    string // the place behind the page; empty: there is nothing
}

// page reads one. It may be short, with more behind it, when many are left out.
func (l listing[T]) page(ctx context.Context, p *Moment, user im.UserID, moment, cursor string, asked int32) (o opinions[T], err error) {
	limit, err := plugin.PageLimit(asked, opinionsPage, opinionsPages)
	if err != nil {
		return o, err
	}
	at, err := behind(cursor)
	if err != nil {
		return o, err
	}
	if _, o.view, err = p.look(ctx, user, moment); err != nil {
		return o, err
	}
	for range opinionSteps {
		some, err := l.read(ctx, moment, at, limit+1)
		if err != nil {
			return o, plugin.Stored(ctx, err)
		}
		if err := p.meet(ctx, o.view, l.people(some)...); err != nil {
			return o, err
		}
		for i, one := range some {
			if len(o.items) == limit || i == limit {
				o.at = at
				break
			}
			if at = l.id(one); o.view.knows(l.author(one)) {
				o.items = append(o.items, one)
			}
		}
		if o.at == "" || len(o.items) == limit { // nothing is left, or the page is full
			return o, nil
		}
		o.at = ""
	}
	o.at = at
	return o, nil
}

// people are all whom the items name.
func (l listing[T]) people(items []T) (all []im.UserID) {
	for _, one := range items {
		all = append(all, l.author(one))
		if l.others != nil {
			all = append(all, l.others(one))
		}
	}
	return all
}

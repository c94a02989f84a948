package moment

import (
	"context"
	"database/sql"
	"slices"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
)

// With is New with another configuration.
func With(changes ...func(*Config)) *Moment {
	p := New()
	for _, change := range changes {
		change(&p.config)
	}
	return p
}

// BeforeChanges has fn run before each transaction begins.
func (p *Moment) BeforeChanges(fn func()) {
	tx := p.store.tx
	p.store.tx = func(ctx context.Context, do func(*sql.Tx) error) error {
		fn()
		return tx(ctx, do)
	}
}

// Sweep sweeps now.
func (p *Moment) Sweep(ctx context.Context) error { return p.sweep(ctx) }

// CheckAddress is checkAddress.
func CheckAddress(text string) error { return checkAddress("images", text) }

// ReadMedia reads media that was stored, and fails the test unless it is stored as it was.
func ReadMedia(t *testing.T, text string) {
	m, err := readMedia(text)
	if err != nil {
		return
	}
	again, err := m.stored()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := readMedia(again); err != nil || !slices.Equal(n.Images, m.Images) {
		t.Errorf("%q is stored as %q: %v", text, again, err)
	}
}

// Listing is a query that lists, with arguments.
type Listing struct {
	Text string
	Args []any
}

// Listings are all of the plugin's, for a user, an author, a moment of his and another.
func Listings(user, author im.UserID, id, other string) map[string]Listing {
	u, a := int64(user), int64(author)
	columns := "SELECT " + momentColumns + " FROM moment_moments "
	return map[string]Listing{
		"own":               {ownMoments, []any{a, newest, 21}},
		"of a friend":       {friendMoments, []any{a, id, u, u, 21}},
		"of a stranger":     {publicMoments, []any{a, id, 21}},
		"square":            {squareMoments, []any{id, 21}},
		"walk":              {allMoments, []any{id, walkStep}},
		"heads":             {headMoments + plugin.Marks(3), []any{newest, u, u, a, a + 1, a + 2}},
		"lasts":             {lastMoments + plugin.Marks(3), []any{a, a + 1, a + 2}},
		"since":             {sinceMoments(2), []any{a, other, newest, u, u, 21, a + 1, other, newest, u, u, 21}},
		"by IDs":            {columns + "WHERE id IN " + plugin.Marks(2), []any{id, other}},
		"waiting":           {columns + waitingMoments, []any{1, id, 51}},
		"listed":            {"SELECT moment_id FROM moment_lists WHERE user_id = ? AND moment_id IN " + plugin.Marks(2), []any{u, id, other}},
		"lists":             {"SELECT moment_id, user_id FROM moment_lists WHERE moment_id IN " + plugin.Marks(2) + " ORDER BY moment_id, user_id", []any{id, other}},
		"lists that name":   {listsOf, []any{u, 200}},
		"likes":             {momentLikes, []any{id, "", 51}},
		"likes of one":      {likesOf, []any{u, id, 200}},
		"comments":          {momentComments, []any{id, "", 51}},
		"comments of one":   {commentsOf, []any{u, id, id, other, 200}},
		"likes of people":   {countLikes(2, 2), []any{id, other, u, a}},
		"comments of these": {countComments(2, 2), []any{id, other, u, a}},
		"unswept":           {goneUnswept, []any{0, 500}},
		"forgotten":         {goneOld, []any{1, 500}},
	}
}

// FeedBy gives a page of friends' moments by one of the ways, for comparison.
func (p *Moment) FeedBy(ctx context.Context, way string, user im.UserID, authors []im.UserID, before string, n int) (ids []string, err error) {
	q := feedQuery{user, authors, before, n}
	if before == "" {
		q.before = newest
	}
	switch way {
	case "walk": // to the end
		friends := map[im.UserID]bool{}
		for _, u := range authors {
			friends[u] = true
		}
		for at := q.before; ; {
			steps, err := p.store.steps(ctx, allMoments, at, 1000)
			if err != nil {
				return nil, err
			}
			var end bool
			steps, at, end = after(steps, at, 1000)
			mine, err := p.store.unlisted(ctx, user, slices.DeleteFunc(steps, func(one step) bool { return !friends[one.author] }))
			if err != nil {
				return nil, err
			}
			for _, one := range mine {
				if ids = append(ids, one.id); len(ids) == n {
					return ids, nil
				}
			}
			if end {
				return ids, nil
			}
		}
	case "merge":
		return p.store.merge(ctx, q)
	case "IN":
		for some := range slices.Chunk(authors, headsStep) {
			more, err := p.store.ids(ctx, inMoments(len(some)), append(append(anyOf(some), q.before, int64(user), int64(user)), n)...)
			if err != nil {
				return nil, err
			}
			ids = append(ids, more...)
		}
		slices.Sort(ids)
		slices.Reverse(ids)
		return ids[:min(n, len(ids))], nil
	}
	return p.store.feed(ctx, q)
}

// inMoments is the query that would come to mind first.
func inMoments(authors int) string {
	return "SELECT m.id FROM moment_moments m" + asListed + "WHERE m.author IN " + plugin.Marks(authors) + " AND m.feed = 1 AND m.id < ?" + listVisible + " ORDER BY m.id DESC LIMIT ?"
}

// Ways are those of FeedBy with their queries.
func Ways(authors int) map[string]string {
	return map[string]string{"walk": allMoments, "lasts": lastMoments + plugin.Marks(authors), "heads": headMoments + plugin.Marks(authors), "since": sinceMoments(authors), "IN": inMoments(authors), "next of one": friendMoments}
}

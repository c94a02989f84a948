package moment_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/momentpb"
	"freeim/plugins/moment"
)

const (
	firstAuthor  = im.UserID(200_001)
	benchAuthors = 20_000
	quietAuthors = 5_000 // of them: who published long ago only, the first fifth of all moments
)

// BenchmarkFeed measures pages of 20 moments of friends, by each way of finding them, and the
// whole action, one person's moments and the square, on 1,000,000 moments of 20,000 people (with -short a tenth). It
// logs the queries' plans.
func BenchmarkFeed(b *testing.B) {
	moments := 1_000_000
	if testing.Short() {
		moments /= 10
	}
	w := &world{plugin: moment.New(), relations: newRelations(), people: plugintest.NewPeople(bob), messages: &plugintest.Messages{}, files: &plugintest.Files{}}
	w.Host = plugintest.New(b, plugintest.Options{Plugins: []plugin.Plugin{w.plugin}, Stubs: w.stubs()})
	middle := fillMany(b, w.Host, moments)
	for u := range im.UserID(benchAuthors) {
		w.people.Add(plugin.Person{User: firstAuthor + u})
	}
	me, one, two, three := int64(bob), int64(firstAuthor), int64(firstAuthor+1), int64(firstAuthor+2)
	for way, query := range moment.Ways(3) {
		args := map[string][]any{"walk": {"~", 250}, "lasts": {one, two, three}, "heads": {"~", me, me, one, two, three}, "since": {one, middle, "~", me, me, 21, two, middle, "~", me, me, 21, three, middle, "~", me, me, 21},
			"IN": {one, two, three, "~", me, me, 21}, "next of one": {one, "~", me, me, 4}}[way]
		b.Logf("%s: %s\n%s", way, query, plugintest.Explain(b, w.Host, query, args...))
	}
	for name, q := range moment.Listings(bob, firstAuthor+quietAuthors, middle, middle) {
		if slices.Contains([]string{"own", "of a friend", "of a stranger", "square"}, name) {
			b.Logf("%s: %s\n%s", name, q.Text, plugintest.Explain(b, w.Host, q.Text, q.Args...))
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	busy := func(n int) (all []im.UserID) {
		for _, i := range random.Perm(benchAuthors - quietAuthors)[:n] {
			all = append(all, firstAuthor+quietAuthors+im.UserID(i))
		}
		return all
	}
	from := func(first im.UserID, n int) (all []im.UserID) {
		for i := range im.UserID(n) {
			all = append(all, first+i)
		}
		return all
	}
	for _, of := range []struct {
		name    string
		friends []im.UserID
	}{
		{"5000 busy", busy(5000)},
		{"5000 quiet", from(firstAuthor, quietAuthors)},
		{"4990 quiet and 10 busy", append(from(firstAuthor, quietAuthors-10), busy(10)...)},
		{"5000 who never published", from(900_001, 5000)},
		{"200 busy", busy(200)},
		{"50 busy", busy(50)},
	} {
		slices.Sort(of.friends)
		for page, before := range map[string]string{"first": "", "middle": middle} {
			for _, way := range []string{"walk", "merge", "IN", "feed"} {
				if way == "IN" && len(of.friends) > 200 && page == "middle" { // seconds: once is enough
					continue
				}
				b.Run(fmt.Sprintf("%s/%s page/%s", of.name, page, way), func(b *testing.B) {
					for b.Loop() {
						if _, err := w.plugin.FeedBy(b.Context(), way, bob, of.friends, before, 21); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			w.relations.mu.Lock()
			clear(w.relations.friend)
			w.relations.mu.Unlock()
			for _, u := range of.friends {
				w.relations.befriend(bob, u, true)
			}
			b.Run(fmt.Sprintf("%s/%s page/action", of.name, page), func(b *testing.B) {
				s := w.As(bob, "phone", idl.CodecProtobuf)
				for b.Loop() {
					if err := s.Call(idl.ActionMomentFeed, &momentpb.FeedRequest{Cursor: before}, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	// One person's: of somebody who publishes, by a friend and by a stranger, in the middle too.
	author := busy(1)[0]
	for _, friend := range []bool{true, false} {
		for page, before := range map[string]string{"first": "", "middle": middle} {
			w.relations.befriend(bob, author, friend)
			b.Run(fmt.Sprintf("one person's, friend %v/%s page/action", friend, page), func(b *testing.B) {
				s := w.As(bob, "phone", idl.CodecProtobuf)
				for b.Loop() {
					if err := s.Call(idl.ActionListMoments, &momentpb.ListMomentsRequest{UserId: int64(author), Cursor: before}, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	b.Run("square", func(b *testing.B) {
		s := w.As(bob, "phone", idl.CodecProtobuf)
		for b.Loop() {
			if err := s.Call(idl.ActionMomentSquare, &momentpb.SquareRequest{}, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("publish", func(b *testing.B) {
		s, n := w.As(bob, "phone", idl.CodecProtobuf), 0
		for b.Loop() {
			n++
			if err := s.Call(idl.ActionPublishMoment, &momentpb.PublishMomentRequest{ClientId: fmt.Sprint(n), Text: "hello"}, nil); err != nil && im.CodeOf(err) != idl.CodeRateLimited {
				b.Fatal(err)
			}
		}
	})
}

// fillMany files moments of all authors, in random order, and gives the ID of one in the middle of
// the busy ones'. One in twenty has a list.
func fillMany(b *testing.B, h *plugintest.Host, moments int) (middle string) {
	b.Helper()
	const rows = 500
	ids, random, quiet := im.NewIDGenerator(h.Now), rand.New(rand.NewPCG(3, 4)), moments/5
	exec := func(query string, args ...any) {
		b.Helper()
		if _, err := h.DB().ExecContext(b.Context(), query, args...); err != nil {
			b.Fatal(err)
		}
	}
	for first := 0; first < benchAuthors; first += rows {
		var args []any
		for i := range rows {
			args = append(args, int64(firstAuthor)+int64(first+i))
		}
		exec("INSERT INTO moment_authors (user_id, published, last_id) VALUES "+strings.Repeat(", (?, 1, '')", rows)[2:], args...)
	}
	for first := 0; first < moments; first += rows {
		var args, lists []any
		for i := range rows {
			author := random.IntN(quietAuthors)
			if first+i >= quiet {
				author = quietAuthors + random.IntN(benchAuthors-quietAuthors)
			}
			id, visibility := ids.Next("n_1").String(), random.IntN(2)
			if first+i == quiet+(moments-quiet)/2 {
				middle = id
			}
			if random.IntN(20) == 0 {
				visibility = 3 + random.IntN(2)
				lists = append(lists, id, int64(bob)+int64(random.IntN(2)))
			}
			args = append(args, id, int64(firstAuthor)+int64(author), id, "", 0, "a text of a usual length, as people write it 🦊", "", visibility, 0, "", 1, map[bool]int{true: 1}[visibility == 1], 0, 0)
		}
		exec("INSERT INTO moment_moments (id, author, client_id, digest, made_ms, text, media, visibility, state, reason, feed, square, likes, comments) VALUES "+
			strings.Repeat(", (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)[2:], args...)
		if len(lists) > 0 {
			exec("INSERT INTO moment_lists (moment_id, user_id) VALUES "+strings.Repeat(", (?, ?)", len(lists)/2)[2:], lists...)
		}
	}
	exec("UPDATE moment_authors SET last_id = COALESCE((SELECT MAX(m.id) FROM moment_moments m WHERE m.author = moment_authors.user_id), '')")
	if plugintest.Production() {
		exec("ANALYZE TABLE moment_moments, moment_authors, moment_lists")
	}
	return middle
}

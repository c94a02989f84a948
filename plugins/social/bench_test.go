package social_test

import (
	"slices"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
	"freeim/plugins/social"
)

// BenchmarkFriends reads the list of somebody with 5,000 friends: a page in its middle, all of its ten
// pages, what changed in it (nothing), and the IDs as other plugins get them. It logs the queries' plans.
func BenchmarkFriends(b *testing.B) {
	w := start(b)
	crowd(b, w, 5000)
	for _, q := range social.Listings() {
		if slices.Contains([]string{"friends", "changes", "mutual", "recent"}, q.Name) {
			q.Args[0] = int64(alice)
			b.Logf("%s: %s\n%s", q.Name, q.SQL, plugintest.Explain(b, w.Host, q.SQL, q.Args...))
		}
	}
	s := w.as(alice)
	page := func(b *testing.B, req *socialpb.FriendsRequest) *socialpb.FriendsReply {
		rep := &socialpb.FriendsReply{}
		if err := s.Call(idl.ActionFriends, req, rep); err != nil {
			b.Fatal(err)
		}
		return rep
	}
	first := page(b, &socialpb.FriendsRequest{Limit: 500})
	b.Run("page of 100", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if rep := page(b, &socialpb.FriendsRequest{Cursor: first.Next}); len(rep.Friends) != 100 {
				b.Fatal(len(rep.Friends))
			}
		}
	})
	b.Run("all 5000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n, req := 0, &socialpb.FriendsRequest{Limit: 500}
			for more := true; more; {
				rep := page(b, req)
				n, more, req.Cursor = n+len(rep.Friends), rep.HasMore, rep.Next
			}
			if n != 5000 {
				b.Fatal(n)
			}
		}
	})
	b.Run("no change", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if rep := page(b, &socialpb.FriendsRequest{Since: first.Since}); len(rep.Friends) != 0 {
				b.Fatal(len(rep.Friends))
			}
		}
	})
	b.Run("relations.Friends", func(b *testing.B) {
		r := w.relations()
		b.ReportAllocs()
		for b.Loop() {
			if all, err := r.Friends(b.Context(), alice); err != nil || len(all) != 5000 {
				b.Fatal(len(all), err)
			}
		}
	})
	b.Run("suggestions", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := s.Call(idl.ActionSuggestions, nil, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkGuard is what a message between two people costs more for being asked about: of two whom the
// core remembers, and of two whom it does not.
func BenchmarkGuard(b *testing.B) {
	b.Run("remembered", func(b *testing.B) {
		w := start(b)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := w.messages.Chat(b.Context(), bob, alice); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("asked", func(b *testing.B) {
		w := start(b)
		from := im.UserID(1 << 40)
		b.ReportAllocs()
		for b.Loop() {
			from++
			if err := w.messages.Chat(b.Context(), from, alice); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package account_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

// people signs up some with handles and nicknames, and gives a session of the first.
func people(t *testing.T, h *plugintest.Host, all ...[3]string) *plugintest.Session {
	t.Helper()
	var first *plugintest.Session
	for _, one := range all {
		s := h.As(signUp(t, h, one[0]), "d", idl.CodecJSON)
		req := &accountpb.UpdateProfileRequest{Handle: &one[1], Nickname: &one[2]}
		if _, err := update(s, req); err != nil {
			t.Fatal(one, err)
		}
		if first == nil {
			first = s
		}
	}
	return first
}

// pages reads all results in pages of n, as account names.
func pages(t *testing.T, s *plugintest.Session, query string, n int32) (names []string) {
	t.Helper()
	req := &accountpb.SearchRequest{Query: query, Limit: n}
	for range 100 {
		var rep accountpb.SearchReply
		if err := s.Call(idl.ActionSearchUsers, req, &rep); err != nil {
			t.Fatalf("search for %q: %v", query, err)
		}
		if len(rep.People) > int(n) || rep.HasMore != (rep.Cursor != "") {
			t.Fatalf("a page of %d, more %v, cursor %q", len(rep.People), rep.HasMore, rep.Cursor)
		}
		for _, one := range rep.People {
			names = append(names, one.Account)
		}
		if !rep.HasMore {
			return names
		}
		req.Cursor = rep.Cursor
	}
	t.Fatal("the pages do not end")
	return nil
}

func TestSearch(t *testing.T) {
	h := start(t, func(c *account.Config) { c.SearchesPerMinute = 0 })
	s := people(t, h,
		[3]string{"bob", "bobby", "Robert"}, [3]string{"carl", "bob_x", "Bob"}, [3]string{"bobcat", "cat", "Katze"},
		[3]string{"dave", "dave_", "BOB the Builder"}, [3]string{"erin", "erin_", "Ｂｏｂ"}, [3]string{"fay", "fay_", "张伟"},
		[3]string{"gus", "gus_", "张三丰"}, [3]string{"bob-2", "x.2", "%"}, [3]string{"hal", "bobo", "Bob"})
	for _, test := range []struct {
		query string
		want  string
	}{
		{"bob", "bob carl hal bob-2 bobcat erin dave"}, // the account first, then handles, accounts and nicknames
		{"BOB", "bob carl hal bob-2 bobcat erin dave"},
		{"bobb", "bob"},
		{"@bobby", "bob"},
		{"张", "gus fay"},
		{"张伟", "fay"},
		{"bob the", "dave"},
		{"%", "bob-2"},
		{"_", ""},
		{"nobody", ""},
	} {
		for _, n := range []int32{1, 2, 3, 50} {
			if got := strings.Join(pages(t, s, test.query, n), " "); got != test.want {
				t.Errorf("%q in pages of %d: got %q, want %q", test.query, n, got, test.want)
			}
		}
	}
	if _, err := update(s, &accountpb.UpdateProfileRequest{FoundByHandle: new(false)}); err != nil {
		t.Fatal(err)
	}
	if got := pages(t, s, "bobb", 5); len(got) != 0 {
		t.Errorf("by a handle that is not to be found by: %q", got)
	}
}

func TestWhoIsNotFound(t *testing.T) {
	for _, test := range []struct {
		name   string
		change *accountpb.UpdateProfileRequest
		found  []string // by which queries
	}{
		{"all may", &accountpb.UpdateProfileRequest{}, []string{"alice", "ali", "fox", "fo", "Queen", "que"}},
		{"not by account", &accountpb.UpdateProfileRequest{FoundByAccount: new(false)}, []string{"fox", "fo", "Queen", "que"}},
		{"not by handle", &accountpb.UpdateProfileRequest{FoundByHandle: new(false)}, []string{"alice", "ali", "Queen", "que"}},
		{"not by nickname", &accountpb.UpdateProfileRequest{FoundByNickname: new(false)}, []string{"alice", "ali", "fox", "fo"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t)
			s := people(t, h, [3]string{"alice", "fox", "Queen"})
			if _, err := update(s, test.change); err != nil {
				t.Fatal(err)
			}
			for _, query := range []string{"alice", "ali", "fox", "fo", "Queen", "que"} {
				if got := len(pages(t, s, query, 5)) == 1; got != slices.Contains(test.found, query) {
					t.Errorf("by %q: got %v", query, got)
				}
			}
		})
	}
	h := start(t)
	s := people(t, h, [3]string{"alice", "fox", "Queen"})
	if _, err := h.DB().ExecContext(t.Context(), "UPDATE account_profiles SET hidden = 1"); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"alice", "fox", "Queen"} {
		if got := pages(t, s, query, 5); len(got) != 0 {
			t.Errorf("one who has left is found by %q", query)
		}
	}
}

// TestSearchIsBounded: of many who have one nickname and are not to be found by it, a page looks
// at some, and says that there may be more.
func TestSearchIsBounded(t *testing.T) {
	h := start(t, func(c *account.Config) { c.SearchesPerMinute = 0 })
	s := people(t, h, [3]string{"alice", "fox", "Queen"})
	tx, err := h.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for i := range 2500 {
		id, foundBy := 200_000+i, 0
		if i == 2499 {
			foundBy = 7
		}
		for _, query := range []string{
			fmt.Sprintf("INSERT INTO account_users (id, name, nickname, password, sign_ins, created_ms) VALUES (%d, 'n%04d', 'Anna', '!', 0, 0)", id, i),
			fmt.Sprintf("INSERT INTO account_profiles (user_id, handle, handle_changed_ms, nickname_key, avatar, gender, birthday, signature, city, language, found_by, hidden) "+
				"VALUES (%d, NULL, 0, 'anna', '', 0, '', '', '', '', %d, 0)", id, foundBy),
		} {
			if _, err := tx.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	var page accountpb.SearchReply
	if err := s.Call(idl.ActionSearchUsers, &accountpb.SearchRequest{Query: "ann"}, &page); err != nil {
		t.Fatal(err)
	}
	if len(page.People) != 0 || !page.HasMore {
		t.Errorf("the first page has %d people, more %v", len(page.People), page.HasMore)
	}
	if got := pages(t, s, "ann", 5); len(got) != 1 || got[0] != "n2499" {
		t.Errorf("got %q", got)
	}
}

func TestSearchRefusals(t *testing.T) {
	h := start(t, func(c *account.Config) { c.SearchesPerMinute = 30 })
	s := people(t, h, [3]string{"alice", "fox", "Queen"}, [3]string{"alicia", "foxy", "Queen"})
	var page accountpb.SearchReply
	if err := s.Call(idl.ActionSearchUsers, &accountpb.SearchRequest{Query: "fo", Limit: 1}, &page); err != nil || page.Cursor == "" {
		t.Fatal(&page, err)
	}
	for _, test := range []struct {
		name  string
		req   *accountpb.SearchRequest
		field string
	}{
		{"nothing", &accountpb.SearchRequest{}, "query"},
		{"blank", &accountpb.SearchRequest{Query: "  "}, "query"},
		{"65 characters", &accountpb.SearchRequest{Query: strings.Repeat("x", 65)}, "query"},
		{"control character", &accountpb.SearchRequest{Query: "a\x00"}, "query"},
		{"negative limit", &accountpb.SearchRequest{Query: "a", Limit: -1}, "limit"},
		{"large limit", &accountpb.SearchRequest{Query: "a", Limit: 51}, "limit"},
		{"no cursor", &accountpb.SearchRequest{Query: "fo", Cursor: "?"}, "cursor"},
		{"no place", &accountpb.SearchRequest{Query: "fo", Cursor: "e30"}, "cursor"},
		{"another search's", &accountpb.SearchRequest{Query: "al", Cursor: page.Cursor}, "cursor"},
		{"huge", &accountpb.SearchRequest{Query: "al", Cursor: strings.Repeat("A", 2000)}, "cursor"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantRefusal(t, s.Call(idl.ActionSearchUsers, test.req, nil), idl.CodeInvalidArgument, test.field)
		})
	}
	var err error
	for range 31 {
		err = s.Call(idl.ActionSearchUsers, &accountpb.SearchRequest{Query: "fo"}, nil)
	}
	wantRefusal(t, err, idl.CodeRateLimited, "")
}

func FuzzCursor(f *testing.F) {
	f.Add("eyJwIjoyLCJrIjoiZm94In0", "fo")
	f.Fuzz(func(t *testing.T, cursor, query string) { account.ReadCursor(t, cursor, query) })
}

// TestSearchUsesIndexes: no part of a search reads a whole table, or sorts.
func TestSearchUsesIndexes(t *testing.T) {
	h := start(t)
	for i := range 400 { // so that no engine takes a table for small
		id := 200_000 + i
		for _, query := range []string{
			fmt.Sprintf("INSERT INTO account_users (id, name, nickname, password, sign_ins, created_ms) VALUES (%d, 'n%04d', 'n%04d', '!', 0, 0)", id, i, i),
			fmt.Sprintf("INSERT INTO account_profiles (user_id, handle, handle_changed_ms, nickname_key, avatar, gender, birthday, signature, city, language, found_by, hidden) "+
				"VALUES (%d, 'h%04d', 0, 'n%04d', '', 0, '', '', '', '', 7, 0)", id, i, i),
		} {
			if _, err := h.DB().ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, q := range account.Listings() {
		t.Run(name, func(t *testing.T) { plugintest.WantOrdered(t, h, q.Text, q.Args...) })
	}
}

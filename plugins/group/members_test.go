package group_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/group"
)

// crowded has a group of alice's with more members, from user 1000 on.
func crowded(t *testing.T, w *world, n int) (id int64, all []im.UserID) {
	t.Helper()
	id = create(t, w)
	for first := 0; first < n; first += 100 {
		var some []im.UserID
		for i := first; i < min(n, first+100); i++ {
			u := im.UserID(1000 + i)
			w.people.Add(personOf(u))
			some = append(some, u)
		}
		ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(id, some...))
		all = append(all, some...)
	}
	return id, all
}

func never(c *group.Config) { c.Confirm = "never" }

func TestMembersInPages(t *testing.T) {
	w := start(t, never)
	id, all := crowded(t, w, 250)
	setRole(t, w, id, 1100, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	setRole(t, w, id, 1050, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	want := append([]im.UserID{alice, 1050, 1100}, slices.DeleteFunc(all, func(u im.UserID) bool { return u == 1050 || u == 1100 })...)
	for _, limit := range []int32{1, 3, 100, 200} {
		var got []im.UserID
		req := &grouppb.GroupMembersRequest{GroupId: id, Limit: limit}
		for more := true; more; {
			rep := ask[grouppb.GroupMembersReply](t, w, alice, idl.ActionGroupMembers, req)
			for _, m := range rep.Members {
				got = append(got, im.UserID(m.UserId))
				if m.Nickname == "" && m.UserId != int64(alice) {
					t.Fatalf("%v has no name", m)
				}
			}
			more, req.Cursor = rep.HasMore, rep.Cursor
		}
		wantEqual(t, "members", got, want)
	}
}

func TestSearchInMembers(t *testing.T) {
	w := start(t, never)
	id, _ := crowded(t, w, 120)
	ask[grouppb.SetGroupSelfReply](t, w, 1007, idl.ActionSetGroupSelf, &grouppb.SetGroupSelfRequest{GroupId: id, Fields: []string{"alias"}, Alias: "Édith"})
	for _, test := range []struct {
		query string
		want  []im.UserID
	}{
		{"éDI", []im.UserID{1007}},
		{"user 1050", []im.UserID{1050}},
		{"USER105", []im.UserID{1050, 1051, 1052, 1053, 1054, 1055, 1056, 1057, 1058, 1059}},
		{"%", nil},
		{"_", nil},
		{"\\", nil},
		{"user_1050", nil},
		{"É", []im.UserID{1007}},
		{"e\u0301dith", []im.UserID{1007}},
		{"nobody", nil},
	} {
		var got []im.UserID
		req := &grouppb.GroupMembersRequest{GroupId: id, Query: test.query, Limit: 4}
		for more := true; more; {
			rep := ask[grouppb.GroupMembersReply](t, w, alice, idl.ActionGroupMembers, req)
			for _, m := range rep.Members {
				got = append(got, im.UserID(m.UserId))
			}
			more, req.Cursor = rep.HasMore, rep.Cursor
		}
		wantEqual(t, test.query, got, test.want)
	}
}

// TestMembersAtTheEndOfAPage has no page that is empty, nor one announced behind as many as there are.
func TestMembersAtTheEndOfAPage(t *testing.T) {
	w := start(t, never)
	id, _ := crowded(t, w, 15)
	for _, query := range []string{"", "user101"} {
		n := map[string]int{"": 16, "user101": 5}[query]
		for limit := 1; limit <= n+1; limit++ {
			req, pages, seen := &grouppb.GroupMembersRequest{GroupId: id, Limit: int32(limit), Query: query}, 0, 0
			for more := true; more; pages++ {
				rep := ask[grouppb.GroupMembersReply](t, w, alice, idl.ActionGroupMembers, req)
				if len(rep.Members) == 0 {
					t.Fatalf("%q by %d: page %d is empty", query, limit, pages)
				}
				seen, more, req.Cursor = seen+len(rep.Members), rep.HasMore, rep.Cursor
			}
			if want := (n + limit - 1) / limit; pages != want || seen != n {
				t.Errorf("%q by %d: %d members in %d pages, want %d in %d", query, limit, seen, pages, n, want)
			}
		}
	}
}

// TestMembersLeaveBetweenPages: who stays is on one page, also when the one leaves behind whom the next page begins.
func TestMembersLeaveBetweenPages(t *testing.T) {
	for _, query := range []string{"", "USER"} {
		w := start(t, never)
		id, all := crowded(t, w, 12)
		var got []im.UserID
		gone := map[im.UserID]bool{}
		req := &grouppb.GroupMembersRequest{GroupId: id, Limit: 3, Query: query}
		for more := true; more; {
			rep := ask[grouppb.GroupMembersReply](t, w, alice, idl.ActionGroupMembers, req)
			for _, m := range rep.Members {
				if gone[im.UserID(m.UserId)] {
					t.Errorf("%d is gone", m.UserId)
				}
				if m.UserId != int64(alice) {
					got = append(got, im.UserID(m.UserId))
				}
			}
			more, req.Cursor = rep.HasMore, rep.Cursor
			if !more {
				break
			}
			last := got[len(got)-1]
			leave := []im.UserID{last} // the last of this page, and the first of the next
			if i := slices.Index(all, last); i+2 < len(all) {
				leave = append(leave, all[i+1])
			}
			for _, u := range leave {
				gone[u] = true
				ask[grouppb.LeaveGroupReply](t, w, u, idl.ActionLeaveGroup, leaving(id))
			}
		}
		for _, u := range all {
			n := len(slices.DeleteFunc(slices.Clone(got), func(one im.UserID) bool { return one != u }))
			if !gone[u] && n != 1 || n > 1 {
				t.Errorf("%q: %d is on %d pages", query, u, n)
			}
		}
	}
}

func TestMembersRefuses(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	for _, test := range []struct {
		name  string
		by    im.UserID
		req   *grouppb.GroupMembersRequest
		code  idl.Code
		field string
	}{
		{"a stranger", dave, &grouppb.GroupMembersRequest{GroupId: id}, idl.CodePermissionDenied, "group_id"},
		{"no such group", alice, &grouppb.GroupMembersRequest{}, idl.CodeNotFound, "group_id"},
		{"too many", alice, &grouppb.GroupMembersRequest{GroupId: id, Limit: 201}, idl.CodeInvalidArgument, "limit"},
		{"a cursor of words", alice, &grouppb.GroupMembersRequest{GroupId: id, Cursor: "next"}, idl.CodeInvalidArgument, "cursor"},
		{"a cursor with more", alice, &grouppb.GroupMembersRequest{GroupId: id, Cursor: "3.5 OR 1=1"}, idl.CodeInvalidArgument, "cursor"},
		{"a cursor of no role", alice, &grouppb.GroupMembersRequest{GroupId: id, Cursor: "9.5"}, idl.CodeInvalidArgument, "cursor"},
		{"a long query", alice, &grouppb.GroupMembersRequest{GroupId: id, Query: strings.Repeat("q", 65)}, idl.CodeInvalidArgument, "query"},
	} {
		t.Run(test.name, func(t *testing.T) { refuse(t, w, test.by, idl.ActionGroupMembers, test.req, test.code, test.field) })
	}
}

func TestListAndInfo(t *testing.T) {
	w := start(t, func(c *group.Config) { c.LooksPerMinute = 2 })
	var made []int64
	for _, name := range []string{"a", "b", "c"} {
		made = append(made, createBy(t, w, &grouppb.CreateGroupRequest{ClientId: name, Name: name, UserIds: ids(bob)}))
	}
	var got []int64
	req := &grouppb.ListGroupsRequest{Limit: 2}
	for more := true; more; {
		rep := ask[grouppb.ListGroupsReply](t, w, bob, idl.ActionListGroups, req)
		for _, g := range rep.Groups {
			got = append(got, g.GroupId)
			if g.Me.GetRole() != grouppb.GroupRole_GROUP_ROLE_MEMBER {
				t.Errorf("got %v", g)
			}
		}
		more, req.AfterGroupId = rep.HasMore, got[len(got)-1]
	}
	wantEqual(t, "bob's groups", got, made)
	refuse(t, w, bob, idl.ActionListGroups, &grouppb.ListGroupsRequest{AfterGroupId: -1}, idl.CodeInvalidArgument, "after_group_id")
	refuse(t, w, bob, idl.ActionListGroups, &grouppb.ListGroupsRequest{Limit: 201}, idl.CodeInvalidArgument, "limit")

	look := &grouppb.GroupInfoRequest{GroupId: made[0]}
	g := ask[grouppb.GroupInfoReply](t, w, dave, idl.ActionGroupInfo, look).Group
	if g.Name != "a" || g.Members != 2 || g.Me != nil || g.Version != 0 {
		t.Errorf("a stranger sees %v", g)
	}
	ask[grouppb.GroupInfoReply](t, w, dave, idl.ActionGroupInfo, look)
	refuse(t, w, dave, idl.ActionGroupInfo, look, idl.CodeRateLimited, "")
	for range 3 {
		ask[grouppb.GroupInfoReply](t, w, bob, idl.ActionGroupInfo, look)
	}
	refuse(t, w, bob, idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: 7}, idl.CodeNotFound, "group_id")
}

func TestSetSelf(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	w.filed(t)
	n := len(w.messages.Posts())
	req := &grouppb.SetGroupSelfRequest{GroupId: id, Fields: []string{"alias", "notify"}, Alias: " Bobby ", Notify: grouppb.NotifyLevel_NOTIFY_LEVEL_SILENT}
	rep := ask[grouppb.SetGroupSelfReply](t, w, bob, idl.ActionSetGroupSelf, req)
	if rep.Me.Alias != "Bobby" || rep.Me.Notify != req.Notify {
		t.Errorf("got %v", rep.Me)
	}
	wantEqual(t, "events", w.told(n), []string{"group.alias"})
	wantEqual(t, "his other devices", w.filed(t)["group.notify"], []im.UserID{bob})
	all := ask[grouppb.GroupMembersReply](t, w, alice, idl.ActionGroupMembers, &grouppb.GroupMembersRequest{GroupId: id}).Members
	if all[1].Alias != "Bobby" || all[1].Notify != 0 {
		t.Errorf("others see %v", all[1])
	}
	for _, test := range []struct {
		name  string
		by    im.UserID
		req   *grouppb.SetGroupSelfRequest
		code  idl.Code
		field string
	}{
		{"nothing", bob, &grouppb.SetGroupSelfRequest{GroupId: id}, idl.CodeInvalidArgument, "fields"},
		{"a role", bob, &grouppb.SetGroupSelfRequest{GroupId: id, Fields: []string{"role"}}, idl.CodeInvalidArgument, "fields"},
		{"an alias of control characters", bob, &grouppb.SetGroupSelfRequest{GroupId: id, Fields: []string{"alias"}, Alias: "a\x1b[2J"}, idl.CodeInvalidArgument, "alias"},
		{"an unknown level", bob, &grouppb.SetGroupSelfRequest{GroupId: id, Fields: []string{"notify"}, Notify: 3}, idl.CodeInvalidArgument, "notify"},
		{"a stranger", dave, req, idl.CodePermissionDenied, "group_id"},
	} {
		t.Run(test.name, func(t *testing.T) { refuse(t, w, test.by, idl.ActionSetGroupSelf, test.req, test.code, test.field) })
	}
}

func TestChangesAreLimited(t *testing.T) {
	w := start(t, func(c *group.Config) { c.ChangesPerMinute = 2 })
	id := create(t, w)
	ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(id, bob))
	refuse(t, w, alice, idl.ActionInviteToGroup, inviting(id, bob), idl.CodeRateLimited, "")
}

// counting counts the people whose names are asked for.
type counting struct {
	known *plugintest.People
	asked int
}

func (c *counting) People(ctx context.Context, users []im.UserID) (map[im.UserID]plugin.Person, error) {
	c.asked += len(users)
	return c.known.People(ctx, users)
}

// TestSearchInManyMembers has a search look at so many names in one call, and go on with its cursor: to those whom it looks for
// at either side of where a call ends, to nobody twice, and to an end.
func TestSearchInManyMembers(t *testing.T) {
	const most = 2000
	for _, n := range []int{most - 1, most, 2*most + 500} { // beside the owner
		people := &counting{known: plugintest.NewPeople(alice)}
		w := &world{messages: &plugintest.Messages{}, people: people.known}
		p := group.New()
		w.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: append([]plugintest.Stub{
			{Name: plugin.ServicePeople, Service: people}, {Name: plugin.ServiceHoldings, Service: people.known}}, w.messages.Stub())})
		id := create(t, w)
		var want []im.UserID
		for first := 0; first < n; first += 500 {
			var rows []string
			for i := first; i < min(n, first+500); i++ {
				u, name := im.UserID(200000+i), "Mallory"
				if i%most < 3 || i%most > most-3 {
					name, want = "Trudy", append(want, u)
				}
				people.known.Add(plugin.Person{User: u, Nickname: name})
				rows = append(rows, fmt.Sprintf("(%d, %d, 3, 0, '', 0, 0, 1, 0, 0)", id, u))
			}
			_, err := w.DB().ExecContext(t.Context(), "INSERT INTO group_members (group_id, user_id, role, permissions, alias, notify, muted_until_ms, joined_ms, after_seq, invited_by) VALUES "+
				strings.Join(rows, ", "))
			if err != nil {
				t.Fatal(err)
			}
		}
		for query, want := range map[string][]im.UserID{"trudy": want, "nobody": nil} {
			for _, limit := range []int32{1, 3, 200} {
				var got []im.UserID
				req := &grouppb.GroupMembersRequest{GroupId: id, Query: query, Limit: limit}
				for more, calls := true, 0; more; calls++ {
					people.asked = 0
					rep := ask[grouppb.GroupMembersReply](t, w, alice, idl.ActionGroupMembers, req)
					if people.asked > most {
						t.Fatalf("%d members: a call for %q asked for %d names, want at most %d", n+1, query, people.asked, most)
					}
					if calls > len(want)+n/most+1 || rep.HasMore && rep.Cursor == req.Cursor {
						t.Fatalf("%d members: the search for %q does not end: call %d, cursor %q", n+1, query, calls, rep.Cursor)
					}
					for _, m := range rep.Members {
						got = append(got, im.UserID(m.UserId))
					}
					more, req.Cursor = rep.HasMore, rep.Cursor
				}
				wantEqual(t, fmt.Sprintf("%q among %d by %d", query, n+1, limit), got, want)
			}
		}
	}
}

package e2e_test

import (
	"bytes"
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/core/sql"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/idl/kitex_gen/momentpb"
	"freeim/idl/kitex_gen/roompb"
	"freeim/idl/kitex_gen/socialpb"
)

// Somebody leaves something with every plugin: all of it is in the copy that she gets; when her account is
// erased, nothing that she wrote about herself is left in the directory, no file on the disk, and her
// ID only where it says what others have.
func TestEverythingIsExportedAndErased(t *testing.T) {
	dir := t.TempDir()
	c := startClusterWith(t, cluster.Options{Dir: dir})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	bob, bobID, err := newCaller(t, c.Edges[0].API()).join(ctx, "bob", "script")
	if err != nil {
		t.Fatal(err)
	}
	carol, carolID, err := newCaller(t, c.Edges[0].API()).join(ctx, "carol", "script")
	if err != nil {
		t.Fatal(err)
	}
	o := client.Options{Address: c.Edges[0].TCP()}
	who, err := signUp(ctx, o, "alice")
	if err != nil {
		t.Fatal(err)
	}
	phone, err := newDevice(ctx, o, who, "phone", idl.DeviceMobile)
	if err != nil {
		t.Fatal(err)
	}
	defer phone.disconnect()
	alice := phone.session.Actions
	do := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	as := func(who caller, name string, req, rep idl.Message) {
		t.Helper()
		_, err := who.call(ctx, name, req, rep)
		do(name, err)
	}
	upload := func(name string) string {
		t.Helper()
		picture := bytes.Repeat([]byte(name), 1000)
		file, err := alice.UploadFile(ctx, client.Upload{Name: name + ".png", Type: "image/png", Content: bytes.NewReader(picture), Server: strings.TrimSuffix(c.Edges[0].Page(), "/"), HTTP: bob.http})
		do("upload", err)
		return "file:" + file.Id
	}

	// account, file
	_, err = alice.UpdateProfile(ctx, &accountpb.UpdateProfileRequest{Nickname: new("mark-nickname"), Signature: new("mark-signature"), City: new("mark-city"),
		Handle: new("mark.handle"), Birthday: new("1990-01-02"), Language: new("de"), Avatar: new(upload("mark-avatar"))})
	do("profile", err)
	do("push token", alice.SetPushToken(ctx, "apns", "mark-push"))
	upload("mark-unused")
	// social
	as(bob, "social.apply", &socialpb.ApplyRequest{UserId: who.id}, &socialpb.ApplyReply{})
	_, err = alice.Accept(ctx, bobID)
	do("accept", err)
	_, err = alice.SetAlias(ctx, bobID, "mark-alias")
	do("alias", err)
	circle, err := alice.CreateFriendGroup(ctx, "mark-circle")
	do("friend group", err)
	do("move", alice.MoveFriends(ctx, circle.GroupId, bobID))
	_, err = alice.Apply(ctx, &socialpb.ApplyRequest{UserId: carolID, Remark: "mark-remark"})
	do("apply", err)
	_, err = alice.UpdateSocialSettings(ctx, &socialpb.UpdateSettingsRequest{Fields: []string{"apply", "question"}, Apply: socialpb.WhoMayApply_WHO_MAY_APPLY_WITH_ANSWER, Question: "mark-question"})
	do("settings", err)
	do("block", alice.Block(ctx, carolID))
	// chat
	sent, err := phone.session.Send(ctx, client.Outgoing{To: bobID, Kind: chatpb.MessageKind_MESSAGE_KIND_IMAGE, Text: "mark-caption", Media: &chatpb.Media{File: upload("mark-photo")}})
	do("send", err)
	message, err := sent.Wait(ctx)
	do("committed", err)
	var reply chatpb.SendReply
	as(bob, "chat.send", &chatpb.SendRequest{ClientId: "b1", ToUserId: who.id, Text: "hello"}, &reply)
	_, err = alice.React(ctx, &chatpb.Message{ConversationId: reply.ConversationId, Seq: reply.Seq, Id: reply.MessageId}, "👍", false)
	do("react", err)
	_, err = alice.UpdateConversation(ctx, &chatpb.UpdateConversationRequest{ConversationId: message.ConversationId, Draft: new("mark-draft")})
	do("draft", err)
	// group
	group, err := alice.CreateGroup(ctx, &grouppb.CreateGroupRequest{ClientId: "g1", Name: "Climbing", UserIds: []int64{bobID}})
	do("group", err)
	_, err = alice.SetGroupSelf(ctx, &grouppb.SetGroupSelfRequest{GroupId: group.Group.GroupId, Fields: []string{"alias"}, Alias: "mark-member"})
	do("group alias", err)
	// moment
	_, err = alice.PublishMoment(ctx, &momentpb.PublishMomentRequest{ClientId: "m1", Text: "mark-moment", Images: []string{upload("mark-image")}, Visibility: momentpb.MomentVisibility_MOMENT_VISIBILITY_PUBLIC})
	do("publish", err)
	var bobs momentpb.PublishMomentReply
	as(bob, "moment.publish", &momentpb.PublishMomentRequest{ClientId: "m2", Text: "bob's", Visibility: momentpb.MomentVisibility_MOMENT_VISIBILITY_PUBLIC}, &bobs)
	_, err = alice.LikeMoment(ctx, bobs.MomentId)
	do("like", err)
	_, err = alice.CommentMoment(ctx, &momentpb.CommentRequest{ClientId: "k1", MomentId: bobs.MomentId, Text: "mark-comment"})
	do("comment", err)
	// room
	_, err = alice.CreateRoom(ctx, &roompb.CreateRoomRequest{Room: "lobby"})
	do("room", err)

	copied, err := alice.Export(ctx)
	do("export", err)
	for plugin, marks := range map[string][]string{
		"account": {"alice", "mark-nickname", "mark-signature", "mark-city", "mark.handle", "1990-01-02", `"de"`, "phone"},
		"file":    {"mark-avatar", "mark-unused", "mark-photo", "mark-image"},
		"social":  {"mark-alias", "mark-circle", "mark-remark", "mark-question", fmt.Sprint(carolID)},
		"chat":    {"mark-caption", "👍", "mark-draft"},
		"group":   {"Climbing", "mark-member", "owner"},
		"moment":  {"mark-moment", bobs.MomentId, "mark-comment"},
		"room":    {"lobby", "owner"},
	} {
		for _, mark := range marks {
			if !bytes.Contains(copied[plugin], []byte(mark)) {
				t.Errorf("the copy of what %s keeps lacks %s: %s", plugin, mark, copied[plugin])
			}
		}
	}
	if files := filesIn(t, filepath.Join(dir, "files")); len(files) != 4 {
		t.Errorf("there are the files %v", files)
	}

	// An operator deletes the account without grace; the eraser looks at its start.
	operate := func(method, page string, form url.Values) string {
		mux, w := http.NewServeMux(), httptest.NewRecorder()
		for _, p := range c.Cores[0].Server().Pages() {
			mux.Handle(p.Pattern, p.Handler)
		}
		in := httptest.NewRequestWithContext(ctx, method, page, strings.NewReader(form.Encode()))
		in.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if mux.ServeHTTP(w, in); w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", page, w.Code, w.Body)
		}
		return w.Body.String()
	}
	operate(http.MethodPost, "/accounts/delete", url.Values{"user": {fmt.Sprint(who.id)}, "now": {"1"}})
	do("stop", c.Cores[0].Stop(ctx))
	do("start", c.Cores[0].Start(ctx))
	var friends socialpb.FriendsReply
	var kept grouppb.GroupInfoReply
	var applied socialpb.ApplicationsReply
	var files []string
	gone := false
	err = until(ctx, func() (bool, error) {
		_, err := bob.call(ctx, "account.find_user", &accountpb.FindUserRequest{UserId: who.id}, &accountpb.FindUserReply{})
		gone = client.CodeOf(err) == idl.CodeNotFound && strings.Contains(operate(http.MethodGet, "/accounts?user="+fmt.Sprint(who.id), nil), fmt.Sprint("~", who.id)) // the last step
		friends, kept, applied, files = socialpb.FriendsReply{}, grouppb.GroupInfoReply{}, socialpb.ApplicationsReply{}, filesIn(t, filepath.Join(dir, "files"))
		_, one := bob.call(ctx, "social.friends", &socialpb.FriendsRequest{}, &friends)
		_, two := bob.call(ctx, "group.info", &grouppb.GroupInfoRequest{GroupId: group.Group.GroupId}, &kept)
		_, three := carol.call(ctx, "social.applications", &socialpb.ApplicationsRequest{}, &applied)
		return gone && errors.Join(one, two, three) == nil && len(files) == 0 && len(friends.Friends) == 0 && kept.Group.OwnerId == bobID && len(applied.Applications) == 0, nil
	})
	if err != nil {
		t.Errorf("gone: %v; the files %v, bob's friends %v, the group %v, carol's applications %v: %v", gone, files, &friends, &kept, &applied, err)
	}
	do("stop", c.Cores[0].Stop(ctx))

	directory, err := sql.Open(sql.Options{Path: filepath.Join(dir, "data", "directory.db")})
	do("open the directory", err)
	defer directory.Close()
	// Where her ID may be: in the rows that keep it from others, beside the names that are kept from others for a while;
	// with who had her in a list; as who founded a group and invited others; in the ID of the chat that the other has, also as the
	// place up to which messages were looked at, until that is through.
	known := map[string]bool{"account_users": true, "account_states": true, "account_counters": true, "account_reserved": true,
		"social_friends": true, "group_groups": true, "group_members": true, "chat_conversations": true, "chat_changes": true, "chat_restores": true}
	for table, rows := range rowsOf(t, ctx, directory.DB()) {
		for _, row := range rows {
			if strings.Contains(row, "mark-") || strings.Contains(row, "mark.") && table != "account_reserved" {
				t.Errorf("%s holds %s", table, row)
			}
			if strings.Contains(row, fmt.Sprint(who.id)) && !known[table] {
				t.Errorf("%s names her: %s", table, row)
			}
		}
	}
}

// filesIn are the uploaded files in a directory, finished or not.
func filesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "key" {
			names = append(names, d.Name())
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) && !strings.Contains(err.Error(), fs.ErrNotExist.Error()) {
		t.Fatal(err)
	}
	return names
}

// rowsOf is all that a database on SQLite holds, a row a text.
func rowsOf(t *testing.T, ctx context.Context, db *stdsql.DB) map[string][]string {
	t.Helper()
	read := func(query string) (all []string) {
		rows, err := db.QueryContext(ctx, query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			row, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range row {
				into[i] = &row[i]
			}
			if err := rows.Scan(into...); err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			for i := range row {
				if octets, is := row[i].([]byte); is {
					row[i] = string(octets)
				}
				if at, is := row[i].(time.Time); is {
					row[i] = at.UnixMilli()
				}
				fmt.Fprintf(&text, "%s=%v ", columns[i], row[i])
			}
			all = append(all, strings.TrimSpace(text.String()))
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return all
	}
	all := map[string][]string{}
	for _, named := range read("SELECT name FROM sqlite_master WHERE type = 'table'") {
		name := strings.TrimPrefix(named, "name=")
		if all[name] = read("SELECT * FROM " + name); len(all[name]) == 0 {
			delete(all, name)
		}
	}
	if !slices.ContainsFunc(all["account_users"], func(row string) bool { return strings.Contains(row, "bob") }) {
		t.Fatalf("nothing was read: %v", all)
	}
	return all
}

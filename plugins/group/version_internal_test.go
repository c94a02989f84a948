package group

import (
	"database/sql"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// TestVersionHolds: while a transaction looks at a group's version, nobody changes the group; what it saw counts.
func TestVersionHolds(t *testing.T) {
	const alice, bob = 1, 2
	p := New()
	stubs := append(plugintest.NewPeople(alice, bob).Stubs(), (&plugintest.Messages{}).Stub())
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: stubs})
	phone := h.As(alice, "phone", idl.CodecJSON)
	var created grouppb.CreateGroupReply
	if err := phone.Call(idl.ActionCreateGroup, &grouppb.CreateGroupRequest{ClientId: "one", Name: "Town"}, &created); err != nil {
		t.Fatal(err)
	}
	c, o := conversation(created.Group.GroupId), owner{p}
	version := func(of im.ConversationID, tx *sql.Tx) int64 {
		t.Helper()
		v, err := o.Version(t.Context(), tx, of)
		if err != nil {
			t.Error(err)
		}
		return v
	}
	changed := make(chan error, 1)
	var held int64
	err := p.host.Tx(t.Context(), func(tx *sql.Tx) error {
		if held = version(c, tx); version(conversation(created.Group.GroupId+1), tx) != 0 {
			t.Error("a group that is not there has a version")
		}
		go func() {
			changed <- phone.Call(idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: created.Group.GroupId, Fields: []string{"name"}, Name: "City"}, nil)
		}()
		if plugintest.Production() { // SQLite has one connection that writes: who wants it waits, where nobody sees it
			waits(t, h.DB(), changed)
		}
		if now := version(c, tx); now != held {
			t.Errorf("version %d was held, and is %d", held, now)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	err = p.host.Tx(t.Context(), func(tx *sql.Tx) error {
		if now := version(c, tx); now <= held {
			t.Errorf("after the change it is %d, and was %d", now, held)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// waits waits until a transaction waits for a lock, which the change is not to come before. It looks seldom: what
// innodb_trx says is kept for as long as somebody has read it within the last 100 ms.
func waits(t *testing.T, db *sql.DB, changed <-chan error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		select {
		case err := <-changed:
			t.Fatalf("it was changed: %v", err)
		case <-time.After(200 * time.Millisecond):
		}
		var n int
		err := db.QueryRow("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE '%group_groups%'").Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
	}
	t.Fatal("nobody waits")
}

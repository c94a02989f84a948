package group

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// apart is a limiter that finds whether somebody holds the group while it is asked.
type apart struct {
	plugin.Limiter
	host        plugin.Host
	taken, held int
}

func (a *apart) Take(ctx context.Context, keys ...string) time.Duration {
	a.taken++
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	err := a.host.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE group_groups SET version = version + 1")
		return err
	})
	if err != nil {
		a.held++
	}
	return a.Limiter.Take(ctx, keys...)
}

// TestApplicationsAreCountedApart: not in the transaction that files them, which holds the group meanwhile, and may be run again.
func TestApplicationsAreCountedApart(t *testing.T) {
	const alice, bob = 1, 2
	p := New()
	stubs := append(plugintest.NewPeople(alice, bob).Stubs(), (&plugintest.Messages{}).Stub())
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: stubs})
	counts := &apart{Limiter: p.applied, host: p.host}
	p.applied = counts
	var created grouppb.CreateGroupReply
	if err := h.As(alice, "phone", idl.CodecJSON).Call(idl.ActionCreateGroup, &grouppb.CreateGroupRequest{ClientId: "one", Name: "Town"}, &created); err != nil {
		t.Fatal(err)
	}
	join := &grouppb.JoinGroupRequest{GroupId: created.Group.GroupId, Remark: "hello"}
	for range 2 { // the same again is not counted
		var rep grouppb.JoinGroupReply
		if err := h.As(bob, "phone", idl.CodecJSON).Call(idl.ActionJoinGroup, join, &rep); err != nil || rep.Joined || rep.ExpiresMs == 0 {
			t.Fatalf("got %v, %v", &rep, err)
		}
	}
	if counts.taken != 1 || counts.held != 0 {
		t.Errorf("%d applications were counted, %d of them while the group was held; want 1 and none", counts.taken, counts.held)
	}
}

package client_test

import (
	"context"
	"testing"
	"testing/synctest"

	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

func TestNoticesAreTold(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		_, _, peer, d := joined(t, f, nil)
		peer.Push(idl.ActionNotice, &wirepb.Notice{Event: "a", Text: "hello", TimeMs: 5})
		peer.Push(idl.ActionNotice, &wirepb.Notice{Event: "b", Data: `{"n":1}`})
		d.expect(t, "notice a hello", `notice b {"n":1}`)
	})
}

// A slow application loses the newest notices, and nothing else.
func TestNoticesBeyondTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan struct{})
		_, _, peer, d := joined(t, forms()[0], func(o *client.Options) {
			told := o.Handler.Notice
			o.Queue = 2
			o.Handler.Notice = func(ctx context.Context, n *wirepb.Notice) { <-slow; told(ctx, n) }
		})
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			peer.Push(idl.ActionNotice, &wirepb.Notice{Event: name})
			synctest.Wait()
		}
		peer.Push(idl.ActionMessage, entry(1))
		synctest.Wait()
		close(slow)
		expectAck(t, peer, 1)
		d.expect(t, "notice a ", "notice b ", "notice c ", "message 1 text 1")
	})
}

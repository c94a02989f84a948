package chat_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// What is shadowed waits behind what is held, as its sender would see any other do, and
// nobody else ever gets it.
func TestHoldShadowed(t *testing.T) {
	r := reviewed(t, "")
	phone, bobs := r.As(alice, "phone", idl.CodecProtobuf), r.As(bob, "tab", idl.CodecJSON)
	first := send(t, phone, bob, "m1", "wait one")
	if rep := send(t, phone, bob, "m2", "spam"); rep.HeldId == "" {
		t.Errorf("got %+v", rep)
	}
	send(t, phone, bob, "m3", "three")
	r.decide(t, first.HeldId, "approve", "")
	eventually(t, "all is committed", nothingHeld(t, phone))
	if got := inbox(t, phone); got != "1 wait one, 2 spam, 2 three" {
		t.Errorf("the sender has %q", got)
	}
	if got := inbox(t, bobs); got != "1 wait one, 2 three" {
		t.Errorf("the peer has %q", got)
	}
	if again := send(t, phone, bob, "m2", "spam"); again.Seq != 2 || !again.Duplicate {
		t.Errorf("a resend got %+v", again)
	}
}

// What a rule sends from an account stands in its line too.
func TestHoldSendFor(t *testing.T) {
	r := reviewed(t, "")
	phone, bobs := r.As(alice, "phone", idl.CodecProtobuf), r.As(bob, "tab", idl.CodecJSON)
	first := send(t, phone, bob, "m1", "wait one")
	service, _ := r.Service("chat.sender")
	for range 2 {
		if err := service.(*chat.Chat).SendFor(t.Context(), alice, bob, "rule-1", "from a rule"); err != nil {
			t.Fatal(err)
		}
	}
	if got := inbox(t, bobs); got != "" {
		t.Errorf("the peer has %q", got)
	}
	r.decide(t, first.HeldId, "approve", "")
	eventually(t, "both are committed", func() bool { return inbox(t, bobs) == "1 wait one, 2 from a rule" })
}

// A client ID that its sender used for another message meanwhile, by a core that did not
// know: the held one is denied, and what is behind it goes on.
func TestHoldDisplaced(t *testing.T) {
	r := reviewed(t, "")
	phone, bobs := r.As(alice, "phone", idl.CodecProtobuf), r.As(bob, "tab", idl.CodecJSON)
	send(t, phone, carol, "m2", "another message")
	first := send(t, phone, bob, "m1", "wait one")
	send(t, phone, bob, "m3", "three")
	if _, err := r.DB().ExecContext(t.Context(), "UPDATE chat_held SET client_id = 'm2' WHERE client_id = 'm1'"); err != nil {
		t.Fatal(err)
	}
	phone.Pushes()
	r.decide(t, first.HeldId, "approve", "")
	eventually(t, "what is behind is committed", func() bool { return inbox(t, bobs) == "1 three" })
	var list *chatpb.HeldReply
	eventually(t, "it is out of its line", func() bool {
		list = listed(t, phone, &chatpb.HeldRequest{})
		return len(list.Held) == 1
	})
	if list.Held[0].State != chatpb.HeldState_HELD_STATE_DENIED || !strings.Contains(list.Held[0].Reason, "client_id") {
		t.Errorf("the list is %+v", list)
	}
	if got := told(t, phone.Pushes()); len(got) == 0 || !strings.HasPrefix(got[0], "m2 denied") {
		t.Errorf("the sender was told %q", got)
	}
}

// More denied ones than may wait are not remembered: the oldest are forgotten.
func TestHoldForgets(t *testing.T) {
	r := reviewed(t, "", func(c *chat.Config) { c.HeldOfOne, c.HeldOfAll = 2, 2 })
	phone := r.As(alice, "phone", idl.CodecProtobuf)
	for i := range 4 {
		rep := send(t, phone, bob, fmt.Sprint("m", i), "wait")
		if _, code := r.decide(t, rep.HeldId, "deny", ""); code != http.StatusOK {
			t.Fatalf("got %d", code)
		}
		r.Advance(time.Second)
	}
	eventually(t, "the oldest are forgotten", func() bool {
		list := listed(t, phone, &chatpb.HeldRequest{})
		return len(list.Held) == 2 && list.Held[0].ClientId == "m2" && list.Held[1].ClientId == "m3"
	})
}

// A page has no more octets than a session can take, and at least one message.
func TestHeldPages(t *testing.T) {
	r := reviewed(t, "", func(c *chat.Config) { c.PageBytes = 1024 })
	phone := r.As(alice, "phone", idl.CodecJSON)
	for i := range 5 {
		send(t, phone, bob, fmt.Sprint("m", i), "wait "+strings.Repeat("x", 2000*(i%2)))
	}
	var got []string
	for req := (&chatpb.HeldRequest{Limit: 2}); ; {
		list := listed(t, phone, req)
		for _, h := range list.Held {
			got = append(got, h.ClientId)
			req.AfterHeldId = h.HeldId
		}
		if len(list.Held) == 0 || len(list.Held) > 2 {
			t.Fatalf("a page of %d", len(list.Held))
		}
		if !list.HasMore {
			break
		}
	}
	if all := strings.Join(got, " "); all != "m0 m1 m2 m3 m4" {
		t.Errorf("got %s", all)
	}
}

// Many devices send at once, held and not, while reviewers decide: each message is
// committed once, and those of a device in its order.
func TestHoldAtOnce(t *testing.T) {
	const devices, each = 4, 10
	r := reviewed(t, "")
	bobs, phone := r.As(bob, "tab", idl.CodecJSON), r.As(alice, "phone", idl.CodecProtobuf)
	send(t, phone, bob, "first", "wait for all")
	var senders, reviewers sync.WaitGroup
	for d := range devices {
		s := r.As(alice, im.DeviceID(fmt.Sprint("device", d)), idl.CodecProtobuf)
		senders.Go(func() {
			for i := range each {
				text := fmt.Sprintf("%d %d", d, i)
				if i%3 == 0 {
					text = "wait " + text
				}
				req := &chatpb.SendRequest{ClientId: fmt.Sprintf("d%d-%d", d, i), ToUserId: int64(bob), Text: text}
				for range 2 { // the second is a resend
					if err := s.Call(idl.ActionMessage, req, nil); err != nil {
						t.Errorf("%s: %v", text, err)
					}
				}
			}
		})
	}
	done := make(chan bool)
	for range 2 {
		reviewers.Go(func() {
			for last := false; !last; {
				select {
				case <-done:
					last = true // once more
				default:
				}
				var page struct{ Held []shownMessage }
				r.ask(t, 0, url.Values{"limit": {"500"}}, &page)
				for _, m := range page.Held {
					r.ask(t, 1, url.Values{"id": {m.ID}, "verdict": {"approve"}}, nil)
				}
			}
		})
	}
	senders.Wait()
	close(done)
	reviewers.Wait()
	eventually(t, "nothing is held", nothingHeld(t, phone))
	all := strings.Split(inbox(t, bobs), ", ")
	if len(all) != 1+devices*each {
		t.Errorf("the peer has %d messages", len(all))
	}
	next := make([]int, devices)
	for _, one := range all {
		var seq, d, i int
		if _, err := fmt.Sscanf(strings.Replace(one, "wait ", "", 1), "%d %d %d", &seq, &d, &i); err != nil {
			if one != "1 wait for all" {
				t.Errorf("got %q", one)
			}
			continue
		}
		if i != next[d] {
			t.Errorf("device %d: message %d came for %d", d, i, next[d])
		}
		next[d] = i + 1
	}
}

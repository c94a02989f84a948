package rpc

import (
	"fmt"
	"strings"
	"testing"

	"freeim/idl/kitex_gen/corepb"
)

func replyOf(size int) item { return item{reply: &corepb.Reply{Body: make([]byte, size)}} }
func pushOf(size int) item  { return item{push: &corepb.Push{Protobuf: make([]byte, size)}} }

var (
	kickItem  = item{kick: &corepb.Kick{}}
	bcastItem = item{broadcast: &corepb.Broadcast{}}
	ansItem   = item{answer: &corepb.RoomAnswer{}}
	expelItem = item{expel: &corepb.Expel{}}
	rulesItem = item{policy: &corepb.RoomPolicy{}}
	enterItem = item{reply: &corepb.Reply{Enter: &corepb.Enter{}}}
	drainItem = item{drain: true}
)

// shape tells the batches in letters: replies r, pushes p, broadcasts b, answers a,
// expels x, policies o, kicks k, drain d, Welcome w.
func shape(batches []*batch) string {
	var parts []string
	for _, b := range batches {
		part := ""
		if b.Welcome != nil {
			part = "w"
		}
		part += strings.Repeat("r", len(b.Replies)) + strings.Repeat("p", len(b.Pushes)) +
			strings.Repeat("b", len(b.Broadcasts)) + strings.Repeat("a", len(b.Answers)) + strings.Repeat("x", len(b.Expels)) +
			strings.Repeat("o", len(b.Policies)) + strings.Repeat("k", len(b.Kicks))
		if b.Drain {
			part += "d"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

func TestOutboxBatches(t *testing.T) {
	const third = batchSize / 3
	for _, test := range []struct {
		name  string
		items []item
		want  string
	}{
		{"nothing", nil, ""},
		{"joined", []item{replyOf(1), pushOf(1), replyOf(1), kickItem, drainItem}, "rrpkd"},
		{"a push stays behind a kick", []item{pushOf(1), kickItem, kickItem, pushOf(1), replyOf(1)}, "pkk rp"},
		{"a reply may pass a kick", []item{kickItem, replyOf(1)}, "rk"},
		{"rooms are joined", []item{rulesItem, bcastItem, replyOf(1), ansItem, bcastItem, expelItem, pushOf(1)}, "rpbbaxo"},
		{"a broadcast stays behind an expel", []item{bcastItem, expelItem, bcastItem, expelItem}, "bx bx"},
		{"so does who enters", []item{expelItem, replyOf(1), enterItem}, "rx r"},
		{"and not behind a broadcast, which the edge keeps", []item{bcastItem, enterItem}, "rb"},
		{"cut by size", []item{pushOf(third), pushOf(third), pushOf(third), replyOf(1)}, "pp rp"},
		{"a long reply goes last", []item{replyOf(long), pushOf(1), kickItem, pushOf(1), replyOf(1)}, "pk rp r"},
		{"but one that enters a room is not overtaken", []item{{reply: &corepb.Reply{Body: make([]byte, long), Enter: &corepb.Enter{}}}, bcastItem}, "rb"},
		{"one that is too large goes alone", []item{replyOf(1), pushOf(2 * batchSize), replyOf(1)}, "r p r"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := newOutbox(1 << 30)
			o.held = false
			for _, i := range test.items {
				if !o.add(i) {
					t.Fatal("an item was declined")
				}
			}
			taken := o.take()
			if got := shape(taken); got != test.want {
				t.Errorf("got batches %q, want %q", got, test.want)
			}
			for _, b := range taken {
				o.sent(b)
			}
			if got := o.take(); got != nil || o.size != 0 {
				t.Errorf("after all was sent: got %q and %d octets, want nothing", shape(got), o.size)
			}
		})
	}
}

// TestLongRepliesWaitAside: whatever is queued while one leaves goes before the next, and the
// sender is woken for each.
func TestLongRepliesWaitAside(t *testing.T) {
	o := newOutbox(1 << 30)
	o.held = false
	for range 3 {
		o.add(replyOf(long))
	}
	o.seal()
	for i, want := range []string{"r", "p r", "r"} {
		select {
		case <-o.wake:
		default:
			t.Fatalf("%d: the sender is not woken", i)
		}
		if o.finished() {
			t.Errorf("%d: finished, with long replies that wait", i)
		}
		all := o.take()
		if got := shape(all); got != want {
			t.Errorf("%d: got batches %q, want %q", i, got, want)
		}
		for _, b := range all {
			o.sent(b)
		}
		if i == 0 {
			o.sealed = false
			o.add(pushOf(1))
			o.seal()
		}
	}
	if !o.finished() || o.size != 0 {
		t.Errorf("not finished, or %d octets are left", o.size)
	}
}

func TestOutboxCutByItems(t *testing.T) {
	o := newOutbox(1 << 30)
	o.held = false
	for range batchItems + 1 {
		o.add(replyOf(0))
	}
	if got := o.take(); len(got) != 2 || len(got[0].Replies) != batchItems {
		t.Errorf("got %d batches, the first of %d, want 2 and %d", len(got), len(got[0].Replies), batchItems)
	}
}

func TestOutboxHeldUntilWelcome(t *testing.T) {
	o := newOutbox(1 << 20)
	o.add(pushOf(1))
	if got := o.take(); got != nil {
		t.Fatalf("before Welcome: got %q", shape(got))
	}
	o.release(&corepb.Welcome{})
	o.add(replyOf(1))
	if got := shape(o.take()); got != "w rp" {
		t.Errorf("got %q, want Welcome alone and first", got)
	}
	o.add(replyOf(1))
	o.release(&corepb.Welcome{})
	if got := shape(o.take()); got != "w r" {
		t.Errorf("got %q, want Welcome alone and first", got)
	}
}

func TestOutboxOverflowCloses(t *testing.T) {
	o := newOutbox(10 * (overhead + 100))
	o.held = false
	for i := range 10 {
		if !o.add(pushOf(100)) {
			t.Fatalf("item %d of 10 that fit was declined", i)
		}
	}
	if o.add(pushOf(100)) {
		t.Fatal("an item past the limit was taken")
	}
	o.take()
	if o.add(pushOf(1)) {
		t.Error("an item after the overflow was taken: the edge would miss what was declined")
	}
}

func TestOutboxWakes(t *testing.T) {
	o := newOutbox(1 << 20)
	o.held = false
	for _, i := range []item{replyOf(1), pushOf(1), kickItem, drainItem} {
		o.add(i)
		select {
		case <-o.wake:
		default:
			t.Errorf("no token after %+v", i)
		}
	}
}

// TestBatchEncodes: the encoding that Kitex asks for is that of the Downlink.
func TestBatchEncodes(t *testing.T) {
	o := newOutbox(1 << 20)
	o.held = false
	for i := range 300 {
		o.add(item{reply: &corepb.Reply{Session: uint64(i), Body: fmt.Append(nil, i)}})
	}
	b := o.take()[0]
	want, _ := b.Downlink.Marshal(nil)
	got, err := b.Marshal(nil)
	if err != nil || string(got) != string(want) {
		t.Fatalf("got %d octets, %v, want %d", len(got), err, len(want))
	}
	var back batch
	if err := back.Unmarshal(got); err != nil || len(back.Replies) != 300 || string(back.Replies[299].Body) != "299" {
		t.Errorf("decoded: %d replies, %v", len(back.Replies), err)
	}
}

// TestOutboxCountsWhatIsTaken: what the sender has taken and the edge has not waits still.
func TestOutboxCountsWhatIsTaken(t *testing.T) {
	o := newOutbox(4 * (overhead + 100))
	o.held = false
	for range 3 {
		o.add(replyOf(100))
	}
	taken := o.take()
	if o.easing() == nil {
		t.Error("it eases while the edge has taken nothing in")
	}
	if !o.add(replyOf(100)) || o.add(replyOf(100)) {
		t.Error("more waits than may, or less")
	}
	o.sent(taken[0])
	if o.easing() != nil || o.size != overhead+100 {
		t.Errorf("all but one were sent: %d octets wait", o.size)
	}
}

// TestOutboxEases: who waits for it to be half empty goes on when it is sent, or closed.
func TestOutboxEases(t *testing.T) {
	for _, end := range []func(*outbox){func(o *outbox) {
		for _, b := range o.take() {
			o.sent(b)
		}
	}, (*outbox).close} {
		o := newOutbox(4 * (overhead + 100))
		o.release(&corepb.Welcome{})
		o.add(replyOf(100))
		o.add(replyOf(100))
		if o.easing() != nil {
			t.Error("half full: it is waited for")
		}
		o.add(replyOf(100))
		first, second := o.easing(), o.easing()
		if first == nil || first != second {
			t.Fatal("over half: nobody is to go on")
		}
		select {
		case <-first:
			t.Error("it eases before anything was taken")
		default:
		}
		end(o)
		<-first
		if o.easing() != nil {
			t.Error("it is empty, and waited for")
		}
	}
}

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/bench/history"
	"freeim/core/server"
	"freeim/edge/client"
	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

// pipe is one connection over TCP that sends ahead of its answers, in an order that it
// chooses, as no SDK does. One goroutine uses it.
type pipe struct {
	conn net.Conn
	dec  frame.Decoder
	got  []frame.Frame // answers, not yet taken
	last uint32
	buf  []byte
}

func dialPipe(ctx context.Context, address, token string) (*pipe, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(address, "tcp://"))
	if err != nil {
		return nil, err
	}
	p := &pipe{conn: conn, buf: make([]byte, 16<<10)}
	if err := p.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if err := p.send(asked{idl.ActionAuth, &accountpb.AuthRequest{Token: token}}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := p.answer(new(accountpb.AuthReply)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return p, nil
}

// asked is a request.
type asked struct {
	action idl.Action
	body   idl.Message
}

// send sends requests in one write.
func (p *pipe) send(all ...asked) error {
	var out []byte
	for _, r := range all {
		p.last++
		body, err := idl.Append(nil, idl.CodecProtobuf, r.body)
		if err != nil {
			return err
		}
		out = frame.Append(out, frame.Frame{Codec: idl.CodecProtobuf, Action: r.action, Sequence: p.last, Body: body})
	}
	_, err := p.conn.Write(out)
	return err
}

// errRefused is a refusal by the server.
type errRefused struct{ no wirepb.Error }

func (e *errRefused) Error() string { return e.no.Code.String() + ": " + e.no.Message }

// answer takes the next answer; pushes are passed over.
func (p *pipe) answer(into idl.Message) error {
	for len(p.got) == 0 {
		n, err := p.conn.Read(p.buf)
		if err != nil {
			return err
		}
		err = p.dec.Feed(p.buf[:n], 1<<20, func(f frame.Frame) error {
			if f.Action == idl.ActionQuit {
				return errors.New("the server ends the connection")
			}
			if f.Sequence != 0 {
				f.Body = slices.Clone(f.Body)
				p.got = append(p.got, f)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	f := p.got[0]
	p.got = p.got[1:]
	if f.Action == idl.ActionError {
		no := new(errRefused)
		return errors.Join(no, idl.Decode(f.Body, f.Codec, &no.no))
	}
	return idl.Decode(f.Body, f.Codec, into)
}

// piper is somebody who sends through pipes, one after the other.
type piper struct {
	name, token  string
	to           int64
	conversation string
	sends        []history.Send
	left         []int // places in sends of those without an ack, in order
}

// pipers are n pairs of people who write to each other.
func pipers(ctx context.Context, t *testing.T, o client.Options, n int) (all []*piper) {
	for i := range n {
		var owners [2]*person
		for side := range owners {
			var err error
			if owners[side], err = signUp(ctx, o, fmt.Sprintf("piper%d-%d", i, side)); err != nil {
				t.Fatal(err)
			}
		}
		for side, owner := range owners {
			token, err := signIn(ctx, o, owner.name, "pipe", idl.DeviceMobile)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, &piper{name: owner.name, token: token, to: owners[1-side].id, conversation: fmt.Sprint(i)})
		}
	}
	return all
}

// talk sends until it is over, over one connection after the other; some it cuts itself.
// What was not acknowledged is sent again, in order, before anything new.
func (w *piper) talk(ctx context.Context, t *testing.T, address string, over *atomic.Bool, acked *atomic.Int64) {
	for ctx.Err() == nil && (!over.Load() || len(w.left) > 0) {
		p, err := dialPipe(ctx, address, w.token)
		if err != nil {
			continue // the edge may be waiting for a core: a deadline bounds the attempt
		}
		if err := w.over(p, over, acked); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Logf("%s: %v", w.name, err)
		}
		_ = p.conn.Close()
	}
}

func (w *piper) request(at int) asked {
	return asked{idl.ActionMessage, &chatpb.SendRequest{ClientId: w.sends[at].ID, ToUserId: w.to, Text: "text " + strings.Repeat("x", at%7*50)}}
}

// over talks over one connection until that ends: bursts of 1 to 8, up to 24 unanswered.
func (w *piper) over(p *pipe, over *atomic.Bool, acked *atomic.Int64) error {
	var flying []int // places in sends
	again := slices.Clone(w.left)
	for _, at := range again {
		w.sends[at].Stream = ""
	}
	for cut := rand.N(3000); ; cut-- {
		if cut == 0 { // with some unanswered
			return nil
		}
		var burst []asked
		for range 1 + rand.N(8) {
			switch {
			case len(again) > 0:
				flying, burst = append(flying, again[0]), append(burst, w.request(again[0]))
				again = again[1:]
			case !over.Load():
				at := len(w.sends)
				w.sends = append(w.sends, history.Send{Conversation: w.conversation, ID: fmt.Sprint(w.name, "-", at), Sent: time.Now(), Stream: w.name})
				w.left, flying = append(w.left, at), append(flying, at)
				burst = append(burst, w.request(at))
			}
		}
		if len(flying) == 0 {
			return nil
		}
		if err := p.conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if err := p.send(burst...); err != nil {
			return err
		}
		for most := rand.N(24); len(flying) > most || over.Load() && len(flying) > 0; {
			at := flying[0]
			rep, s := new(chatpb.SendReply), &w.sends[at]
			err := p.answer(rep)
			no, refused := errors.AsType[*errRefused](err)
			switch {
			case err != nil && (!refused || no.no.Code != idl.CodeUnavailable && no.no.Code != idl.CodeDeadlineExceeded):
				return err
			case refused: // it is sent again over the next connection
			default:
				s.Answered, s.Outcome, s.MessageID, s.Seq = time.Now(), history.Acked, rep.MessageId, rep.Seq
				w.left = slices.DeleteFunc(w.left, func(i int) bool { return i == at })
				acked.Add(1)
			}
			flying = flying[1:]
		}
		if over.Load() && len(w.left) > 0 {
			return nil // for the next connection
		}
	}
}

// TestPipelinedSends: people send several messages ahead of their answers, over real
// sockets, while the link is cut, clients hang up and the core is restarted. Nothing is
// lost or doubled, and what is acknowledged at first stands in the order of sending.
func TestPipelinedSends(t *testing.T) {
	beside(t)
	ctx, cancel := context.WithTimeout(t.Context(), faultTime)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String() // free, for the core
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	link := between(t, address)
	c := startClusterWith(t, cluster.Options{Dir: t.TempDir(), Via: func(int) string { return link.Addr() },
		Core: func(_ int, o *server.Options) { o.Config.Listen = address }})
	way := forms[0].options(c.Edges[0])
	all := pipers(ctx, t, way, 3)
	var over atomic.Bool
	var acked atomic.Int64
	var talking sync.WaitGroup
	for _, w := range all {
		talking.Go(func() { w.talk(ctx, t, way.Address, &over, &acked) })
	}
	faults := times(10, 60)
	for i := range faults {
		upTo := acked.Load() + 200 + rand.Int64N(400)
		if err := until(ctx, func() (bool, error) { return acked.Load() >= upTo, nil }); err != nil {
			t.Fatalf("%d acknowledged after %d faults: %v", acked.Load(), i, err)
		}
		if rand.N(2) == 0 {
			link.Cut()
		} else if err := errors.Join(c.Cores[0].Stop(ctx), c.Cores[0].Start(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	over.Store(true)
	talking.Wait()
	h := &history.History{}
	first := 0
	for _, w := range all {
		for _, s := range w.sends {
			if s.Stream != "" {
				first++
			}
		}
		h.Sends = append(h.Sends, w.sends...)
		h.Readings = append(h.Readings, w.read(ctx, t, way))
	}
	report := h.Check()
	if report.Count() > 0 || report.Acked != len(h.Sends) {
		t.Errorf("%v, of %d", report, len(h.Sends))
		keepHistory(t, h)
	}
	t.Logf("%v, %d of them at first, over %d faults", report, first, faults)
}

// read is the whole conversation as the piper reads it.
func (w *piper) read(ctx context.Context, t *testing.T, o client.Options) history.Reading {
	conn, err := client.Dial(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Auth(ctx, w.token); err != nil {
		t.Fatal(err)
	}
	var log []*chatpb.Message
	for req := (&chatpb.HistoryRequest{WithUserId: w.to, Limit: 500}); ; req.BeforeSeq = log[0].Seq {
		rep := new(chatpb.HistoryReply)
		if err := conn.Call(ctx, idl.ActionHistory, req, rep); err != nil {
			t.Fatal(err)
		}
		slices.Reverse(rep.Messages)
		log = append(rep.Messages, log...)
		if !rep.HasMore {
			return history.Reading{Conversation: w.conversation, Reader: w.name, Items: items(log)}
		}
	}
}

// TestMixedJoint: of messages that are sent in one write one is denied by a rule, one
// invalid, one repeats another, one takes its ID for something else, one is too long, and
// an ack is among them: each has its answer, in order, and the others are committed.
func TestMixedJoint(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), faultTime)
	defer cancel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "rules"), 0o755); err != nil {
		t.Fatal(err)
	}
	rule := `local im = require("im")
im.on_message(function(c)
  if c.text:find("ads", 1, true) then return im.deny("rejected", "no ads") end
end, {name = "ads", on_error = "closed"})
`
	if err := os.WriteFile(filepath.Join(dir, "rules", "ads.lua"), []byte(rule), 0o644); err != nil {
		t.Fatal(err)
	}
	c := startClusterWith(t, cluster.Options{Dir: dir, Rules: true})
	way := forms[0].options(c.Edges[0])
	w := pipers(ctx, t, way, 1)[0]
	p, err := dialPipe(ctx, way.Address, w.token)
	if err != nil {
		t.Fatal(err)
	}
	defer p.conn.Close()
	say := func(id, text string) asked {
		return asked{idl.ActionMessage, &chatpb.SendRequest{ClientId: id, ToUserId: w.to, Text: text}}
	}
	first := new(chatpb.SendReply)
	if err := errors.Join(p.send(say("zero", "hello")), p.answer(first)); err != nil {
		t.Fatal(err)
	}
	for round := range times(20, 200) {
		id := func(s string) string { return fmt.Sprint(s, round) }
		burst := []struct {
			asked
			code idl.Code // of the refusal
			seq  int64    // behind those before this round; of a message that is there
		}{
			{say(id("a"), "one"), 0, 1},
			{say(id("b"), "buy ads"), idl.CodeRejected, 0},
			{say(id("c"), ""), idl.CodeInvalidArgument, 0},
			{say(id("a"), "one"), 0, 1},
			{say(id("a"), "another"), idl.CodeConflict, 0},
			{asked{idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: first.ConversationId, Seq: first.Seq}}, 0, 0},
			{say(id("d"), "two"), 0, 2},
			{say(id("e"), strings.Repeat("x", 5001)), idl.CodeInvalidArgument, 0},
			{asked{idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: "nowhere", Seq: 1}}, idl.CodePermissionDenied, 0},
			{say(id("f"), "three"), 0, 3},
		}
		var all []asked
		for _, b := range burst {
			all = append(all, b.asked)
		}
		if err := p.send(all...); err != nil {
			t.Fatal(err)
		}
		for i, b := range burst {
			rep := new(chatpb.SendReply)
			err := p.answer(rep)
			no, refused := errors.AsType[*errRefused](err)
			switch {
			case err != nil && !refused:
				t.Fatal(err)
			case refused && no.no.Code != b.code, !refused && b.code != 0:
				t.Errorf("round %d, request %d: got %+v, %v, want %v", round, i, rep, err, b.code)
			case b.seq > 0 && rep.Seq != first.Seq+3*int64(round)+b.seq:
				t.Errorf("round %d, request %d: got seq %d, want %d behind", round, i, rep.Seq, b.seq)
			}
		}
	}
}

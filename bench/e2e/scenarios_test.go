package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/bench/e2e"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/roompb"
	"freeim/idl/kitex_gen/wirepb"
	"freeim/scripts/engine"
)

// patience is how long a step waits for what it names.
const patience = time.Minute

// TestScenarios runs every story in testdata, in the forms of formsOf.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	turn := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		played := forms
		switch {
		case mixed(t, file):
			played = []form{{name: "mixed"}}
		case !inEveryForm[name]:
			played = formsOf(turn)
			turn++
		}
		for _, form := range played {
			t.Run(name+"/"+form.name, func(t *testing.T) {
				t.Parallel()
				play(t, file, form, stores{})
			})
		}
	}
}

// mixed reports whether a story says itself which form each person speaks.
func mixed(t *testing.T, file string) bool {
	steps, err := e2e.ReadScript(file)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(steps, func(s e2e.Step) bool { return len(s.Words) > 3 && s.Words[3] == "over" })
}

// inEveryForm are the stories of what sessions, frames and codecs carry: messages with their
// acknowledgements, cursors, resends and closes.
var inEveryForm = map[string]bool{"chat": true, "kick": true, "offline": true, "resend": true, "restart": true}

// formsOf are those of any other story, by its place among them: what a plugin does is the same
// in each, and three stories in a row have them all. One is over TCP and one over WebSocket.
func formsOf(turn int) []form { return []form{forms[turn%2], forms[2+turn%3]} }

// play runs one scenario against a cluster of its own.
func play(t *testing.T, file string, form form, on stores) {
	steps, err := e2e.ReadScript(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{began: time.Now(), form: form, people: map[string]*person{}, groups: map[string]int64{}, devices: map[string]*device{}, announced: map[string]*announced{}, moments: map[string]*shared{}, comments: map[string]string{},
		scheduled: map[string]string{}, written: map[string]url.Values{}}
	on.Dir, on.Rules, on.Edges = t.TempDir(), true, 2
	if err := s.prepare(t, steps, &on); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(t.Context(), on.Options)
	if err != nil {
		t.Fatal(err)
	}
	s.cluster, s.stores = c, on
	t.Cleanup(func() {
		for _, d := range s.devices {
			d.disconnect()
		}
		if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	for _, step := range steps {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := s.step(ctx, step); err != nil {
			cancel()
			t.Fatalf("%s:%d: %s: %v", file, step.Line, strings.Join(step.Words, " "), err)
		}
		cancel()
	}
}

// stage is where a scenario plays.
type stage struct {
	began   time.Time
	cluster *cluster.Cluster
	form    form
	people  map[string]*person
	groups  map[string]int64   // their IDs
	devices map[string]*device // by "alice@phone"

	announced map[string]*announced // by the story's names for them
	moments   map[string]*shared    // by the story's names for them
	comments  map[string]string     // likewise: their IDs
	requests  int                   // that needed a client ID

	stores    stores
	passed    atomic.Int64          // how far the cores' clocks are ahead, in nanoseconds
	archive   []byte                // the backup
	receiver  *receiver             // of offline pushes, or nil
	scheduled map[string]string     // IDs of scheduled messages, by the story's names for them
	written   map[string]url.Values // what the operator sent, likewise
}

// step runs one line: the first word says who, the rest what.
func (s *stage) step(ctx context.Context, step e2e.Step) error {
	w := step.Words
	switch who := w[0]; {
	case len(w) < 2:
		return errors.New("nothing is said to happen")
	case who == "core" && w[1] == "is":
		return s.operate(ctx, strings.Join(w[2:], " "))
	case who == "core" || who == "edge":
		return s.restart(ctx, who)
	case who == "stores":
		return s.inStores(ctx, w[2:])
	case who == "time":
		return s.passes(w[2])
	case who == "operator":
		return s.operates(ctx, w[1:])
	case who == "receiver":
		return s.isTold(ctx, w[3:])
	case who == "reviewer":
		return s.reviews(ctx, w[1:])
	case who == "rule":
		return s.rule(ctx, w[1], strings.Join(w[2:], " "), step.Block)
	case strings.Contains(who, "@"):
		return s.deviceStep(ctx, who, w[1:])
	default:
		return s.personStep(ctx, who, w[1:])
	}
}

// restart closes all cores or edges, one after the other, and starts each again.
func (s *stage) restart(ctx context.Context, what string) error {
	var errs []error
	if what == "core" {
		for _, core := range s.cluster.Cores {
			errs = append(errs, core.Stop(ctx), core.Start(ctx))
		}
	} else {
		for _, edge := range s.cluster.Edges {
			errs = append(errs, edge.Stop(ctx), edge.Start())
		}
	}
	return errors.Join(errs...)
}

// rule saves or removes a file as an editor does, and waits until every core has
// taken or refused it.
func (s *stage) rule(ctx context.Context, file, how, text string) error {
	var before []engine.Status
	for _, core := range s.cluster.Cores {
		before = append(before, core.Server().Rules().Status())
	}
	path := filepath.Join(s.cluster.RulesDir(), file)
	if how == "is removed" {
		if err := os.Remove(path); err != nil {
			return err
		}
	} else {
		if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	for i, core := range s.cluster.Cores {
		if err := until(ctx, func() (bool, error) { return taken(before[i], core.Server().Rules().Status(), how) }); err != nil {
			return err
		}
	}
	return nil
}

// taken reports whether a core has taken a change of the rules, or refused it if it was
// to.
func taken(before, now engine.Status, how string) (bool, error) {
	if how == "is refused" {
		return now.Rejected != nil && now.Rejected.Bundle != "" && now.Bundle == before.Bundle, nil
	}
	if now.Rejected != nil && (before.Rejected == nil || now.Rejected.At != before.Rejected.At) {
		return false, fmt.Errorf("refused: %v", now.Rejected.Errors)
	}
	return now.Bundle != before.Bundle, nil
}

func (s *stage) personStep(ctx context.Context, name string, w []string) (err error) {
	switch verb := w[0] + " " + w[1]; verb {
	case "signs up":
		own := s.form
		if len(w) > 3 { // over FORM
			if own, err = formNamed(w[3]); err != nil {
				return err
			}
		}
		enter := func() (*person, error) { return signUp(ctx, own.options(s.cluster.Edges[0]), name) }
		if own.requests {
			enter = func() (*person, error) { return signUpByRequest(ctx, s.cluster.Edges[0], name) }
		}
		if s.people[name], err = enter(); err == nil {
			s.people[name].form = own
		}
		return err
	case "lists devices":
		return s.listsDevices(ctx, name, w[2:])
	default:
		return fmt.Errorf("no step %q", verb)
	}
}

func (s *stage) listsDevices(ctx context.Context, name string, want []string) error {
	for full, d := range s.devices {
		if !strings.HasPrefix(full, name+"@") || !d.there() {
			continue
		}
		infos, err := d.Devices(ctx)
		if err != nil {
			return err
		}
		var got []string
		for _, info := range infos {
			got = append(got, info.Device.Id)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			return fmt.Errorf("got %v", got)
		}
		return nil
	}
	return errors.New("no device is connected")
}

// deviceSteps are the verbs of a device; each takes the words after it.
var deviceSteps = map[string]func(s *stage, ctx context.Context, d *device, w []string) error{
	"disconnects": func(s *stage, _ context.Context, d *device, _ []string) error { return d.disconnect() },
	"reconnects":  func(s *stage, ctx context.Context, d *device, _ []string) error { return d.connect(ctx) },
	"asks":        (*stage).asks,
	"befriends":   toSomebody(func(a client.Actions, ctx context.Context, u int64) error { _, err := a.Accept(ctx, u); return err }),
	"refuses":     toSomebody(client.Actions.Refuse),
	"withdraws":   toSomebody(client.Actions.Withdraw),
	"deletes":     toSomebody(client.Actions.DeleteFriend),
	"blocks":      toSomebody(client.Actions.Block),
	"unblocks":    toSomebody(client.Actions.Unblock),
	"calls":       (*stage).calls,
	"sets":        (*stage).sets,
	"searches":    (*stage).searches,
	"meets":       (*stage).meets,
	"publishes":   (*stage).publishes,
	"shows":       (*stage).shows,
	"unpublishes": (*stage).unpublishes,
	"finds":       (*stage).finds,
	"likes":       (*stage).likes,
	"unlikes":     (*stage).unlikes,
	"comments":    (*stage).commentsOn,
	"replies":     (*stage).replies,
	"uncomments":  (*stage).uncomments,
	"knows":       (*stage).knows,
	"watches":     (*stage).watches,
	"notices":     (*stage).notices,
	"sends":       (*stage).sends,
	"has":         (*stage).has,
	"learns":      (*stage).learns,
	"resends":     (*stage).resends,
	"tries":       (*stage).tries,
	"gets":        (*stage).gets,
	"reads":       (*stage).reads,
	"is":          (*stage).isClosed,
	"lists":       (*stage).lists,
	"cannot":      (*stage).cannotReconnect,
	"signs":       (*stage).signsOut,
	"seeks":       (*stage).seeks,
	"keeps":       (*stage).keeps,
	"counts":      (*stage).counts,
	"turns":       (*stage).turns,
	"schedules":   (*stage).schedules,
	"postpones":   (*stage).postpones,
	"rewords":     (*stage).rewords,
	"cancels":     (*stage).cancels,
	"plans":       listsScheduled(chatpb.ScheduledState_SCHEDULED_STATE_WAITING),
	"missed":      listsScheduled(chatpb.ScheduledState_SCHEDULED_STATE_UNSENT),
	"registers":   (*stage).registers,
	"holds":       (*stage).holds,
	"creates":     (*stage).creates,
	"joins":       (*stage).joins,
	"leaves":      (*stage).leaves,
	"says":        (*stage).says,
	"announces":   (*stage).announces,
	"hears":       (*stage).hears,
	"founds":      (*stage).founds,
	"accepts":     (*stage).accepts,
	"applies":     (*stage).applies,
	"approves":    (*stage).approves,
	"declines":    (*stage).declines,
	"invites":     (*stage).invites,
	"spurns":      (*stage).spurns,
	"enters":      (*stage).enters,
	"makes":       (*stage).makes,
	"rules":       (*stage).rules,
	"wants":       (*stage).wants,
	"musters":     (*stage).musters,
	"looks":       (*stage).looksUp,
	"dissolves":   (*stage).dissolves,
	"quits":       (*stage).quits,
	"expels":      (*stage).expels,
	"recalls":     (*stage).recalls,
	"edits":       (*stage).edits,
	"reacts":      (*stage).reacts,
	"quotes":      (*stage).quotes,
	"names":       (*stage).names,
	"forwards":    (*stage).forwards,
	"sees":        (*stage).sees,
	"settles":     (*stage).settles,
	"loses":       (*stage).loses,
	"closes":      (*stage).closes,
	"mutes":       moderates(roompb.ModerationVerb_MODERATION_MUTE),
	"unmutes":     moderates(roompb.ModerationVerb_MODERATION_UNMUTE),
	"removes":     moderates(roompb.ModerationVerb_MODERATION_REMOVE),
	"bans":        moderates(roompb.ModerationVerb_MODERATION_BAN),
	"unbans":      moderates(roompb.ModerationVerb_MODERATION_UNBAN),
}

func (s *stage) deviceStep(ctx context.Context, full string, w []string) (err error) {
	name, id, _ := strings.Cut(full, "@")
	owner := s.people[name]
	if owner == nil {
		return fmt.Errorf("%s has not signed up", name)
	}
	if w[0] == "connects" {
		kind := idl.DeviceType(wirepb.DeviceType_value["DEVICE_TYPE_"+strings.ToUpper(w[2])])
		edge := s.cluster.Edges[len(s.devices)%len(s.cluster.Edges)] // so that everything happens across edges
		if owner.form.requests {
			s.devices[full], err = newRequests(ctx, edge, owner, id, kind)
		} else {
			s.devices[full], err = newDevice(ctx, owner.form.options(edge), owner, id, kind)
		}
		return err
	}
	d, verb := s.devices[full], deviceSteps[w[0]]
	if d == nil || verb == nil {
		return fmt.Errorf("no such device, or no step %q", w[0])
	}
	return verb(s, ctx, d, w[1:])
}

// sends bob "text" as m1
func (s *stage) sends(ctx context.Context, d *device, w []string) error {
	return d.send(ctx, s.destination(w[0]), w[1], w[3])
}

// has m1 committed [as "text"] | delivered | held | refused [CODE]
func (s *stage) has(ctx context.Context, d *device, w []string) error {
	p := d.sent[w[0]]
	if p == nil && d.requests != nil && d.first[w[0]] != nil && w[1] == "committed" {
		return nil // it was answered
	}
	if p == nil {
		return fmt.Errorf("%s was not sent", w[0])
	}
	switch w[1] {
	case "delivered":
		return s.delivered(ctx, d, w[0])
	case "read", "unread":
		return s.isRead(ctx, d, w[0], w[1] == "read")
	}
	rep, err := p.Wait(ctx)
	switch {
	case w[1] == "held" && (err != nil || rep.HeldId == ""):
		return fmt.Errorf("got %+v, %v", rep, err)
	case w[1] == "held":
		d.first[w[0]] = rep
		return nil
	case err == nil && rep.HeldId != "":
		rep, err = decided(ctx, p)
	}
	if w[1] == "refused" {
		if code := client.CodeOf(err); code == idl.CodeUnknown || len(w) > 2 && code.String() != "CODE_"+w[2] {
			return fmt.Errorf("got %v", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if text := d.texts[w[0]].Text; len(w) > 3 && (rep.Text != w[3] || !rep.Rewritten) || len(w) <= 3 && rep.Rewritten && rep.Text != text {
		return fmt.Errorf("stored as %q", rep.Text)
	}
	d.first[w[0]] = rep
	return nil
}

// delivered waits for a receipt that covers the message: pushed, or come with a
// sync after a reconnect.
func (s *stage) delivered(ctx context.Context, d *device, as string) error {
	rep, err := s.answer(ctx, d, as)
	if err != nil {
		return err
	}
	return until(ctx, func() (bool, error) { return d.heard(rep.ConversationId) >= rep.Seq, nil })
}

// answer is what the first send of a message got.
func (s *stage) answer(ctx context.Context, d *device, as string) (*chatpb.SendReply, error) {
	for _, other := range s.devices {
		if rep := other.first[as]; rep != nil && other.owner == d.owner {
			return rep, nil
		}
	}
	if d.sent[as] == nil {
		return nil, fmt.Errorf("%s was not sent", as)
	}
	rep, err := d.sent[as].Wait(ctx)
	d.first[as] = rep
	return rep, err
}

// resends m1 and gets the same answer | resends m1 with "text" and is refused CODE
func (s *stage) resends(ctx context.Context, d *device, w []string) error {
	first, err := s.answer(ctx, d, w[0])
	if err != nil {
		return err
	}
	out := s.outgoing(d.owner, w[0])
	if w[1] == "with" {
		out.Text = w[2]
		if _, err = d.resend(ctx, out); client.CodeOf(err).String() != "CODE_"+w[len(w)-1] {
			return fmt.Errorf("got %v", err)
		}
		return nil
	}
	again, err := d.resend(ctx, out)
	if err != nil {
		return err
	}
	if again.MessageId != first.MessageId || again.HeldId != first.HeldId || again.Seq != first.Seq || again.InboxSeq != first.InboxSeq || !again.Duplicate {
		return fmt.Errorf("first %+v, then %+v", first, again)
	}
	return nil
}

// tries bob "text" and is refused CODE [for 1h]: once, where a session would try again; it is told to wait for so long, less
// what has passed since the story began.
func (s *stage) tries(ctx context.Context, d *device, w []string) error {
	_, err := d.resend(ctx, s.destination(w[0]).outgoing(w[1], d.owner.name+"-try"))
	no, ok := errors.AsType[*client.Refusal](err)
	if !ok || no.Code.String() != "CODE_"+w[5] {
		return fmt.Errorf("got %v", err)
	}
	if len(w) <= 6 {
		return nil
	}
	most, err := time.ParseDuration(w[7])
	if err == nil && (no.RetryAfter > most || no.RetryAfter <= 0 || no.RetryAfter < most-time.Since(s.began)) {
		err = fmt.Errorf("told to wait %v", no.RetryAfter)
	}
	return err
}

// outgoing is a message as any of its sender's devices sent it.
func (s *stage) outgoing(owner *person, as string) client.Outgoing {
	for _, d := range s.devices {
		if out, ok := d.texts[as]; ok && d.owner == owner {
			return out
		}
	}
	return client.Outgoing{}
}

// gets "text" from alice | gets group.avatar from alice with "/a.png" | gets nothing more
func (s *stage) gets(ctx context.Context, d *device, w []string) error {
	if w[0] == "nothing" {
		return s.getsNothing(ctx, d)
	}
	if err := d.awaits(ctx); err != nil {
		return err
	}
	select {
	case e := <-d.entries:
		if from := s.people[w[2]]; e.Text+e.Event != w[0] || e.SenderId != from.id {
			return fmt.Errorf("got %q from %d", e.Text+e.Event, e.SenderId)
		}
		if len(w) > 4 && !tells(e.Data, w[4]) {
			return fmt.Errorf("got it with %s", e.Data)
		}
		return nil
	case <-ctx.Done():
		return errors.New("got nothing")
	}
}

// tells reports whether an event's data has that value.
func tells(data, value string) bool {
	var all map[string]any
	err := json.Unmarshal([]byte(data), &all)
	return err == nil && slices.Contains(slices.Collect(maps.Values(all)), any(value))
}

// getsNothing waits until the device holds its whole inbox, then nothing may be
// waiting to be seen.
func (s *stage) getsNothing(ctx context.Context, d *device) error {
	var rep chatpb.SyncReply
	if err := d.call(ctx, idl.ActionSync, &chatpb.SyncRequest{}, &rep); err != nil {
		return err
	}
	if err := d.fetch(ctx); err != nil {
		return err
	}
	if err := until(ctx, func() (bool, error) { return d.position() >= rep.Head, nil }); err != nil {
		return fmt.Errorf("the inbox ends at %d, the device holds %d", rep.Head, d.position())
	}
	select {
	case e := <-d.entries:
		return fmt.Errorf("got %q from %d", e.Text+e.Event, e.SenderId)
	default:
		return nil
	}
}

// reads history with bob "a" "b" | reads up to m1
func (s *stage) reads(ctx context.Context, d *device, w []string) error {
	if w[0] == "up" {
		return s.readsUpTo(ctx, d, w[2:])
	}
	if id := s.groups[w[2]]; id != 0 {
		return s.readsGroup(ctx, d, id, w[3:])
	}
	rep, err := d.History(ctx, &chatpb.HistoryRequest{WithUserId: s.people[w[2]].id})
	if err != nil {
		return err
	}
	var got []string
	for i, m := range slices.Backward(rep.Messages) {
		if m.Seq != int64(len(rep.Messages)-i) {
			return fmt.Errorf("seq %d at place %d", m.Seq, len(rep.Messages)-i)
		}
		got = append(got, m.Text)
	}
	if !slices.Equal(got, w[3:]) {
		return fmt.Errorf("got %q", got)
	}
	return nil
}

// is closed KICKED | is out of lobby BANNED
func (s *stage) isClosed(ctx context.Context, d *device, w []string) error {
	if w[0] == "out" {
		return s.isOut(ctx, d, w[2:])
	}
	select {
	case err := <-d.ended:
		quit, ok := errors.AsType[*client.Quit](err)
		if !ok || quit.Reason.String() != "CLOSE_"+w[1] || quit.Reconnect {
			return fmt.Errorf("ended with %v", err)
		}
		return d.disconnect()
	case <-ctx.Done():
		return errors.New("the session goes on")
	}
}

func (s *stage) cannotReconnect(ctx context.Context, d *device, _ []string) error {
	err := d.connect(ctx)
	d.disconnect()
	if client.CodeOf(err) != idl.CodeUnauthenticated {
		return fmt.Errorf("got %v", err)
	}
	return nil
}

// signs out others | this | all | DEVICE
func (s *stage) signsOut(ctx context.Context, d *device, w []string) error {
	req := &accountpb.SignOutRequest{Scope: accountpb.SignOutScope_SIGN_OUT_SCOPE_DEVICE, DeviceId: w[1]}
	if scope, ok := accountpb.SignOutScope_value["SIGN_OUT_SCOPE_"+strings.ToUpper(w[1])]; ok {
		req = &accountpb.SignOutRequest{Scope: accountpb.SignOutScope(scope)}
	}
	_, err := d.SignOut(ctx, req)
	return err
}

// until polls done until it says so or ctx ends.
func until(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

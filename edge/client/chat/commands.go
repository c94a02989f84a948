package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
)

const help = `/to NAME        write to NAME, an account name or a user ID
/room NAME      come into a room and write to it; #NAME is the same
/leave [NAME]   go out of that room, or of the one that is written to
/history [N]    the last N messages with that person or of that room (20)
/devices        the devices that are signed in
/signout        sign this device out and leave
/quit           leave, when everything is committed
//text          send "/text"
✓ committed, on the server's disk   ✓✓ delivered to a device   ✗ refused`

// command tells commands from text: "/x" is one, "//x" is the text "/x".
func command(line string) (text string, isCommand bool) {
	rest, slash := strings.CutPrefix(line, "/")
	if !slash {
		return line, false
	}
	return rest, !strings.HasPrefix(rest, "/")
}

// obey does what a command says; leave is true when the program shall end.
func (t *talker) obey(ctx context.Context, text string) (leave bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	name, arg, _ := strings.Cut(text, " ")
	arg = strings.TrimSpace(arg)
	switch name {
	case "to":
		return false, t.turn(ctx, name, arg, t.turnTo)
	case "room":
		return false, t.turn(ctx, name, arg, t.enter)
	case "leave":
		return false, t.leave(ctx, arg)
	case "history":
		return false, t.history(ctx, arg)
	case "devices":
		return false, t.devices(ctx)
	case "signout":
		err := t.signOut(ctx)
		return err == nil, err
	case "quit":
		return true, nil
	case "help":
		for line := range strings.Lines(help) {
			t.screen.notice("%s", strings.TrimSuffix(line, "\n"))
		}
		return false, nil
	}
	t.turnAway() // it may have been to turn to somebody
	return false, fmt.Errorf("there is no command /%s; /help lists them", name)
}

// turn has lines go to a person or into a room. When that fails they go nowhere: what was
// meant for one must not reach whoever was written to before.
func (t *talker) turn(ctx context.Context, command, name string, to func(context.Context, string) error) error {
	var err error
	if name == "" {
		err = fmt.Errorf("/%s needs a name", command)
	} else {
		err = to(ctx, name)
	}
	if err != nil {
		t.turnAway()
	}
	return err
}

// turnAway has lines go nowhere until /to or /room works, and the exit code tell.
func (t *talker) turnAway() { t.to, t.room, t.failed = person{}, "", true }

func (t *talker) history(ctx context.Context, arg string) error {
	n := 20
	if arg != "" {
		var err error
		if n, err = strconv.Atoi(arg); err != nil || n < 1 || n > 500 {
			return errors.New("/history takes a number from 1 to 500")
		}
	}
	if t.room != "" {
		return t.roomHistory(ctx, n)
	}
	if t.to.id == 0 {
		return errors.New("history of what? /to NAME or /room NAME")
	}
	if err := t.caughtUp(ctx); err != nil {
		return err
	}
	rep, err := t.session.History(ctx, &chatpb.HistoryRequest{WithUserId: t.to.id, Limit: int32(n)})
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(rep.Messages) {
		t.screen.message(m.TimeMs, t.name(ctx, m.SenderId), cmp.Or(m.Text, m.Event))
	}
	if len(rep.Messages) == 0 {
		t.screen.notice("nothing yet")
	}
	return nil
}

func (t *talker) devices(ctx context.Context) error {
	devices, err := t.session.Devices(ctx)
	if err != nil {
		return err
	}
	for _, d := range devices {
		t.screen.line("%s", deviceLine(d))
	}
	return nil
}

func deviceLine(d *accountpb.DeviceInfo) string {
	line := d.Device.GetId()
	if n := d.Device.GetName(); n != "" && n != line {
		line += " (" + n + ")"
	}
	switch {
	case d.ThisDevice:
		line += ", this one"
	case d.Online:
		line += ", online"
	}
	return fmt.Sprintf("%s, signed in %s", line, clock(d.SignedInMs))
}

// signOut ends this device. The server closes the session for it, perhaps before
// its answer.
func (t *talker) signOut(ctx context.Context) error {
	if err := t.caughtUp(ctx); err != nil {
		return err
	}
	_, err := t.session.SignOut(ctx, &accountpb.SignOutRequest{})
	if q, quit := errors.AsType[*client.Quit](err); err != nil && !(quit && q.Reason == idl.CloseSignedOut) {
		return err
	}
	t.screen.notice("signed out")
	return t.config.dropToken()
}

// expect makes a client ID for a message of this run.
func (t *talker) expect() string {
	id := rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mine[id] = true
	return id
}

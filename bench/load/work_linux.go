package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"freeim/idl"

	"golang.org/x/sys/unix"
)

const actionHeartbeat = idl.ActionHeartbeat

// Work is a worker process: it obeys the commands on in and answers on out, until
// in ends or ctx does. An error has been told on out as well.
func Work(ctx context.Context, in io.Reader, out io.Writer) error {
	debug.SetGCPercent(400) // most of the heap stays; the servers need the processor
	events := json.NewEncoder(out)
	say := func(e event) { _ = events.Encode(&e) } // a parent that is gone ends in
	commands := make(chan command, 8)
	l, err := newLoop(commands, say)
	if err != nil {
		say(event{Is: isFailure, Failure: err.Error()})
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = os.Stdin.Close() })
	defer stop()
	go func() { // ends with in
		defer func() {
			close(commands)
			l.awake()
		}()
		lines := bufio.NewReaderSize(in, 1<<20)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			var c command
			if err := json.Unmarshal(line, &c); err != nil {
				return
			}
			commands <- c
			l.awake()
		}
	}()
	if err := l.serve(); err != nil {
		say(event{Is: isFailure, Progress: l.progress(), Failure: err.Error()})
		return err
	}
	return nil
}

func (l *loop) awake() { _, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// command takes the commands that wait; open is false when there will be no more.
func (l *loop) command() (open bool, err error) {
	var drop [8]byte
	_, _ = unix.Read(l.wake, drop[:])
	for {
		select {
		case c, open := <-l.commands:
			if !open {
				return false, nil
			}
			if err := l.obey(c); err != nil {
				return false, fmt.Errorf("%s: %w", c.Do, err)
			}
		default:
			return true, nil
		}
	}
}

// obey does a command, or begins to; conclude answers what takes its time.
func (l *loop) obey(c command) error {
	if l.pending != nil {
		return errors.New("the last command is not done")
	}
	if c.Limit == 0 {
		c.Limit = time.Minute
	}
	l.deadline = l.now + int64(c.Limit)
	switch c.Do {
	case doPlan:
		if c.Plan == nil || l.plan.Groups != nil {
			return errors.New("there is no plan, or a second one")
		}
		l.pending = &c
		return l.connect(*c.Plan)
	case doReady, doHold, doDrain:
		l.pending = &c
		if c.Do == doHold {
			return l.mute(false)
		}
		return nil
	case doStart:
		if err := l.mute(true); err != nil {
			return err
		}
		for _, g := range l.groups {
			if pace, given := c.Paces[g.plan.Name]; given {
				g.plan.Window, g.plan.Rate = pace.Window, pace.Rate
				if !g.plan.Spread() { // else the publishers are one worker's
					g.plan.Rate /= float64(max(1, l.plan.Workers))
				}
			}
			g.start(l)
		}
	case doMark:
		l.connects = &Connects{}
		for _, g := range l.groups {
			g.span, g.marked = newResult(g.plan.Name), l.now
		}
	case doCut:
		l.say(event{Is: doCut, Results: l.results(func(g *group) *Result { return g.span })})
		return nil
	case doBreak:
		l.connects = &Connects{}
		l.breaking = true
		for _, s := range l.sessions {
			if s.state != away {
				l.leave(s)
				l.later(s, 0)
			}
		}
		l.breaking = false
	default:
		return errors.New("it is not known")
	}
	l.say(event{Is: c.Do})
	return nil
}

func (l *loop) results(which func(*group) *Result) (all []Result) {
	for _, g := range l.groups {
		r := *which(g)
		if g.marked > 0 {
			r.Seconds = time.Duration(l.now - g.marked).Seconds()
		}
		all = append(all, r)
	}
	return all
}

// mute has the silent sessions read nothing, or read again.
func (l *loop) mute(on bool) error {
	for _, s := range l.sessions {
		if !s.silent || s.state != ready || s.mute == on {
			continue
		}
		s.mute = on
		events := uint32(unix.EPOLLIN)
		if on {
			events = 0
		} else if s.full {
			events |= unix.EPOLLOUT
		}
		if err := l.watch(unix.EPOLL_CTL_MOD, s, events); err != nil {
			return err
		}
	}
	return nil
}

// conclude answers the pending command when what it waits for has come, or its
// time is up.
func (l *loop) conclude() {
	c := l.pending
	if c == nil {
		return
	}
	late := l.now > l.deadline
	switch c.Do {
	case doPlan, doReady:
		if l.ready < l.wanted() && !late {
			return
		}
		if late {
			l.pending = nil
			l.say(event{Is: isFailure, Progress: l.progress(), Failure: fmt.Sprintf("%d of %d sessions were ready in time", l.ready, len(l.sessions))})
			return
		}
		l.say(event{Is: c.Do, Connects: l.connects})
	case doHold:
		done, heads := true, map[string]int64{}
		for _, g := range l.groups {
			done = g.hold() && done
			if g.plan.Spread() {
				heads[g.plan.Room] = max(heads[g.plan.Room], g.head())
			}
		}
		if !done && !late {
			return
		}
		l.say(event{Is: c.Do, Heads: heads})
	case doDrain:
		done := true
		for _, g := range l.groups {
			done = done && g.drained(c.Heads[g.plan.Room], l.now)
		}
		if !done && !late {
			return
		}
		for _, g := range l.groups {
			g.judge(c.Heads[g.plan.Room], l.now)
		}
		l.say(event{Is: c.Do, Results: l.results(func(g *group) *Result { return g.total })})
	}
	l.pending = nil
}

// wanted is how many sessions should be ready: all but those that were closed for
// reading nothing.
func (l *loop) wanted() int {
	n := len(l.sessions)
	for _, g := range l.groups {
		n -= int(g.total.Silenced)
	}
	return n
}

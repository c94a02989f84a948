package session_test

import (
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/frame"
	"freeim/edge/session"
	"freeim/idl"
)

// logLines is a log's lines that were not read yet.
type logLines chan string

func (l logLines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func (l logLines) all() (text string) {
	for len(l) > 0 {
		text += <-l
	}
	return text
}

// TestDrainSaysHowFarItIs: each second and at the end, in numbers that are right.
func TestDrainSaysHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := make(logLines, 16)
		text := slog.NewTextHandler(log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
		w := newWorld(t, session.Options{DrainRate: 1, AuthTimeout: time.Hour, Log: slog.New(text)})
		clients := []*client{w.live(idl.CodecProtobuf, false), w.live(idl.CodecProtobuf, false), w.live(idl.CodecProtobuf, false)}
		for _, c := range clients {
			c.send(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionSync, Sequence: 9}, false)
		}
		done := make(chan error, 1)
		go func() { done <- w.hub.Drain(t.Context()) }()
		for _, want := range []string{ // two have been told by then, and both wait for the core
			"level=INFO msg=draining connections=3 told=2 to_tell=1 in_flight=2\n",
			"level=INFO msg=draining connections=3 told=3 to_tell=0 in_flight=3\n",
		} {
			time.Sleep(time.Second)
			synctest.Wait()
			if got := log.all(); got != want {
				t.Errorf("the log says %q, want %q", got, want)
			}
		}
		for _, call := range w.core.take() {
			w.hub.Reply(answer(call))
		}
		synctest.Wait()
		for _, c := range slices.Backward(clients) {
			c.Closed()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got, want := log.all(), "level=INFO msg=draining connections=0 told=3 to_tell=0 in_flight=0\n"; got != want {
			t.Errorf("in the end the log says %q, want %q", got, want)
		}
	})
}

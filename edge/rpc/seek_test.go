package rpc

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// A source of cores that does not answer is told of once, with the reason, and when it answers again; not each time that it is asked.
func TestLookupIsToldOnce(t *testing.T) {
	var text bytes.Buffer
	l := &Links{log: slog.New(slog.NewTextHandler(&text, nil)), running: t.Context()}
	l.known.Store(new([]*link))
	s := &source{entry: "etcd:core"}
	away := errors.New("no certificate")
	for _, step := range []struct {
		found        []string
		err          error
		warned, back int // by then
	}{
		{[]string{"a:1"}, nil, 0, 0}, {nil, away, 1, 0}, {nil, away, 1, 0}, {nil, nil, 1, 0},
		{[]string{"a:1"}, nil, 1, 1}, {[]string{"a:1"}, nil, 1, 1}, {nil, away, 2, 1},
	} {
		s.find = func(context.Context) ([]string, error) { return step.found, step.err }
		l.update(s)
		if warned, back := strings.Count(text.String(), "cannot be looked up"), strings.Count(text.String(), "looked up again"); warned != step.warned || back != step.back {
			t.Errorf("after %v, %v: told %d times that it is away and %d that it is back, want %d and %d", step.found, step.err, warned, back, step.warned, step.back)
		}
	}
	if !strings.Contains(text.String(), "no certificate") {
		t.Errorf("the reason is not told: %s", text.String())
	}
}

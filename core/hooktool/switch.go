package hooktool

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

func (t *tool) liveOrder(ctx context.Context, f *serverFlags, args []string) error {
	query := url.Values{}
	if len(args) > 0 {
		query.Set("action", args[0])
	}
	var all []orderLine
	if done, err := t.ask(ctx, f, http.MethodGet, "order", query, &all); done || err != nil {
		return err
	}
	return t.showOrder(all, query.Get("action"))
}

func (t *tool) faults(ctx context.Context, args []string) error {
	fs := t.flags()
	f := serversOf(fs)
	if _, err := t.parse(fs, args, 0, 0); err != nil {
		return err
	}
	var all []struct {
		Place, Rule, Kind, Message, Bundle, Sample string
		Count                                      int64
		First, Last                                time.Time
	}
	if done, err := t.ask(ctx, f, http.MethodGet, "errors", nil, &all); done || err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintln(t.Out, "no hook has failed since the server was started")
	}
	for _, one := range all {
		fmt.Fprintf(t.Out, "%s: %s, %s: %s\n", one.Place, one.Kind, count(int(one.Count), "time"), clean(one.Message))
		fmt.Fprintf(t.Out, "  hook %s, bundle %s; first %s, last %s\n", one.Rule, one.Bundle, clock(one.First), clock(one.Last))
		if one.Sample != "" {
			fmt.Fprintf(t.Out, "  first at: %s   (letters are shown as x, digits as 0)\n", one.Sample)
		}
	}
	return nil
}

func (t *tool) off(ctx context.Context, args []string) error { return t.turn(ctx, args, "off") }

func (t *tool) on(ctx context.Context, args []string) error { return t.turn(ctx, args, "on") }

func (t *tool) turn(ctx context.Context, args []string, page string) error {
	fs := t.flags()
	f, by := serversOf(fs), byOf(fs)
	hook := fs.String("hook", "", "only the hook of this `NAME`")
	if _, err := t.parse(fs, args, 0, 0); err != nil {
		return err
	}
	all, err := t.servers(f)
	if err != nil {
		return err
	}
	query := by.query()
	if *hook != "" {
		query.Set("hook", *hook)
	}
	replies := each(ctx, all, http.MethodPost, page, query, nil)
	said, err := decoded[live](replies)
	if err != nil {
		return err
	}
	if t.json {
		return t.answered(replies)
	}
	t.complain(replies)
	what := "all hooks are " + page
	if *hook != "" {
		what = *hook + " is " + page
	}
	for _, s := range all {
		l, ok := said[s.name]
		if !ok {
			continue
		}
		fmt.Fprintf(t.Out, "%s: %s\n", s.whose(l.Node, len(all) > 1), what)
		if l.Status.Off && page == "on" {
			fmt.Fprintln(t.Out, "but all hooks together are off: \"on\" without --hook asks them again")
		}
	}
	return t.someFailed(replies, page)
}

// answered is answers, and errFound if one of several gave none.
func (t *tool) answered(replies []reply) error {
	if err := t.answers(replies); err != nil {
		return err
	}
	if failed(replies) > 0 {
		return errFound
	}
	return nil
}

// someFailed says that what was to be done was not done everywhere.
func (t *tool) someFailed(replies []reply, what string) error {
	switch n := failed(replies); {
	case n == 0:
		return nil
	case len(replies) > 1 && n < len(replies):
		fmt.Fprintf(t.Err, "%s was done on %d of %d servers: mend the others and repeat it; \"status\" with all --server addresses shows where they differ\n", what, len(replies)-n, len(replies))
	}
	return errFound
}

func (t *tool) reload(ctx context.Context, args []string) error {
	fs := t.flags()
	f := serversOf(fs)
	if _, err := t.parse(fs, args, 0, 0); err != nil {
		return err
	}
	return t.decide(ctx, f, "reload", nil, "reload")
}

func (t *tool) resume(ctx context.Context, args []string) error {
	fs := t.flags()
	f, by := serversOf(fs), byOf(fs)
	if _, err := t.parse(fs, args, 0, 0); err != nil {
		return err
	}
	return t.decide(ctx, f, "resume", by.query(), "resume")
}

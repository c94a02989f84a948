package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// heldName is the reviewers' command: it asks a running server.
const heldName = "held"

// reviewTime bounds a question to the server.
const reviewTime = 30 * time.Second

// held lists the messages that wait for a decision, or decides about one.
func (r *run) held(ctx context.Context, args []string) int {
	var err error
	switch {
	case len(args) == 0, len(args) == 1 && args[0] == "list":
		err = r.listHeld(ctx, "")
	case len(args) == 2 && args[0] == "list":
		err = r.listHeld(ctx, args[1])
	case len(args) == 2 && args[0] == "approve":
		err = r.decideHeld(ctx, url.Values{"verdict": {"approve"}, "id": {args[1]}})
	case (len(args) == 2 || len(args) == 3) && args[0] == "deny":
		values := url.Values{"verdict": {"deny"}, "id": {args[1]}}
		if len(args) == 3 {
			values.Set("reason", args[2])
		}
		err = r.decideHeld(ctx, values)
	default:
		fmt.Fprintf(r.Err, "usage: %[1]s -config FILE %[2]s [list [QUEUE]]\n       %[1]s -config FILE %[2]s approve ID\n       %[1]s -config FILE %[2]s deny ID [REASON]\n", r.Program, heldName)
		return Usage
	}
	if err != nil {
		fmt.Fprintf(r.Err, "%s: %s: %v\n", r.Program, heldName, err)
		return Failed
	}
	return Done
}

// heldMessage is one as the server shows it.
type heldMessage struct {
	ID, Conversation, Queue, Text, State, Otherwise, Reason, By string
	Sender                                                      int64
	Since, Deadline                                             time.Time
}

// listHeld prints all that wait, a line each.
func (r *run) listHeld(ctx context.Context, queue string) error {
	after, count := "", 0
	for {
		var page struct {
			Held []heldMessage
			Next string
		}
		err := r.review(ctx, http.MethodGet, url.Values{"queue": {queue}, "after": {after}, "limit": {"100"}}, &page)
		if err != nil {
			return err
		}
		for _, m := range page.Held {
			fmt.Fprintf(r.Out, "%s  %s  %s  from %d in %s  %s at %s  %q\n", m.ID, m.Since.Format(time.RFC3339), m.Queue, m.Sender, m.Conversation,
				m.Otherwise, m.Deadline.Format(time.RFC3339), m.Text)
		}
		count += len(page.Held)
		if after = page.Next; after == "" {
			fmt.Fprintf(r.Err, "%d wait\n", count)
			return nil
		}
	}
}

func (r *run) decideHeld(ctx context.Context, values url.Values) error {
	values.Set("by", cmp.Or(os.Getenv("USER"), "command"))
	var m heldMessage
	if err := r.review(ctx, http.MethodPost, values, &m); err != nil {
		return err
	}
	fmt.Fprintf(r.Out, "%s %s\n", m.ID, m.State)
	return nil
}

// review asks the page /held of the server that the configuration names.
func (r *run) review(ctx context.Context, method string, values url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, reviewTime)
	defer cancel()
	c, err := load(r.Config, os.LookupEnv)
	if err != nil {
		return err
	}
	if c.Admin.Listen == "" {
		return errors.New("the configuration has no admin.listen: nothing can be asked")
	}
	key, err := c.Admin.Secret()
	if err != nil {
		return err
	}
	page := url.URL{Scheme: "http", Host: c.Admin.Listen, Path: "/held", RawQuery: values.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, page.String(), nil)
	if err != nil {
		return err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	// Whatever proxies there are, and following nobody: the key is for the server alone.
	asker := http.Client{Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := asker.Do(req)
	if err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 32<<20))
	if err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return json.Unmarshal(body, into)
	case http.StatusConflict:
		var m heldMessage
		if err := json.Unmarshal(body, &m); err != nil {
			return err
		}
		return fmt.Errorf("%s is %s already, by %s", m.ID, m.State, cmp.Or(m.By, "nobody"))
	}
	return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
}

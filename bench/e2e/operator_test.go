package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/bench/e2e"
	"freeim/conf"
	"freeim/core/archive"
	"freeim/core/plugin"
	"freeim/core/server"
	"freeim/plugins"
)

// This file is what operators do, and their programs: the configuration, the administrative port, backups.

// prepare makes what a story's cores start with: the settings that its first step may give, and their clock.
func (s *stage) prepare(t *testing.T, steps []e2e.Step, on *stores) error {
	settings := ""
	if slices.Equal(steps[0].Words, []string{"core", "is", "configured"}) {
		settings = steps[0].Block
	}
	if strings.Contains(settings, "$RECEIVER") {
		s.receiver = newReceiver(t)
		secret := filepath.Join(on.Dir, "secret")
		if err := os.WriteFile(secret, []byte("what a receiver knows"), 0o600); err != nil {
			return err
		}
		settings = strings.NewReplacer("$RECEIVER", s.receiver.server.URL, "$SECRET", secret).Replace(settings)
	}
	if err := configure(plugins.All(), settings); err != nil {
		return err
	}
	before := on.Core
	on.Core = func(i int, o *server.Options) {
		if before != nil {
			before(i, o)
		}
		o.Now = s.now
		if err := configure(o.Plugins, settings); err != nil {
			t.Error(err) // it could be read above
		}
	}
	return nil
}

// configure reads the section plugins of a configuration.
func configure(all []plugin.Plugin, settings string) error {
	of := struct {
		Plugins map[string]any `yaml:"plugins"`
	}{plugin.Configs(all)}
	return conf.Parse("the story's configuration", []byte(settings), nil, &of)
}

// now is the cores' clock.
func (s *stage) now() time.Time { return time.Now().Add(time.Duration(s.passed.Load())) }

// time passes 1h, for the cores
func (s *stage) passes(d string) error {
	by, err := time.ParseDuration(d)
	s.passed.Add(int64(by))
	return err
}

// core is configured, which prepare has seen to | backed up | taken back
func (s *stage) operate(ctx context.Context, what string) error {
	switch what {
	case "configured":
		return nil
	case "backed up":
		var err error
		s.archive, err = s.backup(ctx)
		return err
	case "taken back":
		return s.takeBack(ctx)
	}
	return fmt.Errorf("no step %q", what)
}

// backup is all that the stores hold of which there is no other copy.
func (s *stage) backup(ctx context.Context) ([]byte, error) {
	w := httptest.NewRecorder()
	s.cluster.Cores[0].Server().Backup().ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/backup", nil))
	if w.Code != http.StatusOK {
		return nil, fmt.Errorf("%d %s", w.Code, w.Body)
	}
	return w.Body.Bytes(), nil
}

// stores have "text" | erased "text", soon: in messages, in tables, and in the hot copies of Redis
func (s *stage) inStores(ctx context.Context, w []string) error {
	gone, text := len(w) == 2 && w[0] == "erased", w[len(w)-1]
	for {
		where, err := s.holding(ctx, text)
		if err != nil {
			return err
		}
		if gone == (len(where) == 0) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is in %q", where)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// inRedis counts the values that hold a text, in all keys.
const inRedis = `local found = 0
local reads = {string = {"GET"}, hash = {"HVALS"}, list = {"LRANGE", 0, -1}, set = {"SMEMBERS"}, zset = {"ZRANGE", 0, -1}}
for _, key in ipairs(redis.call("KEYS", "*")) do
  local how = reads[redis.call("TYPE", key).ok]
  if not how then return redis.error_reply("a key of another type: " .. key) end
  local values = redis.call(how[1], key, unpack(how, 2))
  if type(values) == "string" then values = {values} end
  for _, value in ipairs(values) do
    if string.find(value, ARGV[1], 1, true) then found = found + 1 end
  end
end
return found`

// holding says where the stores hold a text.
func (s *stage) holding(ctx context.Context, text string) (where []string, err error) {
	all, err := s.backup(ctx)
	if err != nil {
		return nil, err
	}
	in, err := archive.NewReader(bytes.NewReader(all))
	if err != nil {
		return nil, err
	}
	for {
		record, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if strings.Contains(fmt.Sprintf("%s", record), text) {
			where = append(where, fmt.Sprintf("%T", record))
		}
	}
	if s.stores.redis != nil {
		found, err := s.stores.redis.Ask(ctx, "EVAL", inRedis, "0", text)
		if err != nil {
			return nil, err
		}
		if found != "0" {
			where = append(where, "Redis")
		}
	}
	return where, nil
}

// takeBack exchanges the stores for others with what the backup has, as the command restore does; the edges stay.
func (s *stage) takeBack(ctx context.Context) error {
	for _, core := range s.cluster.Cores {
		if err := core.Stop(ctx); err != nil {
			return err
		}
	}
	o := server.Options{Plugins: plugins.All(), Config: server.Config{Data: filepath.Join(s.stores.Dir, "data")}}
	empty := func(context.Context) error { return os.RemoveAll(o.Config.Data) }
	if s.stores.empty != nil {
		empty = s.stores.empty
	}
	if err := empty(ctx); err != nil {
		return err
	}
	s.stores.Core(0, &o)
	to, err := server.OpenArchived(ctx, o.Config, o.Plugins, true, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	_, err = archive.Restore(ctx, bytes.NewReader(s.archive), to.Stores, archive.Anew, nil)
	if err := errors.Join(err, to.Close()); err != nil {
		return err
	}
	for _, core := range s.cluster.Cores {
		if err := core.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// writes "text" from news to alice bob as n1 | n1 again, which sends nothing
func (s *stage) writes(ctx context.Context, w []string) error {
	if w[1] == "again" {
		return s.sendsFor(ctx, s.written[w[0]], true)
	}
	to, as := w[4:len(w)-2], w[len(w)-1]
	form := url.Values{"text": {w[0]}, "from": {strconv.FormatInt(s.people[w[2]].id, 10)}, "client_id": {as}, "by": {"rita"}}
	for _, name := range to {
		if at := s.destination(name); at.group != 0 {
			form.Set("conversation", groupConversation(at.group))
		} else {
			form.Add("to", strconv.FormatInt(at.user, 10))
		}
	}
	s.written[as] = form
	return s.sendsFor(ctx, form, false)
}

// sendsFor sends what the form says; each one must be sent, by this call or, if again, by one before.
func (s *stage) sendsFor(ctx context.Context, form url.Values, again bool) error {
	var rep struct {
		Sent []struct {
			MessageID string `json:"message_id"`
			Duplicate bool   `json:"duplicate"`
		} `json:"sent"`
	}
	if err := s.page(ctx, 0, "POST /messages", form, &rep); err != nil {
		return err
	}
	if len(rep.Sent) != max(1, len(form["to"])) {
		return fmt.Errorf("got %+v", rep)
	}
	for _, one := range rep.Sent {
		if one.MessageID == "" || one.Duplicate != again {
			return fmt.Errorf("got %+v", rep)
		}
	}
	return nil
}

// receiver is a program of the operator's that is told of offline pushes.
type receiver struct {
	server *httptest.Server
	told   chan pushed // each once

	mu   sync.Mutex      // guards the field below
	seen map[string]bool // a delivery may come again
}

// pushed is what it is told.
type pushed struct {
	ID   string
	Push plugin.Alert
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{told: make(chan pushed, 1000), seen: map[string]bool{}}
	r.server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		var d struct{ Events []pushed }
		if err := json.NewDecoder(req.Body).Decode(&d); err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range d.Events {
			if !r.seen[e.ID] {
				r.seen[e.ID] = true
				r.told <- e
			}
		}
	}))
	t.Cleanup(r.server.Close)
	return r
}

// is told bob "hello" badge 2 [silent] [mention] [on phone desk] | is told nothing more
func (s *stage) isTold(ctx context.Context, w []string) error {
	if nobody(w[0]) {
		return s.isToldNothing(ctx)
	}
	select {
	case got := <-s.receiver.told:
		p := got.Push
		words := []string{s.nameOf(int64(p.User)), p.Text, "badge", strconv.FormatInt(p.Badge, 10)}
		if p.Silent {
			words = append(words, "silent")
		}
		if p.Mention {
			words = append(words, "mention")
		}
		var on []string
		for _, d := range p.Devices {
			on = append(on, string(d.Device))
		}
		if slices.Contains(w, "on") {
			slices.Sort(on)
			words = append(append(words, "on"), on...)
		}
		if !slices.Equal(words, w) || p.CollapseKey != string(p.Conversation) {
			return fmt.Errorf("got %q, %+v", words, p)
		}
		for _, d := range p.Devices {
			if d.Token != words[0]+"-"+string(d.Device) || d.Provider != "apns" {
				return fmt.Errorf("got the device %+v", d)
			}
		}
		return nil
	case <-ctx.Done():
		return errors.New("it was told nothing")
	}
}

// isToldNothing waits until all that was committed was looked at.
func (s *stage) isToldNothing(ctx context.Context) error {
	var list struct {
		Webhooks []struct{ Pending int64 }
	}
	err := until(ctx, func() (bool, error) {
		err := s.page(ctx, 0, "GET /webhooks", nil, &list)
		return len(list.Webhooks) == 1 && list.Webhooks[0].Pending == 0, err
	})
	if err != nil {
		return fmt.Errorf("got %+v, %w", list, err)
	}
	select {
	case got := <-s.receiver.told:
		return fmt.Errorf("got %+v", got)
	default:
		return nil
	}
}

// registers for pushes
func (s *stage) registers(ctx context.Context, d *device, _ []string) error {
	return d.SetPushToken(ctx, "apns", d.owner.name+"-"+d.name)
}

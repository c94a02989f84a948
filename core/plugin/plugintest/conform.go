package plugintest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"

	"go.uber.org/goleak"
)

// Conform checks what every plugin must keep to, as subtests. make gives a new
// plugin each time, with the default configuration; stubs stand for the services
// it needs. It runs in the plugin's own test, so that README.md is beside it, and
// not in parallel with others, since it looks for goroutines left behind.
func Conform(t *testing.T, make func() plugin.Plugin, stubs ...Stub) {
	c := conformance{make: make, stubs: stubs}
	t.Run("the configuration is named and its defaults are valid", c.configuration)
	t.Run("starting and stopping leaves nothing behind", c.life)
	t.Run("a start that fails later leaves nothing behind", c.failedStart)
	t.Run("migrations run again and change nothing", c.migrations)
	t.Run("actions are named and numbered", c.actions)
	t.Run("README.md lists actions and settings", c.readme)
	t.Run("only open actions are there before Auth", c.access)
	t.Run("any body gets an answer", c.hostileBodies)
	t.Run("a call that is cancelled returns", c.cancelled)
}

type conformance struct {
	make  func() plugin.Plugin
	stubs []Stub
}

func (c conformance) host(t *testing.T) *Host {
	t.Helper()
	return New(t, Options{Plugins: []plugin.Plugin{c.make()}, Stubs: c.stubs})
}

// specs are the subject's own actions: stubs have none.
func (c conformance) specs(t *testing.T) []plugin.Spec { return c.host(t).Actions() }

func (c conformance) configuration(t *testing.T) {
	configurer, ok := c.make().(plugin.Configurer)
	if !ok {
		t.Skip("the plugin has no configuration")
	}
	config := reflect.ValueOf(configurer.Config())
	if config.Kind() != reflect.Pointer || config.Elem().Kind() != reflect.Struct {
		t.Fatalf("Config gives a %T, want a pointer to a struct", configurer.Config())
	}
	for _, key := range keys(config.Elem().Type()) {
		if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(key) {
			t.Errorf("key %q of the configuration is not in snake_case", key)
		}
	}
	c.host(t) // fails unless Validate takes the defaults
}

// keys are the yaml keys of a struct's exported fields, "" for one without.
func keys(config reflect.Type) (names []string) {
	for field := range config.Fields() {
		if field.IsExported() {
			name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			names = append(names, name)
		}
	}
	return names
}

func (c conformance) life(t *testing.T) {
	before := goleak.IgnoreCurrent()
	dir := t.TempDir()
	for range 2 { // the second finds what the first has stored
		h, err := Start(t, Options{Plugins: []plugin.Plugin{c.make()}, Stubs: c.stubs, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		for name, err := range h.Health(t.Context()) {
			if err != nil {
				t.Errorf("plugin %s is not healthy after its start: %v", name, err)
			}
		}
		if err := h.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	goleak.VerifyNone(t, before)
}

// unlucky is a plugin whose Provision fails.
type unlucky struct{}

var errUnlucky = errors.New("planted fault")

func (unlucky) Info() plugin.Info                            { return plugin.Info{Name: "unlucky", Version: "1"} }
func (unlucky) Register(*plugin.Registrar)                   {}
func (unlucky) Provision(context.Context, plugin.Host) error { return errUnlucky }

func (c conformance) failedStart(t *testing.T) {
	before := goleak.IgnoreCurrent()
	h, err := Start(t, Options{Plugins: []plugin.Plugin{c.make(), unlucky{}}, Stubs: c.stubs})
	if !errors.Is(err, errUnlucky) {
		t.Fatalf("got %v, want the planted fault", err)
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

func (c conformance) migrations(t *testing.T) {
	migrator, ok := c.make().(plugin.Migrator)
	if !ok {
		t.Skip("the plugin has no schema")
	}
	h := c.host(t)
	before := schema(t, h)
	if err := h.directory.Migrate(t.Context(), c.make().Info().Name, migrator.Migrations()); err != nil {
		t.Fatal(err)
	}
	if after := schema(t, h); after != before {
		t.Errorf("schema changed from\n%s\nto\n%s", before, after)
	}
	if h.directory.Dialect() != "mysql" {
		return
	}
	// A core that is killed at the end of a migration, which MySQL has committed by then, leaves this.
	table := "goose_" + c.make().Info().Name
	if _, err := h.DB().ExecContext(t.Context(), "DELETE FROM "+table+" ORDER BY version_id DESC LIMIT 1"); err != nil {
		t.Fatal(err)
	}
	if err := h.directory.Migrate(t.Context(), c.make().Info().Name, migrator.Migrations()); err != nil {
		t.Fatalf("the newest migration cannot be run again: %v", err)
	}
	if after := schema(t, h); after != before {
		t.Errorf("run again, the newest migration changed the schema from\n%s\nto\n%s", before, after)
	}
}

// schema is the directory's schema as text, with the versions.
func schema(t *testing.T, h *Host) string {
	t.Helper()
	query := "SELECT coalesce(sql, name) FROM sqlite_master ORDER BY name"
	if h.directory.Dialect() == "mysql" {
		query = "SELECT concat_ws(' ', table_name, column_name, column_type, is_nullable, column_key) FROM information_schema.columns " +
			"WHERE table_schema = database() UNION " +
			"SELECT concat_ws(' ', table_name, index_name, seq_in_index, column_name, non_unique) FROM information_schema.statistics " +
			"WHERE table_schema = database() ORDER BY 1"
	}
	rows, err := h.DB().QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all strings.Builder
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, one)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func (c conformance) actions(t *testing.T) {
	prefix := c.make().Info().Name + "."
	for _, spec := range c.specs(t) {
		verb, ok := strings.CutPrefix(spec.Name, prefix)
		if !ok || !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(verb) {
			t.Errorf("action %d is named %q, want %sverb", spec.Action, spec.Name, prefix)
		}
		if known := wirepb.Action_name[int32(spec.Action)]; known == "" && spec.Action < 120 {
			t.Errorf("action %s has the number %d, which idl/wire.proto does not list", spec.Name, spec.Action)
		}
	}
}

func (c conformance) readme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatalf("every plugin explains itself: %v", err)
	}
	var wanted []string
	for _, heading := range []string{"What it does", "Actions", "Configuration"} {
		wanted = append(wanted, "\n## "+heading+"\n")
	}
	for _, spec := range c.specs(t) {
		wanted = append(wanted, "`"+spec.Name+"`")
	}
	if configurer, ok := c.make().(plugin.Configurer); ok {
		for _, key := range keys(reflect.TypeOf(configurer.Config()).Elem()) {
			wanted = append(wanted, "`"+key+"`")
		}
	}
	for _, want := range wanted {
		if !strings.Contains(string(text), want) {
			t.Errorf("README.md lacks %q", want)
		}
	}
}

func (c conformance) access(t *testing.T) {
	h := c.host(t)
	for _, spec := range h.Actions() {
		for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
			reply, err := h.Connect(codec).Raw(t.Context(), spec.Action, nil)
			if err != nil {
				t.Fatal(err)
			}
			if code := codeOf(t, codec, reply.Action, reply.Body); !spec.Open && code != idl.CodeUnauthenticated {
				t.Errorf("%s before Auth: got %v, want UNAUTHENTICATED", spec.Name, code)
			}
		}
	}
}

func (c conformance) hostileBodies(t *testing.T) {
	h := c.host(t)
	for at, spec := range h.Actions() {
		for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
			for i, body := range HostileBodies(codec) {
				// The race detector, which runs with -short, sees one goroutine here: a third
				// will do, another one for the next action.
				if testing.Short() && (i+at)%3 != 0 {
					continue
				}
				// A session each: a call may well end its own.
				for _, s := range []*Session{h.Connect(codec), h.As(100001, "device", codec)} {
					reply, err := s.Raw(t.Context(), spec.Action, body)
					if err != nil {
						t.Fatal(err)
					}
					if code := codeOf(t, codec, reply.Action, reply.Body); code == idl.CodeInternal || code == idl.CodeUnavailable {
						t.Errorf("%s with body %.80q in %v: %v", spec.Name, body, codec, code)
					}
					s.Close()
				}
			}
		}
	}
}

func (c conformance) cancelled(t *testing.T) {
	h := c.host(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, spec := range h.Actions() {
		for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
			for _, body := range HostileBodies(codec)[:usual] {
				reply, err := h.As(100001, "device", codec).Raw(ctx, spec.Action, body)
				if err != nil {
					t.Fatal(err)
				}
				if code := codeOf(t, codec, reply.Action, reply.Body); code == idl.CodeInternal {
					t.Errorf("%s with body %.80q when cancelled: INTERNAL", spec.Name, body)
				}
			}
		}
	}
}

// codeOf is the code of a reply, 0 for one that is no refusal. A refusal without
// a code is a fault.
func codeOf(t *testing.T, c idl.Codec, action idl.Action, body []byte) idl.Code {
	t.Helper()
	if action != idl.ActionError {
		return 0
	}
	var e wirepb.Error
	if err := idl.Decode(body, c, &e); err != nil {
		t.Fatalf("a refusal cannot be read: %v", err)
	}
	if wirepb.Code_name[int32(e.Code)] == "" || e.Code == idl.CodeUnknown {
		t.Errorf("a refusal has the code %d", e.Code)
	}
	return e.Code
}

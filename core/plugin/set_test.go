package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

var errPlanted = errors.New("planted fault")

// diary notes, for all plugins of a test, what happened in which order.
type diary struct{ lines []string }

// actor is a plugin with all abilities, which fails at the planted step.
type actor struct {
	info  plugin.Info
	diary *diary
	fails string // the step that returns errPlanted
	panic string // the step that panics
	mute  bool   // does not provide what it announces
}

func (a *actor) step(name string) error {
	a.diary.lines = append(a.diary.lines, name+" "+a.info.Name)
	if a.panic == name {
		panic("planted panic")
	}
	if a.fails == name {
		return errPlanted
	}
	return nil
}

func (a *actor) Info() plugin.Info { return a.info }

func (a *actor) Migrations() fs.FS {
	_ = a.step("migrations") // cannot return an error
	return fstest.MapFS{}
}

func (a *actor) Provision(_ context.Context, h plugin.Host) error {
	for _, name := range a.info.Provides {
		if !a.mute {
			h.Provide(name, a)
		}
	}
	for _, name := range a.info.Needs {
		if _, err := plugin.Need[*actor](h, name); err != nil {
			return err
		}
	}
	return a.step("provision")
}

func (a *actor) Register(r *plugin.Registrar) {
	_ = a.step("register") // cannot return an error
	plugin.Handle(r, idl.ActionFindUser, "find", func(context.Context, *plugin.Call, *accountpb.FindUserRequest) (*accountpb.FindUserReply, error) {
		return &accountpb.FindUserReply{}, nil
	})
}

func (a *actor) Validate() error                { return a.step("validate") }
func (a *actor) Start(context.Context) error    { return a.step("start") }
func (a *actor) Drain(context.Context) error    { return a.step("drain") }
func (a *actor) Stop(ctx context.Context) error { return errors.Join(ctx.Err(), a.step("stop")) }
func (a *actor) Health(context.Context) error   { return a.step("health") }

// bare is a plugin with none of the optional abilities.
type bare struct{}

func (bare) Info() plugin.Info          { return plugin.Info{Name: "bare"} }
func (bare) Register(*plugin.Registrar) {}

// stage is a Host that offers services and nothing else.
type stage struct {
	plugin.Host
	*plugin.Services
	name string
}

func (s stage) Provide(name string, service any)          { s.Services.Provide(s.name, name, service) }
func (s stage) Service(name string) (service any, _ bool) { return s.Services.Service(name) }

func hosts() func(plugin.Info) plugin.Host {
	services := plugin.NewServices()
	return func(info plugin.Info) plugin.Host { return stage{Services: services, name: info.Name} }
}

// cast is three plugins, each needing what the one before provides.
func cast() (*diary, []*actor) {
	d := &diary{}
	return d, []*actor{
		{diary: d, info: plugin.Info{Name: "one", Provides: []string{"one.x"}}},
		{diary: d, info: plugin.Info{Name: "two", Needs: []string{"one.x"}, Provides: []string{"two.x"}}},
		{diary: d, info: plugin.Info{Name: "three", Needs: []string{"two.x", "one.x"}}},
	}
}

func set(t *testing.T, actors []*actor) *plugin.Set {
	t.Helper()
	plugins := []plugin.Plugin{bare{}}
	for _, a := range actors {
		plugins = append(plugins, a)
	}
	s, err := plugin.NewSet(plugins)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func noMigration(context.Context, string, fs.FS) error { return nil }

func TestWholeLife(t *testing.T) {
	d, actors := cast()
	s := set(t, actors)
	specs, err := s.Start(t.Context(), hosts(), noMigration)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, spec := range specs {
		names = append(names, spec.Name)
	}
	if want := []string{"one.find", "two.find", "three.find"}; !slices.Equal(names, want) {
		t.Errorf("got actions %q, want %q", names, want)
	}
	if err := errors.Join(s.Drain(t.Context()), s.Stop(t.Context()), s.Stop(t.Context())); err != nil {
		t.Error(err)
	}
	var want []string
	for _, step := range []string{"migrations", "provision", "validate", "register", "start"} {
		want = append(want, step+" one", step+" two", step+" three")
	}
	for _, step := range []string{"drain", "stop"} {
		want = append(want, step+" three", step+" two", step+" one")
	}
	if !slices.Equal(d.lines, want) {
		t.Errorf("got %q\nwant %q", d.lines, want)
	}
}

// TestFaultAtEveryStep plants a fault in each plugin and step in turn: the start
// fails, names both, and stops exactly those whose Provision was called.
func TestFaultAtEveryStep(t *testing.T) {
	type fault struct {
		step     string
		named    string // in the error
		canPanic bool   // and cannot fail
	}
	for _, f := range []fault{
		{"migrations", "migrate", true}, {"provision", "provision", false}, {"validate", "validate", false},
		{"register", "register", true}, {"start", "start", false},
	} {
		for at := range 3 {
			for _, panics := range []bool{false, true} {
				if !panics && f.canPanic {
					continue
				}
				t.Run(fmt.Sprintf("%s %d panics %v", f.step, at, panics), func(t *testing.T) {
					d, actors := cast()
					if panics {
						actors[at].panic = f.step
					} else {
						actors[at].fails = f.step
					}
					checkFailedStart(t, d, actors, actors[at].info.Name, f.step, f.named, panics)
				})
			}
		}
	}
}

func checkFailedStart(t *testing.T, d *diary, actors []*actor, at, step, named string, panics bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a start that was given up must still be cleaned up
	s := set(t, actors)
	specs, err := s.Start(ctx, hosts(), noMigration)
	if err == nil || specs != nil {
		t.Fatalf("got %d actions and %v, want an error", len(specs), err)
	}
	if !strings.Contains(err.Error(), named+" plugin "+at+":") {
		t.Errorf("got %q, want step %s and plugin %s named", err, named, at)
	}
	if panics != strings.Contains(err.Error(), "planted panic") || panics == errors.Is(err, errPlanted) {
		t.Errorf("got %q, want the planted fault in it", err)
	}
	if errors.Is(err, context.Canceled) {
		t.Errorf("cleanup ran with a context that has ended: %v", err)
	}
	var stopped, want []string
	for _, line := range d.lines {
		if name, ok := strings.CutPrefix(line, "provision "); ok {
			want = append([]string{name}, want...)
		}
		if name, ok := strings.CutPrefix(line, "stop "); ok {
			stopped = append(stopped, name)
		}
	}
	if !slices.Equal(stopped, want) {
		t.Errorf("stopped %q, want %q", stopped, want)
	}
	for _, line := range d.lines[slices.Index(d.lines, step+" "+at)+1:] {
		if !strings.HasPrefix(line, "stop ") {
			t.Errorf("after the fault came %q", line)
		}
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("a further Stop: %v", err)
	}
}

func TestFailedMigrationStopsNobody(t *testing.T) {
	d, actors := cast()
	_, err := set(t, actors).Start(t.Context(), hosts(), func(_ context.Context, name string, _ fs.FS) error {
		if name == "two" {
			return errPlanted
		}
		return nil
	})
	if !errors.Is(err, errPlanted) || !strings.Contains(err.Error(), "migrate plugin two") {
		t.Errorf("got %v", err)
	}
	if want := []string{"migrations one", "migrations two"}; !slices.Equal(d.lines, want) {
		t.Errorf("got %q, want %q", d.lines, want)
	}
}

// TestStopGoesOn has plugins fail and panic at the end of their life: all others
// are still drained and stopped, and no error is lost.
func TestStopGoesOn(t *testing.T) {
	d, actors := cast()
	s := set(t, actors)
	if _, err := s.Start(t.Context(), hosts(), noMigration); err != nil {
		t.Fatal(err)
	}
	d.lines = nil
	actors[2].fails, actors[1].panic = "drain", "drain"
	if err := s.Drain(t.Context()); !errors.Is(err, errPlanted) || !strings.Contains(err.Error(), "drain plugin two: panic") {
		t.Errorf("got %v, want both faults", err)
	}
	actors[2].panic, actors[1].panic, actors[1].fails = "stop", "", "stop"
	if err := s.Stop(t.Context()); !errors.Is(err, errPlanted) || !strings.Contains(err.Error(), "stop plugin three: panic") {
		t.Errorf("got %v, want both faults", err)
	}
	want := []string{"drain three", "drain two", "drain one", "stop three", "stop two", "stop one"}
	if !slices.Equal(d.lines, want) {
		t.Errorf("got %q, want %q", d.lines, want)
	}
}

func TestHealth(t *testing.T) {
	_, actors := cast()
	s := set(t, actors)
	if _, err := s.Start(t.Context(), hosts(), noMigration); err != nil {
		t.Fatal(err)
	}
	actors[1].fails, actors[2].panic = "health", "health"
	health := s.Health(t.Context())
	if len(health) != 4 || health["bare"] != nil || health["one"] != nil || !errors.Is(health["two"], errPlanted) || health["three"] == nil {
		t.Errorf("got %v", health)
	}
}

func TestNewSetRefuses(t *testing.T) {
	named := func(infos ...plugin.Info) (all []plugin.Plugin) {
		for _, info := range infos {
			all = append(all, &actor{info: info, diary: &diary{}})
		}
		return all
	}
	for _, test := range []struct {
		name    string
		plugins []plugin.Plugin
		want    []string // in the error
	}{
		{"a name twice", named(plugin.Info{Name: "a"}, plugin.Info{Name: "a"}), []string{"two plugins", "a"}},
		{"no name", named(plugin.Info{}), []string{"plugin name"}},
		{"a name in capitals", named(plugin.Info{Name: "Chat"}), []string{"Chat"}},
		{"a need that nobody meets", named(plugin.Info{Name: "chat", Needs: []string{"x.y"}}), []string{"chat", "x.y", "no plugin provides"}},
		{"a need that a later one meets", named(plugin.Info{Name: "chat", Needs: []string{"x.y"}}, plugin.Info{Name: "x", Provides: []string{"x.y"}}), []string{"chat", "x.y", "list x first"}},
		{"a need of its own", named(plugin.Info{Name: "chat", Needs: []string{"x.y"}, Provides: []string{"x.y"}}), []string{"chat", "x.y"}},
		{"a service twice", named(plugin.Info{Name: "a", Provides: []string{"x.y"}}, plugin.Info{Name: "b", Provides: []string{"x.y"}}), []string{"x.y", "plugin a", "plugin b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := plugin.NewSet(test.plugins)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestAnnouncedServicesAreProvided(t *testing.T) {
	_, actors := cast()
	actors[1].mute = true
	_, err := set(t, actors).Start(t.Context(), hosts(), noMigration)
	if err == nil || !strings.Contains(err.Error(), `plugin two: service "two.x" was announced`) {
		t.Errorf("got %v", err)
	}
}

// sneaky provides a service that it did not announce and that another has.
type sneaky struct{ bare }

func (sneaky) Info() plugin.Info { return plugin.Info{Name: "sneaky"} }
func (sneaky) Provision(_ context.Context, h plugin.Host) error {
	h.Provide("one.x", "mine")
	return nil
}

func TestServiceProvidedTwiceNamesBoth(t *testing.T) {
	_, actors := cast()
	s, err := plugin.NewSet([]plugin.Plugin{actors[0], sneaky{}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Start(t.Context(), hosts(), noMigration)
	if err == nil || !strings.Contains(err.Error(), "plugin one") || !strings.Contains(err.Error(), "sneaky") {
		t.Errorf("got %v, want both named", err)
	}
}

func TestAfterRunsOnceAndInOrder(t *testing.T) {
	var ran []int
	var call plugin.Call
	for i := range 3 {
		call.After(func() { ran = append(ran, i) })
	}
	if len(ran) != 0 {
		t.Errorf("%v ran before Finish", ran)
	}
	call.Finish()
	call.Finish()
	if !slices.Equal(ran, []int{0, 1, 2}) {
		t.Errorf("got %v, want each once and in order", ran)
	}
}

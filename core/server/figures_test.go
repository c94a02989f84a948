package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"freeim/core/hooks"
	"freeim/scripts/engine"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestSeriesOfRules: rules that are edited all day make no new series, but for the one
// that says which bundle is active.
func TestSeriesOfRules(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	write := func(reason string) {
		t.Helper()
		source := `local im = require("im")
im.on_message(function(c) return im.deny("rejected", "` + reason + `") end, {name = "denies", on_error = "open"})`
		if err := os.WriteFile(filepath.Join(dir, "a.lua"), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	e, err := engine.New(engine.Options{Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	registry := prometheus.NewRegistry()
	if err := registry.Register(newRuleFigures(e, hooks.NewEffects(log, hooks.Means{}))); err != nil {
		t.Fatal(err)
	}
	ask := func() {
		t.Helper()
		text := "hi"
		if v := e.Ask(t.Context(), engine.Before, &engine.Call{Action: "chat.send", Text: &text}); !v.Denied() {
			t.Fatalf("got %+v", v)
		}
	}
	ask()
	before := series(t, registry)
	if !slices.Contains(before, "freeim_rules_verdicts_total hook=denies slot=active verdict=denied") {
		t.Errorf("got %q", before)
	}
	for _, reason := range []string{"two", "three"} {
		write(reason)
		if _, err := e.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		ask()
		for _, one := range series(t, registry) {
			if !slices.Contains(before, one) && !strings.HasPrefix(one, "freeim_rules_bundle_info ") && !strings.HasPrefix(one, "freeim_rules_reload_total ") {
				t.Errorf("after a reload there is the new series %s", one)
			}
		}
	}
	report, err := e.Prepare(t.Context(), map[string]string{"a.lua": `local im = require("im") im.on_message(function(c) end, {name = "denies", on_error = "open"})`}, engine.By{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Activate(t.Context(), report.Prepared, engine.Policy{Mode: engine.ModeShadow}, engine.By{}); err != nil {
		t.Fatal(err)
	}
	if all := series(t, registry); !slices.Contains(all, "freeim_rules_calls_total hook=denies slot=shadow") || !slices.Contains(all, "freeim_rules_calls_total hook=denies slot=active") {
		t.Errorf("with a candidate there are %q", all)
	}
}

// series lists what a registry shows: names and labels.
func series(t *testing.T, r prometheus.Gatherer) (all []string) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			one := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				one = append(one, l.GetName()+"="+l.GetValue())
			}
			all = append(all, strings.Join(one, " "))
		}
	}
	return all
}

// What waits for a decision is shown as the plugins count it.
func TestHeldFigures(t *testing.T) {
	want := `# HELP freeim_held_messages Messages that rules hold: waiting for a decision, or behind one that is.
# TYPE freeim_held_messages gauge
freeim_held_messages{state="behind"} 2
freeim_held_messages{state="waiting"} 3
`
	if err := testutil.CollectAndCompare(heldFigures{func() (waiting, behind int64) { return 3, 2 }}, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

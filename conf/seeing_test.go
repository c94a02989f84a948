package conf_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// listed are the metrics of METRICS.md with their types, and those of the client
// library that what is checked here may use.
func listed(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{
		"up": "gauge", "go_goroutines": "gauge", "process_resident_memory_bytes": "gauge", "process_cpu_seconds_total": "counter", "process_open_fds": "gauge",
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| ([a-z]+) \\|").FindAllStringSubmatch(string(page), -1) {
		types[row[1]] = row[2]
	}
	return types
}

var (
	asked = regexp.MustCompile(`\b(?:freeim|go|process)_[a-z0-9_]+\b`)
	text  = regexp.MustCompile(`"[^"]*"`)
)

// check holds a query to the list: what it asks for is there, and a counter is
// asked for its growth.
func check(t *testing.T, where, query string, types map[string]string) {
	t.Helper()
	names := asked.FindAllStringIndex(text.ReplaceAllStringFunc(query, func(s string) string { return strings.Repeat("_", len(s)) }), -1)
	if len(names) == 0 && !strings.HasPrefix(query, "up{") {
		t.Errorf("%s asks for no metric: %s", where, query)
	}
	for _, at := range names {
		name := query[at[0]:at[1]]
		base := name
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			if cut, ok := strings.CutSuffix(name, part); ok && types[cut] == "histogram" {
				base = cut
			}
		}
		before := query[:at[0]]
		grows := strings.HasSuffix(before, "rate(") || strings.HasSuffix(before, "increase(")
		switch kind := types[base]; {
		case kind == "":
			t.Errorf("%s asks for %s, which METRICS.md does not list", where, name)
		case kind == "histogram" && base == name:
			t.Errorf("%s asks for the histogram %s itself", where, name)
		case (kind == "gauge") == grows:
			t.Errorf("%s asks for %s, a %s, in the wrong way: %s", where, name, kind, query)
		}
	}
}

// The dashboard is what Grafana takes, and asks for what there is.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile("grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title      string `json:"title"`
		Templating struct {
			List []struct{ Name, Type string } `json:"list"`
		} `json:"templating"`
		Panels []struct {
			ID         int                  `json:"id"`
			Type       string               `json:"type"`
			Title      string               `json:"title"`
			GridPos    struct{ W, X int }   `json:"gridPos"`
			Datasource struct{ UID string } `json:"datasource"`
			Targets    []struct {
				Expr       string               `json:"expr"`
				Datasource struct{ UID string } `json:"datasource"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	if len(board.Templating.List) == 0 || board.Templating.List[0].Name != "datasource" || board.Templating.List[0].Type != "datasource" {
		t.Error("the data source is no variable")
	}
	types, ids, seen := listed(t), map[int]bool{}, map[string]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q: its number is used twice, or it is too wide", p.Title)
		}
		ids[p.ID] = true
		if p.Type != "row" && (len(p.Targets) == 0 || p.Datasource.UID != "${datasource}") {
			t.Errorf("panel %q has no query, or a data source of its own", p.Title)
		}
		for _, target := range p.Targets {
			check(t, "panel "+p.Title, target.Expr, types)
			for _, name := range asked.FindAllString(target.Expr, -1) {
				seen[name] = true
			}
		}
	}
	for _, must := range []string{ // what the issue names
		"freeim_edge_sessions_live", "freeim_edge_frames_total", "freeim_actions_total", "freeim_timeline_commit_seconds_bucket",
		"freeim_fanout_seconds_bucket", "freeim_fanout_queue", "freeim_edge_closed_total", "freeim_unroutable_sessions",
		"freeim_link_batches_total", "freeim_timeline_errors_total",
	} {
		if !seen[must] {
			t.Errorf("no panel shows %s", must)
		}
	}
}

// The alerts are what Prometheus takes, and ask for what there is.
func TestAlerts(t *testing.T) {
	data, err := os.ReadFile("prometheus-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	types, names := listed(t), map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			check(t, "alert "+r.Alert, r.Expr, types)
			if names[r.Alert] || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("alert %s: its name is used twice, or it has no severity or summary", r.Alert)
			}
			names[r.Alert] = true
		}
	}
	if len(names) < 5 {
		t.Errorf("got only %d alerts", len(names))
	}
	page, err := os.ReadFile("RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		told[name] = len(strings.TrimSpace(text)) > 100
		if !names[name] {
			t.Errorf("RUNBOOK.md has a section %s, and there is no such alert", name)
		}
	}
	for name := range names {
		if !told[name] {
			t.Errorf("RUNBOOK.md does not say what to do at %s", name)
		}
	}
}

// Prometheus' own tool reads the alerts.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("SKIPPED: alerts as Prometheus reads them: there is no promtool")
	}
	if out, err := exec.Command(tool, "check", "rules", "prometheus-alerts.yml").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

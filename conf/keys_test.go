package conf_test

import (
	"slices"
	"testing"

	"freeim/conf"
)

func TestKeys(t *testing.T) {
	c := defaults()
	want := []conf.Key{
		{Path: "log.level", Env: "FREEIM_LOG_LEVEL", Default: "INFO"},
		{Path: "log.format", Env: "FREEIM_LOG_FORMAT", Default: "text"},
		{Path: "edge.tcp", Env: "FREEIM_EDGE_TCP", Default: ":7070"},
		{Path: "edge.max_sessions", Env: "FREEIM_EDGE_MAX_SESSIONS", Default: "1000"},
		{Path: "edge.queue", Env: "FREEIM_EDGE_QUEUE", Default: "256KiB"},
		{Path: "edge.heartbeat", Env: "FREEIM_EDGE_HEARTBEAT", Default: "30s"},
		{Path: "edge.ratio", Env: "FREEIM_EDGE_RATIO", Default: "0"},
		{Path: "edge.small", Env: "FREEIM_EDGE_SMALL", Default: "0"},
		{Path: "edge.echo", Env: "FREEIM_EDGE_ECHO", Default: "false"},
		{Path: "edge.cores", Env: "FREEIM_EDGE_CORES", Default: "[a, b]"},
		{Path: "edge.ports", Env: "FREEIM_EDGE_PORTS", Default: "[]"},
		{Path: "edge.peers", Env: "FREEIM_EDGE_PEERS", Default: "[]"},
		{Path: "edge.labels", Env: "FREEIM_EDGE_LABELS", Default: "{}"},
		{Path: "edge.limits", Env: "FREEIM_EDGE_LIMITS", Default: "{}"},
		{Path: "core.listen", Env: "FREEIM_CORE_LISTEN", Default: `""`},
		{Path: "core.size", Env: "FREEIM_CORE_SIZE", Default: "0"},
		{Path: "core.zone", Env: "FREEIM_CORE_ZONE", Default: `""`},
		{Path: "plugins.chat.max_text", Env: "FREEIM_PLUGINS_CHAT_MAX_TEXT", Default: "5000"},
		{Path: "plugins.my-plugin.max_text", Env: "FREEIM_PLUGINS_MY_PLUGIN_MAX_TEXT", Default: "0"},
	}
	if got := conf.Keys(&c); !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// TestKeysAreWhatParseReads holds that each default, written out, is read back.
func TestKeysAreWhatParseReads(t *testing.T) {
	for _, k := range conf.Keys(new(defaults())) {
		c := defaults()
		if err := conf.Parse("f.yaml", nil, []string{k.Env + "=" + unquoted(k.Default)}, &c); err != nil {
			t.Errorf("%s: %v", k.Path, err)
		}
		if got := conf.Keys(&c); !slices.Contains(got, k) {
			t.Errorf("%s: got %q, want it unchanged", k.Path, got)
		}
	}
}

func unquoted(text string) string {
	if text == `""` {
		return ""
	}
	return text
}

func TestAbsent(t *testing.T) {
	tests := []struct {
		name, yaml string
		want       []string
	}{
		{"nothing given", "", []string{"edge.name", "edge.port", "core.listen", "core.size", "core.zone"}},
		{"sections alone", "edge: {}\ncore:\n", []string{"edge.name", "edge.port", "core.listen", "core.size", "core.zone"}},
		{"some", "edge: {port: 1}\ncore: {size: 1, listen: x, zone: a}", []string{"edge.name"}},
		{"all", "edge: {name: x, port: 1}\ncore: {size: 1, listen: x, zone: a}", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c struct {
				Edge peer  `yaml:"edge"`
				Core *core `yaml:"core"`
			}
			keys, err := conf.Absent([]byte(tt.yaml), &c)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range keys {
				got = append(got, k.Path)
			}
			if !slices.Equal(got, tt.want) || c.Core != nil {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	if _, err := conf.Absent([]byte("a: ]"), new(defaults())); err == nil {
		t.Error("got no error for what is no YAML")
	}
}

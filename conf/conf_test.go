package conf_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"freeim/conf"
)

// config has every type of field, as a process's own configuration would.
type config struct {
	Log     conf.Log       `yaml:"log"`
	Edge    edge           `yaml:"edge"`
	Core    *core          `yaml:"core"`
	Plugins map[string]any `yaml:"plugins"`

	unset  string
	Secret string // without a tag: no configuration
}

type edge struct {
	TCP       string            `yaml:"tcp"`
	Sessions  int               `yaml:"max_sessions"`
	Queue     conf.Size         `yaml:"queue"`
	Heartbeat time.Duration     `yaml:"heartbeat"`
	Ratio     float64           `yaml:"ratio"`
	Small     uint8             `yaml:"small"`
	Echo      bool              `yaml:"echo"`
	Cores     []string          `yaml:"cores"`
	Ports     []int             `yaml:"ports"`
	Peers     []peer            `yaml:"peers"`
	Labels    map[string]string `yaml:"labels"`
	Limits    map[string]peer   `yaml:"limits"`
}

type peer struct {
	Name string `yaml:"name"`
	Port int    `yaml:"port"`
}

type core struct {
	Listen string     `yaml:"listen"`
	Size   *conf.Size `yaml:"size"`
	Place  place      `yaml:",inline"`
}

type place struct {
	Zone string `yaml:"zone"`
}

type chat struct {
	MaxText int `yaml:"max_text"`
}

func defaults() config {
	return config{
		Log:     conf.DefaultLog(),
		Edge:    edge{TCP: ":7070", Sessions: 1000, Queue: 256 << 10, Heartbeat: 30 * time.Second, Cores: []string{"a", "b"}},
		Plugins: map[string]any{"chat": &chat{MaxText: 5000}, "my-plugin": &chat{}},
	}
}

func TestParseOverTheDefaults(t *testing.T) {
	size := conf.Size(1 << 30)
	tests := []struct {
		name    string
		yaml    string
		environ []string
		want    func(*config)
	}{
		{"nothing", "", nil, func(*config) {}},
		{"comments", "# nothing\n", nil, func(*config) {}},
		{"empty sections", "log:\nedge:\ncore:\nplugins:\n  chat:\n", nil, func(*config) {}},
		{"values", `
log: {level: debug, format: json}
edge:
  tcp: "127.0.0.1:1"
  max_sessions: 1_000_000
  queue: 64KiB
  heartbeat: 1m30s
  ratio: 0.5
  small: 0x1f
  echo: true
`, nil, func(c *config) {
			c.Log = conf.Log{Level: slog.LevelDebug, Format: "json"}
			c.Edge.TCP, c.Edge.Sessions, c.Edge.Queue, c.Edge.Heartbeat = "127.0.0.1:1", 1_000_000, 64<<10, 90*time.Second
			c.Edge.Ratio, c.Edge.Small, c.Edge.Echo = 0.5, 31, true
		}},
		{"plain numbers", "edge: {queue: 512, heartbeat: 0, ratio: 2}", nil, func(c *config) {
			c.Edge.Queue, c.Edge.Heartbeat, c.Edge.Ratio = 512, 0, 2
		}},
		{"lists and maps", `
edge:
  cores: [x]
  ports: []
  peers: [{name: n, port: 1}, {port: 2}]
  labels: {b: "2", a: "1"}
  limits: {one: {port: 1}}
`, nil, func(c *config) {
			c.Edge.Cores, c.Edge.Ports, c.Edge.Peers = []string{"x"}, []int{}, []peer{{"n", 1}, {"", 2}}
			c.Edge.Labels, c.Edge.Limits = map[string]string{"a": "1", "b": "2"}, map[string]peer{"one": {Port: 1}}
		}},
		{"section that was not there", "core: {listen: x, size: 1GiB}", nil, func(c *config) { c.Core = &core{Listen: "x", Size: &size} }},
		{"keys of a struct within a section", "core: {zone: a}", nil, func(c *config) { c.Core = &core{Place: place{"a"}} }},
		{"variable of a struct within a section", "", []string{"FREEIM_CORE_ZONE=a"}, func(c *config) { c.Core = &core{Place: place{"a"}} }},
		{"section that is there, empty", "core: {}", nil, func(c *config) { c.Core = &core{} }},
		{"plugin", "plugins: {chat: {max_text: 7}}", nil, func(c *config) { c.Plugins["chat"] = &chat{7} }},
		{"variables", "edge: {tcp: file}", []string{
			"FREEIM_EDGE_TCP=variable", "FREEIM_EDGE_MAX_SESSIONS=7", "FREEIM_EDGE_QUEUE=1MiB", "FREEIM_EDGE_HEARTBEAT=5s",
			"FREEIM_EDGE_ECHO=true", "FREEIM_LOG_LEVEL=warn", "FREEIM_PLUGINS_MY_PLUGIN_MAX_TEXT=9", "PATH=/bin", "BROKEN",
		}, func(c *config) {
			c.Edge.TCP, c.Edge.Sessions, c.Edge.Queue, c.Edge.Heartbeat, c.Edge.Echo = "variable", 7, 1<<20, 5*time.Second, true
			c.Log.Level, c.Plugins["my-plugin"] = slog.LevelWarn, &chat{9}
		}},
		{"variables are text", "", []string{"FREEIM_EDGE_TCP=8080"}, func(c *config) { c.Edge.TCP = "8080" }},
		{"empty variable", "", []string{"FREEIM_EDGE_TCP=", "FREEIM_EDGE_CORES="}, func(c *config) { c.Edge.TCP, c.Edge.Cores = "", []string{} }},
		{"lists and maps in variables", "", []string{
			"FREEIM_EDGE_CORES=x, y=z", "FREEIM_EDGE_PORTS=[1, 2]", `FREEIM_EDGE_LABELS={a: "1"}`, "FREEIM_EDGE_PEERS=[{name: n}]",
		}, func(c *config) {
			c.Edge.Cores, c.Edge.Ports = []string{"x", "y=z"}, []int{1, 2}
			c.Edge.Labels, c.Edge.Peers = map[string]string{"a": "1"}, []peer{{Name: "n"}}
		}},
		{"variable below a section that was not there", "", []string{"FREEIM_CORE_SIZE=1GiB"}, func(c *config) { c.Core = &core{Size: &size} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, want := defaults(), defaults()
			if err := conf.Parse("f.yaml", []byte(tt.yaml), tt.environ, &got); err != nil {
				t.Fatal(err)
			}
			if tt.want(&want); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name string
		yaml string
		want string
	}{
		{"unknown key", "edge:\n  tpc: x", "f.yaml:2: edge.tpc is not known; the nearest is edge.tcp"},
		{"unknown section", "egde: {}", "f.yaml:1: egde is not known; the nearest is edge"},
		{"key of another section", "listen: x", "f.yaml:1: listen is not known; the nearest is core.listen"},
		{"key of the section before one elsewhere", "core: {lsten: x}", "f.yaml:1: core.lsten is not known; the nearest is core.listen"},
		{"unknown plugin", "plugins: {caht: {}}", "f.yaml:1: plugins.caht is not known; the nearest is plugins.chat"},
		{"unknown key of a plugin", "plugins: {chat: {maxtext: 1}}", "f.yaml:1: plugins.chat.maxtext is not known; the nearest is plugins.chat.max_text"},
		{"unknown key in a list", "edge:\n  peers:\n    - name: x\n      prot: 1", "f.yaml:4: edge.peers[0].prot is not known; the nearest is edge.peers[0].port"},
		{"field without a tag", "Secret: x", "f.yaml:1: Secret is not known; the nearest is edge"},
		{"merge key", "edge: {<<: {tcp: x}}", "f.yaml:1: edge.<< is not known; the nearest is edge.tcp"},
		{"twice", "edge:\n  tcp: a\n  echo: true\n  tcp: b", "f.yaml:4: edge.tcp is given twice, first in line 2"},
		{"section twice", "core: {}\nedge: {}\ncore: {}", "f.yaml:3: core is given twice, first in line 1"},
		{"twice in a map", "edge: {labels: {a: x, a: y}}", "f.yaml:1: edge.labels.a is given twice, first in line 1"},
		{"text for a number", "edge: {max_sessions: many}", `f.yaml:1: edge.max_sessions is "many", not a whole number`},
		{"quoted number", `edge: {max_sessions: "7"}`, `f.yaml:1: edge.max_sessions is "7", not a whole number`},
		{"fraction for a number", "edge: {max_sessions: 1.5}", `f.yaml:1: edge.max_sessions is 1.5, not a whole number`},
		{"number out of range", "edge: {small: 256}", `f.yaml:1: edge.small is 256: out of range`},
		{"negative for unsigned", "edge: {small: -1}", `f.yaml:1: edge.small is -1: not a whole number from 0`},
		{"text for a fraction", "edge: {ratio: half}", `f.yaml:1: edge.ratio is "half": not a number`},
		{"number for text", "edge: {tcp: 8080}", `f.yaml:1: edge.tcp is a number without quotes, not text`},
		{"bool for text", "edge: {tcp: yes}\nlog: {format: true}", `f.yaml:2: log.format is true: not text or json`},
		{"text for a bool", "edge: {echo: on}", `f.yaml:1: edge.echo is "on", not true or false`},
		{"no value", "edge:\n  tcp:\n  echo: true", `f.yaml:2: edge.tcp is empty, not text`},
		{"list for a value", "edge: {tcp: [a]}", "f.yaml:1: edge.tcp is a list, not text"},
		{"section for a value", "edge: {queue: {}}", "f.yaml:1: edge.queue is a section, not one value"},
		{"value for a list", "edge: {cores: a}", `f.yaml:1: edge.cores is text, not a list`},
		{"value for a section", "edge: 7", "f.yaml:1: edge is a number, not a section"},
		{"list for a section", "core: []", "f.yaml:1: core is a list, not a section"},
		{"value for a map", "edge: {labels: x}", `f.yaml:1: edge.labels is text, not a map`},
		{"wrong item of a list", "edge:\n  ports:\n    - 1\n    - x", `f.yaml:4: edge.ports[1] is "x", not a whole number`},
		{"wrong value of a map", "edge: {limits: {a: {port: x}}}", `f.yaml:1: edge.limits.a.port is "x", not a whole number`},
		{"duration without a unit", "edge: {heartbeat: 30}", "f.yaml:1: edge.heartbeat is 30: not a duration such as 10s, 5m or 2h30m"},
		{"size of a thousand", "edge: {queue: 64KB}", `f.yaml:1: edge.queue is "64KB": not a size such as 512, 64KiB, 16MiB or 1GiB`},
		{"negative size", "edge: {queue: -1}", `f.yaml:1: edge.queue is -1: not a size such as 512, 64KiB, 16MiB or 1GiB`},
		{"level", "log: {level: loud}", `f.yaml:1: log.level is "loud": slog: level string "loud": unknown name`},
		{"root is a list", "- edge", "f.yaml:1: the configuration is a list, not a section"},
		{"key is a list", "edge: {[a]: 1}", "f.yaml:1: edge has a key that is a list, not a word"},
		{"alias", "edge:\n  tcp: &a x\nlog:\n  format: *a", "f.yaml:4: log.format is an alias: write the value out, in quotes if it begins with *"},
		{"alias as a section", "edge: &e {tcp: x}\ncore: *e", "f.yaml:2: core is an alias: write the value out, in quotes if it begins with *"},
		{"alias of itself", "edge: &e {labels: *e}", "f.yaml:1: edge.labels is an alias: write the value out, in quotes if it begins with *"},
		{"second document", "edge: {}\n---\ncore: {}", "f.yaml:2: the configuration ends where a second document begins"},
		{"not YAML", "edge:\n  tcp: x\n tcp", "f.yaml: not valid YAML: line 2: did not find expected key"},
		{"tab", "edge:\n\ttcp: x", "f.yaml: not valid YAML: line 2: found character that cannot start any token"},
		{"unknown anchor", "edge: *x", "f.yaml: not valid YAML: an alias, *, of nothing: put a value that begins with * in quotes"},
		{"not UTF-8", "edge: {tcp: \xff}", "f.yaml: not valid YAML: invalid leading UTF-8 octet"},
		{"all faults at once", "edge:\n  tpc: x\n  echo: 7\n", "f.yaml:2: edge.tpc is not known; the nearest is edge.tcp\n" +
			"f.yaml:3: edge.echo is 7, not true or false"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := defaults()
			if err := conf.Parse("f.yaml", []byte(tt.yaml), nil, &c); err == nil || err.Error() != tt.want {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

func TestParseRefusesVariables(t *testing.T) {
	tests := []struct{ name, variable, want string }{
		{"unknown", "FREEIM_EDGE_TPC=x", "FREEIM_EDGE_TPC is not known; the nearest is FREEIM_EDGE_TCP"},
		{"a section", "FREEIM_EDGE=x", "FREEIM_EDGE is not known; the nearest is FREEIM_EDGE_TCP"},
		{"prefix alone", "FREEIM_=x", "FREEIM_ is not known; the nearest is FREEIM_EDGE_TCP"},
		{"lower case", "FREEIM_edge_tcp=x", "FREEIM_edge_tcp is not known; the nearest is FREEIM_EDGE_TCP"},
		{"number", "FREEIM_EDGE_MAX_SESSIONS=many", `FREEIM_EDGE_MAX_SESSIONS: edge.max_sessions is "many": not a whole number`},
		{"empty number", "FREEIM_EDGE_MAX_SESSIONS=", `FREEIM_EDGE_MAX_SESSIONS: edge.max_sessions is "": not a whole number`},
		{"bool", "FREEIM_EDGE_ECHO=yes", `FREEIM_EDGE_ECHO: edge.echo is "yes": not true or false`},
		{"duration", "FREEIM_EDGE_HEARTBEAT=30", `FREEIM_EDGE_HEARTBEAT: edge.heartbeat is "30": not a duration such as 10s, 5m or 2h30m`},
		{"item of a list", "FREEIM_EDGE_PORTS=1,x", `FREEIM_EDGE_PORTS: edge.ports[1] is "x": not a whole number`},
		{"YAML of a list", "FREEIM_EDGE_PORTS=[1", "FREEIM_EDGE_PORTS: not valid YAML: line 1: did not find expected ',' or ']'"},
		{"map", "FREEIM_EDGE_LABELS=x", `FREEIM_EDGE_LABELS: edge.labels is text, not a map`},
		{"key of a section in a list", "FREEIM_EDGE_PEERS=[{prot: 1}]", "FREEIM_EDGE_PEERS: edge.peers[0].prot is not known; the nearest is edge.peers[0].port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := defaults()
			if err := conf.Parse("f.yaml", nil, []string{tt.variable}, &c); err == nil || err.Error() != tt.want {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

func TestParseRefusesAVariableOfTwoKeys(t *testing.T) {
	c := struct {
		Plugins map[string]any `yaml:"plugins"`
	}{map[string]any{"my-chat": &chat{}, "my_chat": &chat{}}}
	const want = "FREEIM_PLUGINS_MY_CHAT_MAX_TEXT could mean plugins.my-chat.max_text or plugins.my_chat.max_text: give them in the file"
	if err := conf.Parse("f.yaml", nil, []string{"FREEIM_PLUGINS_MY_CHAT_MAX_TEXT=1"}, &c); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := conf.Parse("f.yaml", nil, nil, &c); err != nil {
		t.Errorf("without the variable: %v", err)
	}
}

func TestParseRefusesWhereThereAreNoKeys(t *testing.T) {
	var c struct{}
	const want = "f.yaml:1: edge is not known; there are no keys here"
	if err := conf.Parse("f.yaml", []byte("edge: {}"), nil, &c); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestParseRefusesFieldsThatItCannotRead(t *testing.T) {
	var c struct {
		Wait chan int `yaml:"wait"`
	}
	const want = "f.yaml:1: wait cannot be read into a chan int"
	if err := conf.Parse("f.yaml", []byte("wait: 1"), nil, &c); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edge.yaml")
	if err := os.WriteFile(path, []byte("edge: {tcp: x, echo: 1}"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FREEIM_EDGE_TPC", "y")
	t.Setenv("FREEIM_EDGE_TCP", "z")
	c := defaults()
	err := conf.Load(path, os.LookupEnv, &c)
	want := path + ":1: edge.echo is 1, not true or false\nFREEIM_EDGE_TPC is not known; the nearest is FREEIM_EDGE_TCP"
	if err == nil || err.Error() != want || c.Edge.TCP != "z" {
		t.Errorf("got %q and %v, want z and %s", c.Edge.TCP, err, want)
	}
	none := func(string) (string, bool) { return "", false }
	if err := conf.Load(path+".not", none, &c); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "read the configuration: ") {
		t.Errorf("got %v, want that there is no such file", err)
	}
}

// A program that reads a part of another one's file leaves the rest alone, and is
// as strict with its own.
func TestLoadPart(t *testing.T) {
	type part struct {
		Core *core `yaml:"core"`
	}
	for _, row := range []struct {
		name, text string
		env        map[string]string
		want       []string // in the error; none: loaded
	}{
		{"others' sections", "log: {level: 7}\nedge:\n  nothing: [known]\ncore:\n  listen: here\nplugins: text\n",
			map[string]string{"FREEIM_EDGE_TCP": ":1", "FREEIM_PLUGINS_CHAT": "x"}, nil},
		{"an unknown key of its own", "edge: {}\ncore:\n  listen: here\n  lisen: x\n", nil, []string{"core.lisen", "listen"}},
		{"an unknown variable of its own", "core: {listen: here}\n", map[string]string{"FREEIM_CORE_LISEN": "x"}, []string{"FREEIM_CORE_LISEN"}},
		{"a broken file", "edge: {\n", nil, []string{"not valid YAML"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.yaml")
			if err := os.WriteFile(path, []byte(row.text), 0o600); err != nil {
				t.Fatal(err)
			}
			for name, value := range row.env {
				t.Setenv(name, value)
			}
			var c part
			err := conf.LoadPart(path, os.LookupEnv, &c)
			if len(row.want) == 0 && (err != nil || c.Core == nil || c.Core.Listen != "here") {
				t.Errorf("got %+v, %v", c.Core, err)
			}
			for _, want := range row.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want an error with %q", err, want)
				}
			}
		})
	}
}

// What stands where it does not fit may be a password: no fault shows it.
func TestFaultsKeepSecrets(t *testing.T) {
	type site struct {
		Key   string `yaml:"key"`
		MySQL struct {
			DSN       string   `yaml:"dsn"`
			Addresses []string `yaml:"addresses"`
		} `yaml:"mysql"`
	}
	for _, file := range []string{
		"key: 73313373", "key: 0x73313373", "key: 73313373.5", "key: 7331-12-24", "key: *s73313373", "key: {s73313373: 1", "key: [s73313373]",
		"mysql: u:s73313373@tcp(db)/im", "mysql: {addresses: 'redis://u:s73313373@db'}", "mysql:\n  dsn u:s73313373@tcp(db)/im",
		"key: @s73313373", "key: `s73313373", "key: \"s73313373", "key: &s73313373",
	} {
		err := conf.Parse("f.yaml", []byte(file), nil, new(site))
		if err == nil || strings.Contains(err.Error(), "7331") {
			t.Errorf("%q: got %v", file, err)
		}
	}
}

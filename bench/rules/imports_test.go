package rules

import (
	"slices"
)

// The bodies that everyone may read: the generated messages, without services.
const (
	bodies   = "idl idl/kitex_gen/wirepb idl/kitex_gen/accountpb idl/kitex_gen/chatpb idl/kitex_gen/roompb idl/kitex_gen/socialpb idl/kitex_gen/grouppb idl/kitex_gen/momentpb idl/kitex_gen/filepb"
	service  = "idl/kitex_gen/corepb idl/kitex_gen/corepb/core"
	contract = bodies + " idl/files conf/roots core/im core/plugin core/timeline core/presence"
)

// sees says what a directory may import of this repository, and what its tests
// may beside that. A directory that is not listed is an error: decide where it
// belongs before it grows.
type sees struct{ code, tests string }

// inside is the architecture. Read it from the bottom of the house to the top.
var inside = map[string]sees{
	"idl":          {"idl/kitex_gen/wirepb", bodies + " " + service + " core/im edge/frame"}, // its test vectors are run by whoever decodes them
	"idl/openapi":  {"idl", bodies + " core/plugin plugins"},                                 // its tests describe all actions
	"idl/files":    {"", ""},
	"core/im":      {"idl", ""},
	"conf":         {"", ""},
	"conf/tracing": {"", ""},
	"conf/roots":   {"", ""},
	"conf/etcd":    {"conf/roots", ""},
	"edge/ws":      {"", ""},
	"edge/proxy":   {"", ""},
	"edge/limits":  {"", ""},
	"edge/certs":   {"", ""},
	"edge/web":     {"", bodies + " edge/frame bench/e2e/browser"},

	// The core.
	"core/presence":              {"core/im idl", "core/presence/presencetest"},
	"core/presence/presencetest": {"core/im core/presence idl", ""},
	"core/timeline":              {"core/im", ""},
	"core/timeline/timelinetest": {"core/im core/timeline", ""},
	"core/plugin":                {"core/im core/presence core/timeline idl idl/files", bodies},
	"core/plugin/plugintest":     {contract + " core/dispatch core/sql core/pebble core/redis core/limit core/engines core/hooks scripts/engine", ""},
	"core/pebble":                {"core/im core/timeline", "core/timeline/timelinetest"},
	"core/sql":                   {"conf/roots core/im core/timeline", "core/engines core/timeline/timelinetest"},
	"core/engines":               {"", ""},
	"core/limit":                 {"", ""},
	"core/heap":                  {"", ""},
	"core/redis":                 {"conf/roots core/im core/limit core/plugin core/presence core/timeline idl", "core/engines core/pebble core/presence/presencetest core/sql core/timeline/timelinetest"},
	"core/dispatch":              {"core/im core/plugin idl idl/kitex_gen/wirepb", bodies},
	"core/hooks":                 {"core/im core/plugin idl idl/kitex_gen/wirepb scripts/engine scripts/pages", contract + " core/dispatch core/limit"},
	"core/fanout":                {"core/im core/plugin core/presence idl", bodies},
	"core/rpc":                   {contract + " conf/etcd core/dispatch core/fanout " + service, ""},
	"core/archive":               {"core/im core/sql core/timeline", "core/engines core/pebble"},
	"core/admin":                 {"", ""},
	"core/command":               {"conf core/archive core/hooktool core/plugin core/server core/timeline", "core/admin core/im core/engines plugins"},
	"core/hooktool":              {"core/hooks core/plugin scripts/engine scripts/pages", "core/admin core/im idl"},
	"core/server":                {contract + " core/archive core/dispatch core/fanout core/hooks core/rpc core/limit core/redis core/sql core/pebble scripts/engine scripts/pages", "conf core/engines"},
	"core":                       {"conf conf/tracing core/admin core/command core/heap core/plugin core/server plugins", ""},
	"scripts/engine":             {"scripts/engine/pattern scripts/engine/strlib scripts/engine/syntax scripts/engine/texts scripts/engine/wordlist", ""},
	"scripts/engine/pattern":     {"", ""},
	"scripts/engine/strlib":      {"scripts/engine/pattern", ""},
	"scripts/engine/syntax":      {"", ""},
	"scripts/engine/texts":       {"", ""},
	"scripts/engine/wordlist":    {"scripts/engine/texts", ""},
	"scripts/pages":              {"scripts/engine", ""},
	"scripts/stubs":              {"scripts/engine", ""},

	// The plugins see the contract only, and never each other.
	"plugins/account": {contract, "core/plugin/plugintest core/dispatch"},
	"plugins/chat":    {contract, "core/plugin/plugintest core/dispatch"},
	"plugins/file":    {contract, "core/plugin/plugintest core/dispatch"},
	"plugins/moment":  {contract, "core/plugin/plugintest core/dispatch"},
	"plugins/room":    {contract, "core/plugin/plugintest core/dispatch"},
	"plugins/group":   {contract, "core/plugin/plugintest core/dispatch"},
	"plugins/social":  {contract, "core/plugin/plugintest core/dispatch"},
	"plugins/webhook": {contract, "core/plugin/plugintest"},
	"plugins":         {"core/plugin plugins/account plugins/chat plugins/room plugins/social plugins/group plugins/moment plugins/file plugins/webhook", contract + " core/plugin/plugintest"},

	// The edge.
	"edge/frame":             {"idl", bodies},
	"edge/room":              {"edge/frame idl idl/kitex_gen/roompb", ""},
	"edge/session":           {"edge/limits edge/frame edge/room edge/ws idl idl/kitex_gen/wirepb", bodies},
	"edge/gateway":           {"edge/limits edge/frame edge/proxy edge/session edge/ws idl", bodies + " edge/room"},
	"edge/files":             {"edge/limits edge/session idl idl/files idl/kitex_gen/wirepb", bodies},
	"edge/api":               {"edge/session idl idl/kitex_gen/wirepb idl/openapi", bodies + " edge/gateway edge/limits edge/room"},
	"edge/rpc":               {"conf/etcd edge/room edge/session idl idl/kitex_gen/roompb idl/kitex_gen/wirepb " + service, contract + " core/dispatch core/fanout core/rpc core/engines core/redis edge/frame edge/limits"}, // against a real core
	"edge/hooks":             {"edge/session idl idl/kitex_gen/wirepb scripts/engine scripts/pages", bodies + " edge/frame edge/gateway edge/room"},
	"edge/client":            {"edge/frame " + bodies, "edge/client/clienttest"},
	"edge/client/chat":       {"edge/client " + bodies, "edge/client/clienttest edge/frame"},
	"edge/client/clienttest": {"edge/frame " + bodies, ""},

	// The places that join edge and core: nothing imports them.
	"edge":              {"edge/limits conf conf/etcd conf/tracing core/admin core/command core/heap core/plugin core/server edge/api edge/certs edge/files edge/gateway edge/hooks edge/rpc edge/session edge/web plugins plugins/account plugins/file idl idl/files", bodies + " core/engines edge/client edge/frame"},
	"bench/cluster":     {"core/engines core/server edge/api edge/files edge/gateway edge/rpc edge/session edge/web idl/files plugins plugins/file", ""},
	"bench":             {"bench/cluster bench/e2e/browser bench/limit bench/load bench/people bench/proc bench/report core/engines edge/client " + bodies, ""},
	"bench/history":     {"", ""},
	"bench/limit":       {"edge/frame " + bodies, ""},
	"bench/report":      {"", ""},
	"bench/people":      {"core/sql plugins/account", bodies + " bench/cluster core/heap core/server edge/client edge/room edge/rpc edge/session"},
	"bench/proc":        {"", ""},
	"bench/load":        {bodies + " bench/people edge/frame", ""},
	"bench/e2e":         {"", bodies + " conf conf/tracing bench/cluster bench/e2e/browser bench/history core/archive core/engines core/plugin core/server core/sql edge/client edge/frame plugins plugins/file plugins/group plugins/room plugins/webhook scripts/engine"},
	"bench/e2e/browser": {"", ""},
	"bench/rules":       {"", "core/plugin idl/openapi plugins"},
}

// mains may be imported by nobody outside bench: wiring stays where it is.
const mains = "core edge bench bench/cluster scripts/stubs"

// homes says where an outside package, or any below it, may be imported. One that
// is not listed is an error.
var homes = map[string]string{
	"github.com/cloudwego/netpoll":        "edge/gateway",
	"github.com/cloudwego/kitex":          "edge/rpc core/rpc",
	"github.com/yuin/gopher-lua":          "scripts/engine scripts/engine/strlib scripts/engine/syntax",
	"github.com/fsnotify/fsnotify":        "scripts/engine",
	"github.com/maypok86/otter":           "scripts/engine",
	"github.com/cockroachdb/pebble":       "core/pebble",
	"modernc.org/sqlite":                  "core/sql",
	"github.com/pressly/goose":            "core/sql",
	"github.com/sony/gobreaker":           "core/hooks",
	"go.yaml.in/yaml":                     "conf",
	"github.com/gobwas/ws":                "edge/ws edge/client edge/client/clienttest",
	"github.com/golang-jwt/jwt":           "plugins/account",
	"github.com/MicahParks/jwkset":        "plugins/account",
	"github.com/minio/minio-go":           "plugins/file",
	"golang.org/x/crypto":                 "plugins/account edge/certs",
	"golang.org/x/text":                   "plugins/account plugins/chat plugins/room plugins/group plugins/social scripts/engine/texts",
	"golang.org/x/time":                   "plugins/account edge/gateway",
	"golang.org/x/sys":                    "edge/gateway core/rpc edge/rpc bench/limit bench/load bench/proc",
	"github.com/redis/go-redis":           "core/redis",
	"github.com/go-sql-driver/mysql":      "core/sql core/engines",
	"github.com/kitex-contrib":            "edge/rpc core/rpc conf/etcd conf/tracing",
	"go.etcd.io/etcd":                     "edge/rpc core/rpc",
	"go.opentelemetry.io/otel":            "conf/tracing core/dispatch core/hooks core/rpc core/server core/sql core/redis core/pebble edge/session edge/rpc bench/cluster",
	"github.com/prometheus/client_golang": "core edge core/sql core/redis core/admin core/server core/dispatch core/fanout core/rpc core/pebble core/plugin/plugintest edge/api edge/files edge/hooks edge/session edge/gateway edge/rpc scripts/engine",
	"github.com/HdrHistogram":             "bench/report",
	"github.com/getkin/kin-openapi":       "",                       // tests only
	"github.com/cloudwego/prutal":         "",                       // generated code only
	"go.uber.org/goleak":                  "core/plugin/plugintest", // and every test
}

// anyTest are the outside packages that every test may use; a few more are
// listed with the directory whose tests need them.
const anyTest = "go.uber.org/goleak github.com/prometheus/client_golang"

var testHomes = map[string]string{
	"github.com/gobwas/ws":     "edge edge/gateway edge/session edge/web bench/e2e", // as another WebSocket client than ours
	"go.opentelemetry.io/otel": "bench/e2e",
	// Reads the OpenAPI document as other tools do.
	"github.com/getkin/kin-openapi": "idl/openapi bench/e2e",
}

// checkImports compares every import with the tables above.
func checkImports(t *tree) (found []string) {
	for _, s := range t.sources {
		row, listed := inside[s.dir]
		if !listed {
			found = append(found, t.at(s.Package, "directory %s is not in the import table (bench/rules/imports_test.go)", s.dir))
			continue
		}
		for _, i := range s.imports() {
			if problem := judge(s, row, i); problem != "" {
				found = append(found, t.at(i.pos, "%s", problem))
			}
		}
	}
	return found
}

// judge says what is wrong with one import, if anything is.
func judge(s source, row sees, i imported) string {
	switch {
	case i.outside != "" && !athome(s, i.outside):
		return s.dir + " may not import " + i.outside
	case i.inside == "" || s.test && i.inside == s.dir:
		return ""
	case in(i.inside, mains) && !under(s.dir, "bench"):
		return i.inside + " is wiring and may not be imported"
	case in(i.inside, row.code) || s.test && in(i.inside, row.tests):
		return ""
	}
	return s.dir + " may not import " + module + "/" + i.inside
}

// athome reports whether the source may import an outside package.
func athome(s source, outside string) bool {
	for home, dirs := range homes {
		if !under(outside, home) {
			continue
		}
		return in(s.dir, dirs) || s.test && (in(home, anyTest) || in(s.dir, testHomes[home]))
	}
	return false
}

// checkTable holds the table itself to the four import rules, so that a line
// added in haste does not bend them.
func checkTable(*tree) (found []string) {
	roots := []string{"edge", "bench/cluster", "bench/e2e", "bench/rules"}
	for dir, row := range inside {
		for p := range inside {
			if !in(p, row.code) || slices.Contains(roots, dir) {
				continue
			}
			switch {
			case under(dir, "edge") && under(p, "core"), under(dir, "core") && under(p, "edge"):
				found = append(found, dir+" and "+p+" must not meet: edge and core join in idl (rule 1)")
			case under(dir, "plugins") && dir != "plugins" && !in(p, contract):
				found = append(found, dir+" sees "+p+", which is not the contract (rule 2)")
			}
		}
	}
	return found
}

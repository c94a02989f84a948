package rules

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// rules are all of them, by what they say.
var rules = []struct {
	name  string
	check func(*tree) []string
}{
	{"every import is in the table", checkImports},
	{"the table keeps the import rules", checkTable},
	{"every package has one package comment", checkPackageComments},
	{"no init, no context.TODO, no sleeping tests", checkWords},
	{"directories are named after what is in them", checkDirectories},
	{"plugins list their actions", checkPlugins},
	{"actions can be described", checkDescription},
	{"scripts have cases", checkScripts},
	{"metrics are listed", checkMetrics},
	{"migrations have numbers without gaps", checkMigrations},
	{"README.md is whole", checkReadme},
	{"no paths of one machine", checkPaths},
	{"no large files", checkSizes},
}

func TestRepository(t *testing.T) {
	repository, err := load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(repository.sources) < 50 {
		t.Fatalf("only %d Go files found: not the repository", len(repository.sources))
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for _, finding := range rule.check(repository) {
				t.Error(finding)
			}
		})
	}
}

// Every rule finds what is planted, at its line, and leaves the good alone.
func TestPlanted(t *testing.T) {
	for _, row := range []struct {
		name  string
		check func(*tree) []string
		files map[string]string
		want  []string // beginnings, in any order
	}{
		{"migrations", checkMigrations, map[string]string{
			"plugins/a/migrations/00001_a.sql": "", "plugins/a/migrations/00002_b.mysql.sql": "", "plugins/a/migrations/00002_b.sqlite.sql": "",
			"plugins/b/migrations/00001_a.sql": "", "plugins/b/migrations/00003_c.sql": "", "plugins/c/migrations/x.sql": "",
		}, []string{"plugins/b/migrations/00003_c.sql: there is no 2", "plugins/c/migrations/x.sql: has no number"}},
		{"metrics", checkMetrics, map[string]string{
			"conf/METRICS.md": "| `freeim_a_spelt_total` | counter | | x |\n| `freeim_b_made` | gauge | | x |\n| `freeim_gone` | gauge | | x |\n",
			"core/a/x.go": "package a\nimport \"github.com/prometheus/client_golang/prometheus\"\nvar o = prometheus.Opts{Name: \"freeim_a_spelt_total\"}\n" +
				"func f() {\ndesc := func(name, help string) { g(\"freeim_b_\" + name) }\ndesc(\"made\", \"help\")\ndesc(\"unlisted\", \"help\")\n" +
				"own := func(name string) { g(name) }\nown(\"freeim_c\")\n}",
		}, []string{"core/a/x.go:7: the metric freeim_b_unlisted", "core/a/x.go:9: the metric freeim_c", "conf/METRICS.md: lists freeim_gone"}},
		{"good imports", checkImports, map[string]string{
			"plugins/chat/x.go":      "package chat\nimport \"freeim/core/plugin\"\nimport \"fmt\"",
			"plugins/chat/x_test.go": "package chat_test\nimport \"freeim/plugins/chat\"\nimport \"freeim/core/plugin/plugintest\"\nimport \"go.uber.org/goleak\"",
			"edge/gateway/x.go":      "package gateway\nimport \"github.com/cloudwego/netpoll\"\nimport \"freeim/edge/ws\"",
			"core/pebble/x.go":       "package pebble\nimport db \"github.com/cockroachdb/pebble/v2/vfs\"",
			"bench/cluster/x.go":     "package cluster\nimport \"freeim/core/server\"\nimport \"freeim/edge/gateway\"",
		}, nil},
		{"a plugin sees another", checkImports, map[string]string{
			"plugins/chat/x.go": "package chat\n\nimport \"freeim/plugins/account\"",
		}, []string{"plugins/chat/x.go:3: plugins/chat may not import freeim/plugins/account"}},
		{"a plugin sees an adapter", checkImports, map[string]string{
			"plugins/chat/x.go": "package chat\nimport \"freeim/core/pebble\"",
		}, []string{"plugins/chat/x.go:2: "}},
		{"a plugin's code sees plugintest", checkImports, map[string]string{
			"plugins/chat/x.go": "package chat\nimport \"freeim/core/plugin/plugintest\"",
		}, []string{"plugins/chat/x.go:2: "}},
		{"edge sees core", checkImports, map[string]string{
			"edge/session/x.go": "package session\nimport (\n\t\"fmt\"\n\t\"freeim/core/im\"\n)",
		}, []string{"edge/session/x.go:4: edge/session may not import freeim/core/im"}},
		{"core sees edge", checkImports, map[string]string{
			"core/fanout/x.go": "package fanout\nimport \"freeim/edge/session\"",
		}, []string{"core/fanout/x.go:2: "}},
		{"netpoll away from home", checkImports, map[string]string{
			"edge/frame/x.go": "package frame\nimport \"github.com/cloudwego/netpoll\"",
		}, []string{"edge/frame/x.go:2: edge/frame may not import github.com/cloudwego/netpoll"}},
		{"a service away from home", checkImports, map[string]string{
			"edge/session/x.go": "package session\nimport \"freeim/idl/kitex_gen/corepb\"",
		}, []string{"edge/session/x.go:2: "}},
		{"an outside package that nobody agreed on", checkImports, map[string]string{
			"core/sql/x_test.go": "package sql\nimport \"github.com/stretchr/testify/require\"",
		}, []string{"core/sql/x_test.go:2: "}},
		{"goleak in code", checkImports, map[string]string{
			"core/sql/x.go": "package sql\nimport \"go.uber.org/goleak\"",
		}, []string{"core/sql/x.go:2: "}},
		{"wiring imported", checkImports, map[string]string{
			"core/server/x_test.go": "package server\nimport \"freeim/bench/cluster\"",
		}, []string{"core/server/x_test.go:2: bench/cluster is wiring"}},
		{"a directory nobody listed", checkImports, map[string]string{
			"core/queue/x.go": "package queue",
		}, []string{"core/queue/x.go:1: directory core/queue is not in the import table"}},
		{"generated code is exempt", checkImports, map[string]string{
			"idl/kitex_gen/newpb/x.go": "package newpb\nimport \"github.com/cloudwego/prutal\"",
		}, nil},
		{"package comments", checkPackageComments, map[string]string{
			"a/one.go": "// Package a is good.\npackage a", "a/two.go": "package a", "a/x_test.go": "// A test.\npackage a_test",
			"b/one.go": "package b",
			"c/one.go": "// Package c is good.\npackage c", "c/two.go": "\n// Package c says it twice.\npackage c",
		}, []string{"b/one.go:1: package b has no", "c/two.go:2: a second"}},
		{"words", checkWords, map[string]string{
			"a/a.go":         "package a\nimport \"context\"\nfunc init() {}\nvar c = context.TODO()\ntype T int\nfunc (T) init() {}",
			"a/b_test.go":    "package a\nimport \"time\"\nfunc f() {\n\ttime.Sleep(1)\n}",
			"a/sync_test.go": "package a\nimport \"testing/synctest\"\nimport \"time\"\nfunc g() { time.Sleep(1); synctest.Wait() }",
		}, []string{"a/a.go:3: func init", "a/a.go:4: context.TODO", "a/b_test.go:4: time.Sleep"}},
		{"directories", checkDirectories, map[string]string{
			"core/x.txt": "", "pkg/a/x.txt": "", "core/util/deep/x.txt": "", "notes.txt": "", ".ci/run": "", "Makefile": "",
		}, []string{"pkg: the top level", "pkg: name a directory", "core/util: name a directory", "notes.txt: the top level"}},
		{"a plugin that is not compiled in", checkPlugins, map[string]string{
			"plugins/poll/README.md": "",
		}, []string{"plugins/poll/README.md: the plugin is not in plugins.All", "plugins/chat/README.md: every plugin", "plugins/account/README.md: every plugin", "plugins/moment/README.md: every plugin", "plugins/file/README.md: every plugin", "plugins/room/README.md: every plugin", "plugins/group/README.md: every plugin", "plugins/social/README.md: every plugin", "plugins/webhook/README.md: every plugin"}},
		{"actions", func(t *tree) []string {
			return comparePlugin(t, "chat", map[string]bool{
				"chat.send (3)": true, "chat.ack (4)": true, "chat.look (5, open before Auth)": true, "chat.hide (6)": true,
			})
		}, map[string]string{
			"plugins/chat/README.md": "| name | number |\n|---|---|\n| `chat.send` | 3 | |\n| chat.look | 5 | yes |\n| chat.hide | 6 | yes | |\n| chat.recall | 7 | |\n",
		}, []string{
			"plugins/chat/README.md: does not list the action chat.ack (4)", "plugins/chat/README.md: lists chat.recall (7)",
			"plugins/chat/README.md: does not list the action chat.hide (6)", "plugins/chat/README.md: lists chat.hide (6, open",
		}},
		{"scripts", checkScripts, map[string]string{
			"scripts/a/good.lua": "", "scripts/a/good_test.lua": "", "scripts/a/bare.lua": "", "scripts/im.d.lua": "",
			"scripts/a/byname.lua": "", "scripts/engine/x_test.go": "package engine\nconst x = \"a/byname.lua\"",
		}, []string{"scripts/a/bare.lua: has no case"}},
		{"readme", checkReadme, map[string]string{
			"README.md": "make run\n@@" + "PICTURE@@\n",
		}, []string{"README.md: does not name make test", "README.md: @@" + "PICTURE@@"}},
		{"machine paths", checkPaths, map[string]string{
			"a.md": "fine: edge/root/x, ./words/x, https://x/home/y\nsee /ro" + "ot/go/pkg and \"/t" + "mp/x\"\n",
		}, []string{"a.md:2: "}},
		{"large files", checkSizes, map[string]string{
			"a.bin": strings.Repeat("x", 1<<20+1), "b.bin": "x",
		}, []string{"a.bin: larger"}},
		{"what git ignores", checkDirectories, map[string]string{
			".gitignore": "# run\ndata/\n*.prof\n", "data/x": "", "cpu.prof": "", "core/mem.prof": "",
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range row.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			planted, err := load(root)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, row.check(planted), row.want)
		})
	}
}

// compare demands a finding for each beginning in want, and none beside.
func compare(t *testing.T, found, want []string) {
	t.Helper()
	for _, beginning := range want {
		i := slices.IndexFunc(found, func(f string) bool { return strings.HasPrefix(f, beginning) })
		if i < 0 {
			t.Errorf("got %q, want a finding %q", found, beginning)
			continue
		}
		found = slices.Delete(slices.Clone(found), i, i+1)
	}
	for _, f := range found {
		t.Errorf("unexpected finding %q", f)
	}
}

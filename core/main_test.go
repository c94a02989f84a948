package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"freeim/conf"
	"freeim/conf/tracing"
	"freeim/core/plugin"
	"freeim/core/server"
	"freeim/plugins"
)

// The committed file holds every key, with the value it has when left out.
func TestCommittedFileHoldsEveryDefault(t *testing.T) {
	fresh := func() config {
		c := config{Log: conf.DefaultLog(), Admin: conf.DefaultAdmin(), Tracing: tracing.Default(), Core: server.DefaultConfig(), Plugins: plugin.Configs(plugins.All())}
		c.Admin.Listen = "127.0.0.1:9091" // beside an edge on the same machine
		c.Core.ID = ""
		return c
	}
	want, got := fresh(), fresh()
	data, err := os.ReadFile("../conf/core.yaml")
	if err != nil {
		t.Fatal(err)
	}
	missing, err := conf.Absent(data, &want)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range missing {
		t.Errorf("%s is not in the file, its default is %s", key.Path, key.Default)
	}
	if err := conf.Load("../conf/core.yaml", func(string) (string, bool) { return "", false }, &got); err != nil {
		t.Fatal(err)
	}
	if want, got := conf.Keys(&want), conf.Keys(&got); !reflect.DeepEqual(want, got) {
		t.Errorf("the file says\n%v\nthe defaults are\n%v", got, want)
	}
}

// The program starts from its file and stops cleanly.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	for key, value := range map[string]string{
		"FREEIM_CORE_DATA": filepath.Join(dir, "data"), "FREEIM_CORE_LISTEN": "127.0.0.1:0", "FREEIM_CORE_SCRIPTS": "../scripts",
		"FREEIM_ADMIN_LISTEN": "127.0.0.1:0", "FREEIM_LOG_LEVEL": "error",
	} {
		t.Setenv(key, value)
	}
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, "../conf/core.yaml", in)
		in.Close()
	}()
	var said strings.Builder
	buf := make([]byte, 1024)
	for !strings.Contains(said.String(), "admin") {
		n, err := out.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			t.Fatalf("ended after %q: %v", said.String(), <-ended)
		}
	}
	go io.Copy(io.Discard, out)
	if !strings.Contains(said.String(), "edges link to 127.0.0.1:") {
		t.Errorf("said %q", said.String())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

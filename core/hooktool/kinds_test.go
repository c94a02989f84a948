package hooktool_test

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"freeim/core/admin"
	"freeim/scripts/engine"
	"freeim/scripts/pages"
)

// serveEdge serves the pages of an edge's rules on a real port, and gives its address.
func serveEdge(t *testing.T, source string) (address string, e *engine.Engine) {
	t.Helper()
	e, err := engine.New(engine.Options{Dir: files(t, map[string]string{"a.lua": source}), Edge: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	routes := map[string]admin.Page{}
	for _, p := range pages.New(pages.Options{Engine: e, Node: "edge-1", Edge: true, Log: slog.New(slog.DiscardHandler)}) {
		routes[p.Pattern] = admin.Page{Handler: p.Handler, About: p.About}
	}
	port, err := admin.New(admin.Options{Listen: "127.0.0.1:0", Key: key, Routes: routes, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	return port.Addr().String(), e
}

// Cores and edges are never compared: those of the other kind are said to be that.
func TestServersOfBothKinds(t *testing.T) {
	const closed = `local im = require("im")
im.on_connect(function(c) return im.deny("rejected", "no") end, {name = "door", on_error = "open"})`
	core := newSite(t)
	edge, rules := serveEdge(t, closed)
	other, _ := serveEdge(t, closed+" -- others")
	address := core.admin.Addr().String()
	both := []string{"--server", address, "--server", edge}
	isEdge, isCore := regexp.QuoteMeta(edge)+` is an edge, which has rules of its own: ask edges with --edge`, regexp.QuoteMeta(address)+` is a core, which has rules of its own`

	out := core.want(1, `core-1 \(.*: bundle`, append([]string{"status"}, both...)...)
	if !regexp.MustCompile(isEdge).MatchString(out) || strings.Contains(out, "DIFFER") || strings.Contains(out, "the same rules") {
		t.Errorf("got:\n%s", out)
	}
	core.want(1, isCore+`.*edge edge-1 \(.*: bundle`, append([]string{"status", "--edge"}, both...)...)
	before := rules.Status().Bundle
	dir := files(t, map[string]string{"a.lua": closed + " -- more"})
	core.want(1, isCore+`.*1 of 2 servers did not take .*nothing was activated`, append([]string{"push", "--edge", dir, "--activate"}, both...)...)
	core.want(1, isEdge+`.*1 of 2 servers did not answer: nothing was done`, append([]string{"rollback"}, both...)...)
	core.want(1, isEdge+`.*off was done on 1 of 2 servers`, append([]string{"off"}, both...)...)
	if now := rules.Status(); now.Bundle != before || now.Off {
		t.Errorf("the edge has %+v", now)
	}

	core.want(1, `edge edge-1 \(.*THE SERVERS DIFFER`, "status", "--edge", "--server", edge, "--server", other)
	core.want(0, `edge edge-1 \(\S+\): activated .*edge edge-1 \(\S+\): activated`, "push", "--edge", dir, "--activate", "--server", edge, "--server", other)
	core.want(0, `2 servers decide by the same rules`, "status", "--edge", "--server", edge, "--server", other)
	if status := core.status(edge, "/hooks/status"); status != http.StatusNotFound {
		t.Errorf("an edge has the page of a core: %d", status)
	}
}

// status is what a page of a server answers.
func (s *site) status(address, path string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(s.t.Context()), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

package rpc_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/conf/etcd"
	"freeim/core/engines"
	corerpc "freeim/core/rpc"
	"freeim/edge/rpc"

	"github.com/prometheus/client_golang/prometheus"
)

// names is a resolver of one name.
type names struct {
	mu        sync.Mutex // guards the fields below
	addresses []string
	err       error
}

func (n *names) set(err error, addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses, n.err = addresses, err
}

func (n *names) lookup(_ context.Context, name string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name != "cores.test" {
		return nil, errors.New("no such name")
	}
	return slices.Clone(n.addresses), n.err
}

// TestDNS: cores come and go with the addresses of a name. One that the name has
// lost is used until its link ends; what was known stays while the name is not.
func TestDNS(t *testing.T) {
	first := startNode(t, "127.0.0.1:0", newShared(), named("first"), nil)
	_, port, err := net.SplitHostPort(first.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	second := startNode(t, net.JoinHostPort("127.0.0.2", port), newShared(), named("second"), nil)
	n := new(names)
	n.set(errors.New("not yet"))
	h := newHub()
	figures := prometheus.NewRegistry()
	l := startLinks(t, h, func(o *rpc.Options) {
		o.LookupHost, o.Lookup, o.Figures = n.lookup, 20*time.Millisecond, figures
	}, "dns:cores.test:"+port)
	cores := func(want float64) func() bool {
		return func() bool { return figure(t, figures, "freeim_link_cores") == want }
	}
	l.Call(message(1, "")) // parked
	n.set(nil, "127.0.0.1")
	if r := h.reply(t, 1, 1); string(r.Body) != "first" {
		t.Errorf("got %+v", r)
	}
	n.set(nil, "127.0.0.1", "127.0.0.2")
	reaches(t, h, l, "second")
	reaches(t, h, l, "first")
	n.set(errors.New("the name server is away"))
	n.set(nil) // nor is an empty answer believed
	n.set(nil, "127.0.0.2")
	reaches(t, h, l, "first") // not named any more, and it serves
	if !cores(2)() {
		t.Error("a core that still serves was forgotten")
	}
	if err := first.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	first.Server.Close()
	poll(t, "the first core is forgotten", cores(1))
	l.Call(message(2, ""))
	if r := h.reply(t, 2, 1); string(r.Body) != "second" {
		t.Errorf("got %+v", r)
	}
	second.Server.Close()
	n.set(nil, "127.0.0.9")
	poll(t, "the other is too, and a third is dialled", cores(1))
}

// TestEtcd: cores register themselves and leave at drain; an etcd that is away
// takes none away, and one that comes back empty is told of them again.
func TestEtcd(t *testing.T) {
	server := engines.Etcd(t)
	const prefix = "freeim-test"
	register := func(o *corerpc.Options) {
		o.Register = corerpc.Register{Service: "core", Etcd: etcd.Config{Endpoints: []string{server.Addr()}, Prefix: prefix}}
	}
	node := func(name string) *core { return startNode(t, "127.0.0.1:0", newShared(), named(name), register) }
	first := node("first")
	h := newHub()
	figures := prometheus.NewRegistry()
	discover := func(o *rpc.Options) {
		o.Etcd, o.Lookup = etcd.Config{Endpoints: []string{server.Addr()}, Prefix: prefix}, 50*time.Millisecond
	}
	l := startLinks(t, h, func(o *rpc.Options) { discover(o); o.Figures = figures }, "etcd:core")
	cores := func(want float64) func() bool {
		return func() bool { return figure(t, figures, "freeim_link_cores") == want }
	}
	reaches(t, h, l, "first")
	second := node("second")
	reaches(t, h, l, "second")

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	reaches(t, h, l, "first")
	reaches(t, h, l, "second")
	if err := os.RemoveAll(filepath.Join(server.Dir(), "data")); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	late := newHub()
	lateLinks := startLinks(t, late, discover, "etcd:core")
	reaches(t, late, lateLinks, "first") // registered again
	reaches(t, late, lateLinks, "second")
	if err := first.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	first.Server.Close()
	poll(t, "the first core is forgotten", cores(1))
	reaches(t, h, l, "second")
	second.Server.Close() // leaves as well
	third := node("third")
	reaches(t, h, l, "third")
	third.Server.Close()
}

// TestEtcdUnderTLS: an etcd that asks its clients for a certificate is told of cores, and asked for them.
func TestEtcdUnderTLS(t *testing.T) {
	files := engines.MakeCertificates(t)
	server := engines.EtcdWith(t, engines.EtcdOptions{TLS: &files})
	at := etcd.Config{Endpoints: []string{server.Addr()}, Prefix: "freeim-test", TLS: true, TLSCA: files.CA, TLSCert: files.Cert, TLSKey: files.Key}
	one := startNode(t, "127.0.0.1:0", newShared(), named("one"), func(o *corerpc.Options) {
		o.Register = corerpc.Register{Service: "core", Etcd: at}
	})
	h := newHub()
	l := startLinks(t, h, func(o *rpc.Options) { o.Etcd, o.Lookup = at, 50*time.Millisecond }, "etcd:core")
	reaches(t, h, l, "one")
	one.Server.Close()
}

func TestDiscoveryOptions(t *testing.T) {
	for _, entry := range []string{"dns:", "dns:name", "dns:name:", "dns::7071", "etcd:", "etcd:a/b", "etcd:core"} {
		o := rpc.Options{Cores: []string{entry}, EdgeID: "e", Epoch: 1}
		if entry != "etcd:core" { // that one lacks the endpoints
			o.Etcd.Endpoints = []string{"127.0.0.1:2379"}
		}
		if l, err := rpc.New(o); err == nil {
			l.Close()
			t.Errorf("%q: got no error", entry)
		}
	}
	for name, r := range map[string]corerpc.Register{
		"no endpoints": {Service: "core"},
		"an account":   {Service: "core", Etcd: etcd.Config{Endpoints: []string{"http://user:secret@127.0.0.1:2379"}}},
		"a slash":      {Service: "a/b", Etcd: etcd.Config{Endpoints: []string{"127.0.0.1:2379"}}},
		"no port":      {Service: "core", Etcd: etcd.Config{Endpoints: []string{"127.0.0.1:2379"}}, Address: "host"},
		"a unix path":  {Service: "core", Etcd: etcd.Config{Endpoints: []string{"127.0.0.1:2379"}}},
	} {
		o := corerpc.Options{Listen: "127.0.0.1:0", CoreID: "x", Registry: newShared(), Register: r}
		if name == "a unix path" {
			o.Listen = newAddress(t)
		}
		if s, err := corerpc.New(o); err == nil {
			s.Close()
			t.Errorf("%s: got no error", name)
		} else if strings.Contains(err.Error(), "listen for edges") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

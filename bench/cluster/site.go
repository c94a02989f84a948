package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"freeim/core/engines"
)

// SiteOptions describe a site: cores and edges as processes of their own.
type SiteOptions struct {
	Programs Programs
	Dir      string // for configurations, logs and embedded stores; it must exist
	Cores    int    // 0: 1, and more need MySQL and Redis
	Edges    int    // 0: 1

	MySQL string   // DSN of the record and the directory; empty: embedded stores
	Redis []string // HOST:PORT of Redis, of a Cluster's nodes or of Sentinels
	// RedisMaster is what the Sentinels call the primary; empty: there are none.
	RedisMaster string
	// Etcd is HOST:PORT where cores register and edges look for them; empty:
	// edges have a list of the cores.
	Etcd string

	// Weather puts a Proxy before each edge and each core: Fronts and Links.
	Weather bool
	// Unix has edges link to the cores over unix sockets in Dir, whose path must be
	// short, instead of TCP.
	Unix bool
	// Fixed takes the usual ports where they are free, for people to remember.
	Fixed bool
	// Level is that of the logs; empty: warn.
	Level string
	// CoreEnv and EdgeEnv set further keys, as FREEIM_CORE_DRAIN_TIMEOUT=5s.
	CoreEnv, EdgeEnv []string
}

// Site is cores and edges as processes. Its methods are called by one goroutine.
type Site struct {
	Cores  []*Process
	Edges  []*Process
	Fronts []*Proxy // before the TCP ports of the edges; none without Weather
	Links  []*Proxy // before the cores, for all edges; none without Weather
}

// The usual ports, of the first edge and core; the next ones follow at a distance.
const (
	tcpPort, httpPort, edgeAdminPort = 7070, 8080, 9090
	corePort, coreAdminPort          = 7171, 9190
)

// StartSite starts the cores, then the edges, and returns when all are ready.
// When it fails, nothing is left running.
func StartSite(ctx context.Context, o SiteOptions) (_ *Site, err error) {
	o.Cores, o.Edges = max(o.Cores, 1), max(o.Edges, 1)
	if o.Level == "" {
		o.Level = "warn"
	}
	s := &Site{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Kill())
		}
	}()
	for i := range o.Cores {
		core, err := o.core(i)
		if err != nil {
			return nil, err
		}
		s.Cores = append(s.Cores, core)
		if err := core.Spawn(); err != nil {
			return nil, err
		}
		if i == 0 { // it brings the schema up to date
			if err := core.AwaitReady(ctx); err != nil {
				return nil, err
			}
		}
	}
	linked, err := s.links(o)
	if err != nil {
		return nil, err
	}
	for i := range o.Edges {
		edge, err := o.edge(i, linked)
		if err != nil {
			return nil, err
		}
		s.Edges = append(s.Edges, edge)
		if err := edge.Spawn(); err != nil {
			return nil, err
		}
	}
	for _, p := range s.Processes() {
		if err := p.AwaitReady(ctx); err != nil {
			return nil, err
		}
	}
	return s, s.fronts(o)
}

// Processes are the edges and the cores.
func (s *Site) Processes() []*Process { return append(append([]*Process{}, s.Edges...), s.Cores...) }

// Stop drains the edges, then the cores.
func (s *Site) Stop(ctx context.Context) error {
	var errs []error
	for _, p := range s.Processes() {
		errs = append(errs, p.Stop(ctx))
	}
	return errors.Join(append(errs, s.Kill())...)
}

// Kill ends everything at once.
func (s *Site) Kill() error {
	var errs []error
	for _, p := range s.Processes() {
		errs = append(errs, p.Kill())
	}
	for _, p := range append(append([]*Proxy{}, s.Fronts...), s.Links...) {
		errs = append(errs, p.Close())
	}
	s.Fronts, s.Links = nil, nil
	return errors.Join(errs...)
}

// links gives the addresses at which edges reach the cores.
func (s *Site) links(o SiteOptions) (addresses []string, err error) {
	for _, core := range s.Cores {
		address := core.Listen
		if o.Weather {
			p, err := NewProxy(core.Listen)
			if err != nil {
				return nil, err
			}
			s.Links = append(s.Links, p)
			address = p.Addr()
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

func (s *Site) fronts(o SiteOptions) error {
	for _, edge := range s.Edges {
		if !o.Weather {
			break
		}
		p, err := NewProxy(edge.TCP)
		if err != nil {
			return err
		}
		s.Fronts = append(s.Fronts, p)
	}
	return nil
}

// core prepares a core; it writes the file that a site would keep for it.
func (o *SiteOptions) core(i int) (*Process, error) {
	p, err := o.process("core", i+1, o.Programs.Core, o.CoreEnv)
	if err != nil {
		return nil, err
	}
	if o.Unix {
		p.Listen = "unix:" + strings.TrimSuffix(p.Config, ".yaml") + ".sock"
	} else if p.Listen, err = p.take(o.Fixed, corePort+i); err != nil {
		return nil, err
	}
	if p.Admin, err = p.take(o.Fixed, coreAdminPort+i); err != nil {
		return nil, err
	}
	data := filepath.Join(o.Dir, "stores")
	if o.MySQL != "" {
		data = filepath.Join(o.Dir, p.Name)
	}
	rules := filepath.Join(o.Dir, "rules")
	if err := os.MkdirAll(rules, 0o755); err != nil {
		return nil, err
	}
	text := o.head(p) + fmt.Sprintf("core:\n  id: %s\n  listen: %q\n  data: %q\n  scripts: %q\n", p.Name, p.Listen, data, rules)
	uploads := fmt.Sprintf("plugins:\n  file:\n    dir: %q\n", o.files())
	if o.MySQL != "" {
		text += fmt.Sprintf("  mysql:\n    dsn: %q\n", o.MySQL)
	}
	if len(o.Redis) > 0 {
		text += fmt.Sprintf("  redis:\n    addresses: [%s]\n", quotedList(o.Redis))
		if o.RedisMaster != "" {
			text += fmt.Sprintf("    master: %q\n", o.RedisMaster)
		}
	}
	if o.Etcd != "" {
		text += fmt.Sprintf("  register:\n    endpoints: [%q]\n    service: %s\n", o.Etcd, service)
	}
	return p, os.WriteFile(p.Config, []byte(text+uploads), 0o600)
}

// files is where what people upload is.
func (o *SiteOptions) files() string { return filepath.Join(o.Dir, "files") }

// service is what the cores of a site are registered as.
const service = "freeim-core"

// edge prepares an edge.
func (o *SiteOptions) edge(i int, cores []string) (*Process, error) {
	p, err := o.process("edge", i+1, o.Programs.Edge, o.EdgeEnv)
	if err != nil {
		return nil, err
	}
	for _, port := range []struct {
		usual   int
		address *string
	}{{tcpPort + 10*i, &p.TCP}, {httpPort + i, &p.HTTP}, {edgeAdminPort + i, &p.Admin}} {
		if *port.address, err = p.take(o.Fixed, port.usual); err != nil {
			return nil, err
		}
	}
	text := o.head(p) + fmt.Sprintf("edge:\n  id: %s\n  tcp: %q\n  http: %q\n  files:\n    dir: %q\n", p.Name, p.TCP, p.HTTP, o.files())
	if o.Etcd != "" {
		text += fmt.Sprintf("  cores: [%q]\n  etcd:\n    endpoints: [%q]\n", "etcd:"+service, o.Etcd)
	} else {
		text += fmt.Sprintf("  cores: [%s]\n", quotedList(cores))
	}
	return p, os.WriteFile(p.Config, []byte(text), 0o600)
}

func (o *SiteOptions) process(kind string, n int, program string, env []string) (*Process, error) {
	dir, err := filepath.Abs(o.Dir)
	name := fmt.Sprintf("%s-%d", kind, n)
	return &Process{
		Name: name, program: program, env: env,
		Config: filepath.Join(dir, name+".yaml"), Log: filepath.Join(dir, name+".log"),
	}, err
}

// head is what the files of edges and cores begin with.
func (o *SiteOptions) head(p *Process) string {
	return fmt.Sprintf("log:\n  level: %s\nadmin:\n  listen: %q\n", o.Level, p.Admin)
}

// take takes an address of the loopback for the process: the usual port if it is wanted and free.
func (p *Process) take(fixed bool, usual int) (string, error) {
	if address := net.JoinHostPort("127.0.0.1", strconv.Itoa(usual)); fixed {
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	port, err := engines.FreePort()
	if err != nil {
		return "", err
	}
	p.ports = append(p.ports, port)
	return port.Addr(), nil
}

func quotedList(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = strconv.Quote(item)
	}
	return strings.Join(quoted, ", ")
}

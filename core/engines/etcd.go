package engines

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
)

// EtcdServer is a running etcd of one member.
type EtcdServer struct{ *server }

// EtcdOptions says how an etcd runs.
type EtcdOptions struct {
	Dir string        // made if missing
	TLS *Certificates // clients speak TLS and show a certificate by CA; nil: neither
}

// StartEtcd starts an etcd and returns when it is healthy. The error is
// ErrMissing if there is none.
func StartEtcd(ctx context.Context, o EtcdOptions) (*EtcdServer, error) {
	name, err := find("etcd")
	if err != nil {
		return nil, err
	}
	dir, err := made(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	e := &EtcdServer{&server{name: name, dir: dir}}
	e.ready = e.healthy
	err = start(ctx, e.server, []int{0, 0, 0}, func(ports []int) ([]string, error) {
		clients, peers, secure := "http://"+loopback(ports[0]), "http://"+loopback(ports[1]), []string(nil)
		if o.TLS != nil {
			clients = "https://" + loopback(ports[0])
			secure = []string{"--cert-file=" + o.TLS.Cert, "--key-file=" + o.TLS.Key, "--trusted-ca-file=" + o.TLS.CA, "--client-cert-auth"}
		}
		return append([]string{
			"--name=one", "--data-dir=" + filepath.Join(dir, "data"), "--initial-cluster=one=" + peers,
			"--listen-client-urls=" + clients, "--advertise-client-urls=" + clients,
			"--listen-peer-urls=" + peers, "--initial-advertise-peer-urls=" + peers,
			"--listen-metrics-urls=http://" + loopback(ports[2]), // where its health is told without TLS
		}, secure...), nil
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// healthy asks the server whether it serves.
func (e *EtcdServer) healthy(ctx context.Context) error {
	if err := e.logged("client requests"); err != nil { // "serving insecure client requests on …"
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+loopback(e.ports[2])+"/health", nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true} // leaves no goroutine behind
	rep, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer rep.Body.Close()
	body, err := io.ReadAll(io.LimitReader(rep.Body, 4096))
	if err != nil {
		return err
	}
	if !strings.Contains(string(body), `"true"`) {
		return fmt.Errorf("etcd says of its health %q", body)
	}
	return nil
}

// Addr is HOST:PORT for clients.
func (e *EtcdServer) Addr() string { return loopback(e.ports[0]) }

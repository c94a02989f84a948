package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"freeim/idl/kitex_gen/corepb/core"

	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/grpc"
	"github.com/cloudwego/kitex/server"
	"github.com/kitex-contrib/obs-opentelemetry/tracing"
	"go.opentelemetry.io/otel/propagation"
	"golang.org/x/sys/unix"
)

const (
	// streamWindow and connWindow are how much an edge may send before the core
	// has taken it in. Fixed windows also spare the pings with which Kitex would
	// estimate one.
	streamWindow = 4 << 20
	connWindow   = 8 << 20
	// writeBuffer joins small batches into one system call.
	writeBuffer = 128 << 10
	// alive is how long a silent peer is believed, and then once more.
	alive = 10 * time.Second
	// exitWait is Kitex's patience with streams that do not end; by then all have.
	exitWait = time.Second
)

// serve runs Kitex on the listener in a goroutine of its own and returns when it
// answers. Signals are main's: Kitex ends with s.exit only.
func (s *Server) serve() error {
	klog.SetOutput(slog.NewLogLogger(s.log.Handler(), slog.LevelDebug).Writer())
	kitex := core.NewServer(&handler{s}, append(s.suite(),
		server.WithListener(s.listener),
		server.WithExitSignal(func() <-chan error { return s.exit }),
		server.WithExitWaitTime(exitWait),
		server.WithGRPCInitialWindowSize(streamWindow),
		server.WithGRPCInitialConnWindowSize(connWindow),
		server.WithGRPCWriteBufferSize(writeBuffer),
		server.WithGRPCKeepaliveParams(grpc.ServerKeepalive{Time: alive, Timeout: alive}),
		server.WithGRPCKeepaliveEnforcementPolicy(grpc.EnforcementPolicy{MinTime: alive / 2, PermitWithoutStream: true}),
	)...)
	s.kitex.Go(func() {
		if err := kitex.Run(); err != nil {
			s.log.Error("core RPC ended", "err", err)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), alive)
	defer cancel()
	return s.Ping(ctx)
}

// suite is Kitex's own tracing, none when there is none.
func (s *Server) suite() []server.Option {
	if !s.options.Traced {
		return nil
	}
	return []server.Option{server.WithSuite(tracing.NewServerSuite(tracing.WithTextMapPropagator(propagation.TraceContext{})))}
}

// Ping waits for the first octet of an answer on a connection of its own: then
// the listener, netpoll and Kitex are at work. serve waits for that, since Kitex
// has no other sign, and told to stop before it is, it does not; liveness asks
// for it. ctx must have a deadline.
func (s *Server) Ping(ctx context.Context) error {
	addr := s.listener.Addr()
	conn, err := new(net.Dialer).DialContext(ctx, addr.Network(), addr.String())
	if err != nil {
		return fmt.Errorf("reach the own listener: %w", err)
	}
	defer conn.Close()
	late, _ := ctx.Deadline()
	_ = conn.SetDeadline(late) // a failure shows in the next line
	if _, err := conn.Write(append(slices.Clone(grpc.ClientPreface), emptySettings...)); err != nil {
		return fmt.Errorf("speak to the own server: %w", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("hear from the own server: %w", err)
	}
	return nil
}

// emptySettings is the frame that every HTTP/2 client begins with (RFC 9113 §3.4, §6.5).
var emptySettings = []byte{0, 0, 0, 4, 0, 0, 0, 0, 0}

// listen opens "unix:/path" or "host:port".
func listen(address string) (*listener, error) {
	network, where := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, where = "unix", path
		if err := removeStale(path); err != nil {
			return nil, err
		}
	}
	config := net.ListenConfig{}
	if network == "unix" {
		config.Control = owned
	}
	opened, err := config.Listen(context.Background(), network, where)
	if err != nil {
		return nil, fmt.Errorf("listen for edges: %w", err)
	}
	if network == "unix" { // where owned does not do it
		if err := os.Chmod(where, socketMode); err != nil {
			return nil, errors.Join(fmt.Errorf("keep the socket to its owner: %w", err), opened.Close())
		}
	}
	return pollable(opened)
}

// socketMode keeps a unix socket to the account that the core runs under, whatever
// the umask: who reaches it speaks for any user.
const socketMode = 0o600

// owned gives a socket its mode before it has a path, so nobody slips in between.
func owned(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), socketMode) }) // Linux can
}

// removeStale removes the socket that a killed process has left at path. One that
// somebody still answers on, and anything else, stays and is an error.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for an old socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listen for edges: %s exists and is no socket", path)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close() // only asked whether it is alive
		return fmt.Errorf("listen for edges: another process serves %s", path)
	}
	return os.Remove(path)
}

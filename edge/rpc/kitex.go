package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"freeim/idl/kitex_gen/corepb/core"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/grpc"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/kitex-contrib/obs-opentelemetry/tracing"
	"go.opentelemetry.io/otel/propagation"
)

const (
	// streamWindow and connWindow are how much a core may send before the edge
	// has taken it in. Fixed windows also spare the pings with which Kitex would
	// estimate one.
	streamWindow = 4 << 20
	connWindow   = 8 << 20
	// writeBuffer joins small batches into one system call.
	writeBuffer = 128 << 10
	// alive is how long a silent peer is believed, and then once more.
	alive   = 10 * time.Second
	connect = 2 * time.Second
)

// dialer makes what opens a stream to the core at address.
func dialer(address string, traced bool) (func(context.Context) (core.Core_LinkClient, error), error) {
	if network, where := split(address); network == "tcp" {
		if _, _, err := net.SplitHostPort(where); err != nil {
			return nil, fmt.Errorf("address of a core: %w", err)
		}
	}
	stub, err := core.NewClient("freeim.core", append(suite(traced),
		client.WithResolver(resolver(address)),
		client.WithShortConnection(), // a connection of its own for each stream, gone with it
		client.WithConnectTimeout(connect),
		client.WithGRPCInitialWindowSize(streamWindow),
		client.WithGRPCInitialConnWindowSize(connWindow),
		client.WithGRPCWriteBufferSize(writeBuffer),
		client.WithGRPCKeepaliveParams(grpc.ClientKeepalive{Time: alive, Timeout: alive}),
	)...)
	if err != nil {
		return nil, fmt.Errorf("client for the core at %s: %w", address, err)
	}
	return func(ctx context.Context) (core.Core_LinkClient, error) { return stub.Link(ctx) }, nil
}

// suite is Kitex's own tracing, none when there is none.
func suite(traced bool) []client.Option {
	if !traced {
		return nil
	}
	return []client.Option{client.WithSuite(tracing.NewClientSuite(tracing.WithTextMapPropagator(propagation.TraceContext{})))}
}

// resolver finds the one core at address; a host name in it is looked up by each
// dial. Kitex asks the first resolver of a name for all of that name, so each
// address has a name of its own.
func resolver(address string) discovery.Resolver {
	network, where := split(address)
	result := discovery.Result{Cacheable: true, CacheKey: address,
		Instances: []discovery.Instance{discovery.NewInstance(network, where, discovery.DefaultWeight, nil)}}
	return &discovery.SynthesizedResolver{
		TargetFunc:  func(context.Context, rpcinfo.EndpointInfo) string { return address },
		ResolveFunc: func(context.Context, string) (discovery.Result, error) { return result, nil },
		NameFunc:    func() string { return "freeim core at " + address },
	}
}

// split gives the network of "unix:/path" or "host:port", and what to dial there.
func split(address string) (network, where string) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return "unix", path
	}
	return "tcp", address
}

// quiet turns what Kitex logs into debug lines: that a core went away is said
// here, once and in our words.
func quiet(log *slog.Logger) {
	klog.SetOutput(slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer())
}

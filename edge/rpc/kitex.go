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
func dialer(address string) (func(context.Context) (core.Core_LinkClient, error), error) {
	network, where := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, where = "unix", path
	} else if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("address of a core: %w", err)
	}
	stub, err := core.NewClient("freeim.core",
		client.WithResolver(fixed(network, where)),
		client.WithShortConnection(), // a connection of its own for each stream, gone with it
		client.WithConnectTimeout(connect),
		client.WithGRPCInitialWindowSize(streamWindow),
		client.WithGRPCInitialConnWindowSize(connWindow),
		client.WithGRPCWriteBufferSize(writeBuffer),
		client.WithGRPCKeepaliveParams(grpc.ClientKeepalive{Time: alive, Timeout: alive}),
	)
	if err != nil {
		return nil, fmt.Errorf("client for the core at %s: %w", address, err)
	}
	return func(ctx context.Context) (core.Core_LinkClient, error) { return stub.Link(ctx) }, nil
}

// fixed resolves to one address. A host name is looked up again by each dial.
// Its name holds the address: Kitex shares the resolvers of one name between all
// clients of a process, and would link all of them to the first one's core.
func fixed(network, address string) discovery.Resolver {
	result := discovery.Result{Cacheable: true, CacheKey: address,
		Instances: []discovery.Instance{discovery.NewInstance(network, address, discovery.DefaultWeight, nil)}}
	return &discovery.SynthesizedResolver{
		TargetFunc:  func(context.Context, rpcinfo.EndpointInfo) string { return address },
		ResolveFunc: func(context.Context, string) (discovery.Result, error) { return result, nil },
		NameFunc:    func() string { return "fixed " + network + " " + address },
	}
}

// quiet turns what Kitex logs into debug lines: that a core went away is said
// here, once and in our words.
func quiet(log *slog.Logger) {
	klog.SetOutput(slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer())
}

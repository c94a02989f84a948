package gateway

import (
	"bytes"
	"fmt"
	"log/slog"

	"github.com/cloudwego/netpoll"
)

// readBuffer is netpoll's buffer for a connection that is idle, in octets.
// Netpoll's own default holds 12 kB for each; README.md has the figures.
const readBuffer = 128

// Tune sets what netpoll has only once for a process: the size of its buffers
// (octets; 0: 128) and where it logs, which is at debug, since a stranger can
// cause it. Kitex in the same process uses these buffers too: they grow with
// what it sends, so small ones cost it little.
//
// New calls it. A program in which Kitex or another gateway runs earlier calls
// it first thing, since a change is no longer safe then; repeating the same size
// changes nothing.
func Tune(size int, log *slog.Logger) error {
	if size == 0 {
		size = readBuffer
	}
	if netpoll.LinkBufferCap == size {
		return nil
	}
	netpoll.LinkBufferCap = size
	if err := netpoll.Configure(netpoll.Config{BufferSize: size, LoggerOutput: debugLog{log}}); err != nil {
		return fmt.Errorf("configure netpoll: %w", err)
	}
	return nil
}

// debugLog is an io.Writer that makes each line a debug record.
type debugLog struct{ log *slog.Logger }

func (d debugLog) Write(p []byte) (int, error) {
	d.log.Debug("netpoll", "line", string(bytes.TrimSpace(p)))
	return len(p), nil
}

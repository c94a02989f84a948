//go:build !linux

package engines

import (
	"net"
	"os"
)

// hold looks whether a port is free, and holds nothing.
func hold(port int) (*os.File, error) {
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return nil, err
	}
	return nil, l.Close()
}

package engines

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
)

// Port is a free port of the loopback address: of 15000 to 31999, out of which the kernel gives
// connections none. On Linux nobody else is given it by FreePort, in any process, and our servers
// can listen on it, again and again, until Close; elsewhere another may be faster. It is given
// back too when nothing refers to it any more. The zero value is of no use.
type Port struct {
	Number int
	held   *os.File // a socket that is bound to it and never listens; nil: nothing holds it
}

// FreePort gives a port on which nothing listens.
func FreePort() (*Port, error) {
	for range 1000 {
		number := 15000 + rand.IntN(17000)
		if held, err := hold(number); err == nil {
			return &Port{number, held}, nil
		}
	}
	return nil, errors.New("found no free port between 15000 and 32000")
}

// Addr is HOST:PORT.
func (p *Port) Addr() string { return loopback(p.Number) }

// Close gives the port back; a server that listens on it goes on.
func (p *Port) Close() error {
	if p.held == nil {
		return nil
	}
	return p.held.Close()
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

//go:build !linux

package limit

import (
	"context"
	"errors"
)

// Server needs epoll.
type Server struct{}

// Listen fails: there is no epoll on this system.
func Listen(Options) (*Server, error) { return nil, errors.New("the limit server needs Linux") }

// Addr is empty.
func (s *Server) Addr() string { return "" }

// Run does nothing.
func (s *Server) Run(context.Context) (Counts, error) { return Counts{}, nil }

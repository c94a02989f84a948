//go:build !linux

package load

import (
	"context"
	"errors"
	"io"
)

// Work needs epoll.
func Work(context.Context, io.Reader, io.Writer) error {
	return errors.New("the load needs Linux: there is no epoll here")
}

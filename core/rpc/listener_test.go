package rpc

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A unix socket is its owner's, whatever the umask.
func TestSocketIsItsOwners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	defer l.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
}

// Closing again and again must never close a descriptor that somebody else got
// in between: netpoll's own listener does, and took files from under the store.
func TestListenerClosesItsDescriptorOnce(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "s")} {
		t.Run(address, func(t *testing.T) {
			l, err := listen(address)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			l.release()
			reader, writer := pipe(t)
			if err := unix.Dup3(writer, l.fd, unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(l.fd)
			for range 3 {
				_ = l.Close()
				l.release()
			}
			if _, err := unix.Write(l.fd, []byte("x")); err != nil {
				t.Errorf("write to a pipe that took the number: %v", err)
			}
			if _, err := unix.Read(reader, make([]byte, 1)); err != nil {
				t.Errorf("read from a pipe that took the number: %v", err)
			}
		})
	}
}

// pipe gives two descriptors.
func pipe(t *testing.T) (reader, writer int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Close(p[0])
		_ = unix.Close(p[1])
	})
	return p[0], p[1]
}

func TestListenerTurnsAwayAfterClose(t *testing.T) {
	l, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	if c, err := l.Accept(); c != nil || err != nil {
		t.Fatalf("got %v, %v with nobody there", c, err)
	}
	fd := l.fd
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Accept(); got != nil || err != nil {
		t.Errorf("got %v, %v after Close", got, err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the one who knocked got %v", err)
	}
}

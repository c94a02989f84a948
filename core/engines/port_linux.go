package engines

import (
	"os"
	"syscall"
)

// hold binds a port for as long as the file is open. As it is bound without SO_REUSEADDR, nobody is
// bound to it yet; as it has that option then, servers can be, which all have it (socket(7)).
func hold(port int) (*os.File, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	held := os.NewFile(uintptr(fd), loopback(port))
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
	if err != nil {
		held.Close()
		return nil, err
	}
	return held, nil
}

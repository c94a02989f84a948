package load

import "syscall"

// childAttributes let a worker die with this process, and keep it out of reach of
// a terminal's interrupt: its parent ends it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

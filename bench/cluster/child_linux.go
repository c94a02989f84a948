package cluster

import "syscall"

// ChildAttributes let a child die with this process, and keep it out of reach of
// a terminal's interrupt. The kernel sends the signal when the thread that
// started the child ends; Go ends no thread but those that goroutines locked and
// left locked.
func ChildAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

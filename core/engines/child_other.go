//go:build !linux

package engines

import "syscall"

// childAttributes keep a child out of reach of a terminal's interrupt. Here it
// outlives this process when that is killed.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// stopped takes the signal's word for it.
func stopped(int) bool { return true }

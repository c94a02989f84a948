//go:build !linux

package cluster

import "syscall"

// ChildAttributes keep a child out of reach of a terminal's interrupt. Here it
// outlives this process when that is killed.
func ChildAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

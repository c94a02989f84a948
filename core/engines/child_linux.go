package engines

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// childAttributes let a child die with this process, and keep it out of reach of
// a terminal's interrupt. The kernel sends the signal when the thread that
// started the child ends; Go ends no thread but those that goroutines locked and
// left locked.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// stopped reports whether all threads of a process stand still: the signal has
// to reach each. Source: proc(5), /proc/[pid]/task/[tid]/stat.
func stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		state := text[bytes.LastIndexByte(text, ')')+1:]
		if len(state) < 2 || state[1] != 'T' {
			return false
		}
	}
	return true
}

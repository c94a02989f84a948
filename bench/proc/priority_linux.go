package proc

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Renice gives all threads of a process a priority: below 0, which root may do, is before
// others, and 0 is usual. Threads that it starts later inherit it.
func Renice(pid, nice int) error {
	done := map[int]bool{}
	for again := true; again; { // until no thread has come meanwhile
		again = false
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return fmt.Errorf("renice process %d: %w", pid, err)
		}
		for _, t := range threads {
			thread, err := strconv.Atoi(t.Name())
			if err != nil || done[thread] {
				continue
			}
			done[thread], again = true, true
			if err := unix.Setpriority(unix.PRIO_PROCESS, thread, nice); err != nil && err != unix.ESRCH {
				return fmt.Errorf("renice process %d to %d: %w", pid, nice, err)
			}
		}
	}
	return nil
}

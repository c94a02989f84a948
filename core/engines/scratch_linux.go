package engines

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// A server's files are kept in memory only where there is far more room than the gibibyte that tests fill at most.
const (
	inMemory   = "/dev/shm" // where files are that need not outlive the machine
	roomThere  = 4 << 30    // octets
	roomAtAll  = 8 << 20    // KiB of memory that the machine has to give
	tmpfsMagic = 0x01021994 // statfs(2)
)

// scratch is a directory in memory if there is room, else empty, for where temporary files are. MariaDB waits for the
// disk at each table that it makes, whatever it is told, and tests make many thousands.
func scratch() string {
	var there syscall.Statfs_t
	if syscall.Statfs(inMemory, &there) != nil || int64(there.Type) != tmpfsMagic || there.Bavail*uint64(there.Bsize) < roomThere {
		return ""
	}
	if available() < roomAtAll || limited() {
		return ""
	}
	return inMemory
}

// limited reports whether a container may have so little memory that the files, which it pays for, would be much of it.
func limited() bool {
	text, err := os.ReadFile("/sys/fs/cgroup/memory.max")
	if err != nil {
		return false
	}
	octets, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return err == nil && octets>>10 < roomAtAll
}

// available is how much memory the machine has to give, in KiB; 0 if that is not known.
func available() (kib int64) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if n, _ := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kib); n == 1 {
			return kib
		}
	}
	return 0
}

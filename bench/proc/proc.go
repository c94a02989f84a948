// Package proc reads what Linux knows of processes and of the machine: processor
// time, memory, sockets. bench reads the servers' figures here, so they need not be
// trusted to measure themselves. It keeps nothing.
package proc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// CPU is the processor time of a process.
type CPU struct{ User, System time.Duration }

// tick is the kernel's unit of processor time: USER_HZ is 100 on every platform.
const tick = time.Second / 100

// CPUOf reads the time that a process has taken.
func CPUOf(pid int) (c CPU, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return c, err
	}
	// The fields behind the name, which may hold anything. Source: proc(5): utime and
	// stime are the 14th and 15th.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return c, fmt.Errorf("read the processor time of process %d: %q", pid, text)
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return CPU{time.Duration(user) * tick, time.Duration(system) * tick}, errors.Join(err1, err2)
}

// Memory is that of a process, in octets.
type Memory struct {
	RSS int64
	PSS int64 // pages shared with n processes count 1/n
}

// MemoryOf reads the memory of a process.
func MemoryOf(pid int) (m Memory, err error) {
	figures, err := read(fmt.Sprintf("/proc/%d/smaps_rollup", pid), ":")
	return Memory{RSS: figures["Rss"] << 10, PSS: figures["Pss"] << 10}, err
}

// Machine is what connections cost the kernel, in octets where no other unit is named.
type Machine struct {
	Available int64 // memory that could be had without swapping
	Slab      int64 // the kernel's objects: sockets, files, inodes
	TCPInUse  int64 // sockets, both ends of those over the loopback
	TCPMemory int64 // of their buffers
}

// MachineNow reads it.
func MachineNow() (m Machine, err error) {
	figures, err := read("/proc/meminfo", ":")
	if err != nil {
		return m, err
	}
	m.Available, m.Slab = figures["MemAvailable"]<<10, figures["Slab"]<<10
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "TCP:" {
			continue
		}
		for i := 1; i+1 < len(words); i += 2 {
			n, err := strconv.ParseInt(words[i+1], 10, 64)
			if err != nil {
				return m, fmt.Errorf("read sockstat: %w", err)
			}
			switch words[i] {
			case "inuse":
				m.TCPInUse = n
			case "mem":
				m.TCPMemory = n * int64(os.Getpagesize())
			}
		}
	}
	return m, nil
}

// read reads lines of NAME: NUMBER, whatever follows.
func read(path, separator string) (map[string]int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	figures := map[string]int64{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), separator)
		if words := strings.Fields(rest); len(words) > 0 {
			if n, err := strconv.ParseInt(words[0], 10, 64); err == nil {
				figures[name] = n
			}
		}
	}
	return figures, nil
}

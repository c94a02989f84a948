package report

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Begin starts a Run: the machine, the commit and the time, read now. What this
// system does not tell stays zero.
func Begin(ctx context.Context, command string) *Run {
	r := &Run{Version: Version, Started: time.Now().UTC().Truncate(time.Second), Command: command, Machine: machine()}
	r.Commit, r.Dirty = commit(ctx)
	return r
}

// End reads what a Run says of the time after its rows.
func (r *Run) End() { r.Machine.LoadAfter = load() }

func machine() Machine {
	open, _ := strconv.ParseInt(word(line("/proc/self/limits", "Max open files"), 1), 10, 64) // soft, hard
	kilobytes, _ := strconv.ParseInt(word(line("/proc/meminfo", "MemTotal:"), 0), 10, 64)
	model := strings.Trim(line("/proc/cpuinfo", "model name"), "\t :")
	if model == "" {
		model = runtime.GOARCH
	}
	return Machine{
		CPUs: runtime.NumCPU(), Model: model, MemoryBytes: kilobytes << 10,
		Kernel: strings.TrimSpace(runtime.GOOS + " " + strings.TrimSpace(text("/proc/sys/kernel/osrelease"))),
		Go:     runtime.Version(), OpenFiles: open,
		Congestion: strings.TrimSpace(text("/proc/sys/net/ipv4/tcp_congestion_control")),
		LoadBefore: load(),
	}
}

// load is the load average of 1, 5 and 15 minutes.
func load() (l [3]float64) {
	fields := text("/proc/loadavg")
	for i := range l {
		l[i], _ = strconv.ParseFloat(word(fields, i), 64)
	}
	return l
}

// commit says which commit the working directory is of, and whether it differs.
func commit(ctx context.Context) (name string, dirty bool) {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "", false
	}
	changes, err := exec.CommandContext(ctx, "git", "status", "--porcelain").Output()
	return strings.TrimSpace(string(out)), err != nil || len(changes) > 0
}

// text is a file of the kernel's; empty where there is none.
func text(name string) string {
	octets, _ := os.ReadFile(name)
	return string(octets)
}

// line is what follows a beginning on the first line that has it.
func line(name, beginning string) string {
	for l := range strings.Lines(text(name)) {
		if rest, ok := strings.CutPrefix(l, beginning); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// word is the i-th of the words in a text; empty when there are fewer.
func word(text string, i int) string {
	words := strings.Fields(text)
	if i >= len(words) {
		return ""
	}
	return words[i]
}

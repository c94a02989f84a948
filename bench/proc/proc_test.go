package proc_test

import (
	"os"
	"runtime"
	"testing"
	"time"

	"freeim/bench/proc"
)

func TestOwnFigures(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: there is no /proc")
	}
	for deadline := time.Now().Add(time.Minute); ; { // busy until it shows
		c, err := proc.CPUOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if c.User+c.System > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no processor time is seen")
		}
	}
	m, err := proc.MemoryOf(os.Getpid())
	if err != nil || m.RSS < 1<<20 || m.PSS < 1<<19 || m.PSS > m.RSS {
		t.Errorf("got %+v, %v", m, err)
	}
	machine, err := proc.MachineNow()
	if err != nil || machine.Available < 1<<20 || machine.Slab < 1<<20 {
		t.Errorf("got %+v, %v", machine, err)
	}
}

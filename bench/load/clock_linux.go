package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock is CLOCK_MONOTONIC in ns, which is one clock for all processes of a
// machine: a stamp that one worker wrote can be compared in another.
type clock struct {
	base time.Time
	at   int64 // what the clock showed at base
}

func newClock() (c clock, err error) {
	var ts unix.Timespec
	c.base = time.Now()
	err = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	c.at = ts.Nano()
	return c, err
}

func (c clock) now() int64 { return c.at + int64(time.Since(c.base)) }

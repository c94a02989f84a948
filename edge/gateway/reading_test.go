package gateway

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// watched is a client that takes what a test says, while it is watched.
type watched struct {
	taken atomic.Uint64
	begun time.Time
	cut   time.Duration // after begun; 0: not
	times int
}

func (w *watched) watch(stall time.Duration) *reading {
	w.begun = time.Now()
	return watchReading(stall, w.taken.Load, func() { w.cut = time.Since(w.begun); w.times++ })
}

// TestReading: a client is cut off when it has taken nothing for the stall, an eighth of it later at
// most, whatever it took before; and not by somebody who watches it no more.
func TestReading(t *testing.T) {
	const stall, late = 8 * time.Second, time.Second
	take := func(w *watched, at ...time.Duration) {
		for _, after := range at {
			time.AfterFunc(after, func() { w.taken.Add(100) })
		}
	}
	rows := []struct {
		name        string
		do          func(w *watched, r *reading)
		least, most time.Duration // when it is cut off; 0: it is not
	}{
		{"it takes nothing", func(*watched, *reading) {}, stall, stall},
		{"what was under way arrives, then nothing", func(w *watched, _ *reading) { take(w, time.Millisecond) }, stall + time.Millisecond, stall + late},
		{"it took something just before the end", func(w *watched, _ *reading) { take(w, stall-time.Millisecond) }, 2*stall - time.Millisecond, 2*stall + late},
		{"it takes something now and then", func(w *watched, r *reading) {
			take(w, 7*time.Second, 14*time.Second, 21*time.Second, 28*time.Second)
			time.AfterFunc(30*time.Second, r.stop)
		}, 0, 0},
		{"the socket has room now and then", func(_ *watched, r *reading) {
			time.AfterFunc(5*time.Second, r.went)
			time.AfterFunc(12500*time.Millisecond, r.went)
		}, 20500 * time.Millisecond, 20500*time.Millisecond + late},
		{"it is waited for no more, just as it is looked at", func(w *watched, r *reading) {
			take(w, stall/2)
			time.AfterFunc(stall, r.stop)
		}, 0, 0},
		{"what is waited for has gone, twice", func(_ *watched, r *reading) { r.stop(); r.stop() }, 0, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := new(watched)
				r := w.watch(stall)
				row.do(w, r)
				time.Sleep(time.Minute)
				synctest.Wait()
				if w.cut < row.least || w.cut > row.most || w.times > 1 {
					t.Errorf("cut off %d times, after %v, want %v to %v", w.times, w.cut, row.least, row.most)
				}
				r.stop()
			})
		})
	}
}

// TestReadingOfLittleTime: it is not looked at without a pause, however short its time is.
func TestReadingOfLittleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(watched)
		looked := 0
		r := watchReading(time.Nanosecond, func() uint64 { looked++; return w.taken.Add(1) }, func() { w.times++ })
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		r.stop()
		if w.times != 0 || looked > 110 {
			t.Errorf("cut off %d times, looked %d times", w.times, looked)
		}
	})
}

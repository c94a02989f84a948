package command

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/archive"
)

// step is how often progress is said.
const step = 2 * time.Second

// progress says now and then what has been done, until done is called, which may
// be more than once.
func (r *run) progress(what string) (tell archive.Progress, done func()) {
	var newest atomic.Pointer[archive.Summary]
	var records int
	end := make(chan struct{})
	var saying sync.WaitGroup
	saying.Go(func() {
		tick := time.NewTicker(step)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				if s := newest.Load(); s != nil {
					fmt.Fprintf(r.Err, "%s so far: %s\n", what, s)
				}
			}
		}
	})
	var once sync.Once
	tell = func(s archive.Summary) {
		if records++; records%1000 == 0 { // one allocation in a thousand
			latest := s
			newest.Store(&latest)
		}
	}
	return tell, func() {
		once.Do(func() {
			close(end)
			saying.Wait()
		})
	}
}

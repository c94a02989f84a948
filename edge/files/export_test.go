package files

import (
	"time"
)

// At has so many octets take at most so long.
func (h *Handler) At(time func(octets int64) time.Duration) { h.time = time }

// Fill has the disk fail with err once an upload has written so many octets.
func (h *Handler) Fill(after int, err error) {
	h.put = func(name string) (sink, error) {
		to, failed := h.create(name)
		return &full{to, after, err}, failed
	}
}

// full is a sink that takes so many octets.
type full struct {
	sink
	left int
	err  error
}

func (f *full) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, f.err
	}
	return f.sink.Write(b)
}

//go:build race

package engine_test

// raceEnabled: under the race detector sync.Pool drops buffers on purpose.
const raceEnabled = true

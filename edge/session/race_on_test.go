//go:build race

package session_test

// raceEnabled: under the race detector sync.Pool drops buffers on purpose.
const raceEnabled = true

//go:build !linux

package proc

import "errors"

// Renice is for Linux.
func Renice(int, int) error { return errors.New("no priorities of threads on this system") }

//go:build !linux

package engines

// scratch is empty: temporary files are where they always are.
func scratch() string { return "" }

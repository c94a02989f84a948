// Package files is what edge and core agree on about uploaded files: their IDs, where they are in
// a directory that both have, and the signed URLs by which an edge takes them in and gives them
// out without asking a core. It stores nothing. edge/files and plugins/file call it, and
// core/plugin for the IDs.
package files

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// letters are those of all IDs of the server's.
const letters = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"

// idLength is that of 128 bits in letters of five bits.
const idLength = 26

// NewID makes the ID of a file: 128 random bits, which nobody guesses.
func NewID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return base32.NewEncoding(letters).WithPadding(base32.NoPadding).EncodeToString(b)
}

// IsID reports whether text could be the ID of a file: nothing else names one, so no path does.
func IsID(text string) bool {
	return len(text) == idLength && strings.Trim(text, letters) == ""
}

// Path is where the file is below the directory.
func Path(id string) string { return id[:2] + "/" + id }

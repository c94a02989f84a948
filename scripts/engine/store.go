package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// kept is the form of the last good bundle on disk: its sources.
type kept struct {
	Hash  string
	Files []file
}

func keptPath(stateDir string) string { return filepath.Join(stateDir, "last-good-scripts.json") }

// keep writes the sources of an activated bundle, all or nothing.
func keep(stateDir string, t tree) error {
	if stateDir == "" {
		return nil
	}
	data, err := json.Marshal(kept{t.hash, t.files})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(stateDir, ".scripts-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), keptPath(stateDir))
}

// lastGood reads what keep wrote.
func lastGood(stateDir string) (tree, error) {
	if stateDir == "" {
		return tree{}, errors.New("no state directory is set")
	}
	data, err := os.ReadFile(keptPath(stateDir))
	if err != nil {
		return tree{}, err
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return tree{}, fmt.Errorf("%s: %w", keptPath(stateDir), err)
	}
	t := newTree(k.Files)
	if t.hash != k.Hash {
		return tree{}, fmt.Errorf("%s: damaged, or of another version", keptPath(stateDir))
	}
	return t, nil
}

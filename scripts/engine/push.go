package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// Files gives the scripts by their paths, as Prepare takes them.
func (s Scripts) Files() map[string]string { return byPath(s.t) }

// ScriptsOf makes Scripts of files by their paths.
func ScriptsOf(files map[string]string) (Scripts, error) {
	t, err := pushedTree(files)
	return Scripts{t}, err
}

// Scripts gives the sources of a bundle on the shelf, or of the active one if hash
// is empty.
func (e *Engine) Scripts(hash string) (Scripts, error) {
	active := e.active.Load().tree
	if hash == "" {
		return Scripts{active}, nil
	}
	full, err := e.shelf.find(hash)
	if err != nil {
		return Scripts{}, err
	}
	if full == active.hash {
		return Scripts{active}, nil
	}
	t, err := e.shelf.read(full)
	return Scripts{t}, err
}

// Before is the hash of the bundle that Rollback goes back to by itself; an error
// says that there is none.
func (e *Engine) Before() (string, error) { return e.shelf.find("") }

// Note writes something into the journal that was decided beside the shelf.
func (e *Engine) Note(ctx context.Context, what string, by By) error {
	release, err := e.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	e.decided(Entry{What: what, Bundle: e.activeHash(), By: by}, e.shelf.held())
	return nil
}

// errTexts is for recordings that tell too little to be compared with.
var errTexts = errors.New("texts were not recorded in full (core.rules.record.text), so what was said then tells nothing: name the scripts to compare with")

// Replay puts recorded questions to the draft, and to old; nil: it is compared with
// what was said then, which needs all texts.
func (d *Draft) Replay(ctx context.Context, recording []*Recorded, old *Draft) (Replayed, error) {
	switch {
	case old != nil:
		return replay(ctx, d.b, recording, d.b, old.b)
	case !InFull(recording):
		return Replayed{}, errTexts
	}
	return replay(ctx, d.b, recording, d.b, nil)
}

// Asked lists the bundles that recorded questions were put to, the last one first.
func Asked(recording []*Recorded) []string {
	last := map[string]int{}
	for i, one := range recording {
		last[one.Bundle] = i
	}
	return slices.SortedFunc(maps.Keys(last), func(a, b string) int { return last[b] - last[a] })
}

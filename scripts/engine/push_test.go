package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"freeim/scripts/engine"
)

// Many may be pushed that never become active: what one goes back to stays.
func TestPushesLeaveTheOneBefore(t *testing.T) {
	k := newKept(t)
	one := k.Status().Bundle
	two := k.save("two")
	for n := range 25 {
		if _, err := k.Prepare(t.Context(), map[string]string{"a.lua": answer(fmt.Sprint("n", n))}, me); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(k.Bundles()); n != 20 {
		t.Errorf("got %d bundles", n)
	}
	if before, err := k.Before(); err != nil || before != one {
		t.Errorf("got %s, %v, want %s", before, err, one)
	}
	if s, err := k.Scripts(one); err != nil || s.Bundle() != one || s.Files()["a.lua"] != answer("one") {
		t.Errorf("got %+v, %v", s, err)
	}
	if s, err := k.Scripts(""); err != nil || s.Bundle() != two {
		t.Errorf("got %s, %v, want %s", s.Bundle(), err, two)
	}
	if _, err := k.Scripts("0000"); err == nil || !strings.Contains(err.Error(), "push its files") {
		t.Errorf("got %v", err)
	}
	if _, err := k.Rollback(t.Context(), "", me); err != nil {
		t.Error(err)
	}
	k.says("one")
}

// Status tells what is on disk, whatever is active.
func TestStatusOfTheDisk(t *testing.T) {
	k := newKept(t)
	one := k.Status().Bundle
	if s := k.Status(); s.Disk != one {
		t.Errorf("got %q at the start, want %q", s.Disk, one)
	}
	r, err := k.Prepare(t.Context(), map[string]string{"a.lua": answer("pushed")}, me)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Activate(t.Context(), r.Prepared, engine.Policy{}, me); err != nil {
		t.Fatal(err)
	}
	if s := k.Status(); s.Disk != one || s.Bundle != r.Prepared || s.Held == nil || s.Held.Disk != one {
		t.Errorf("got %s on disk, held %+v", s.Disk, s.Held)
	}
	put(t, k.dir, map[string]string{"a.lua": "x = = 1"})
	if _, err := k.Reload(t.Context()); err == nil {
		t.Error("took nonsense")
	}
	if s := k.Status(); s.Disk == one || s.Disk == "" || s.Rejected == nil || s.Rejected.Bundle != s.Disk {
		t.Errorf("got %q on disk, rejected %+v", s.Disk, s.Rejected)
	}
	put(t, k.dir, map[string]string{"a.lua": "-- \xff"})
	if _, err := k.Reload(t.Context()); err == nil {
		t.Error("took nonsense")
	}
	if s := k.Status(); s.Disk != "" {
		t.Errorf("got %q for what cannot be read", s.Disk)
	}
	k.says("pushed")
	two := k.save("two")
	if s := k.Status(); s.Disk != two || s.Held != nil || s.Rejected != nil {
		t.Errorf("got %+v", s)
	}
}

// A trial is ended by its name only, and becomes active without being built again.
func TestTrialByName(t *testing.T) {
	k := newKept(t)
	one := k.Status().Bundle
	r, err := k.Prepare(t.Context(), map[string]string{"a.lua": answer("pushed")}, me)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Activate(t.Context(), r.Prepared, engine.Policy{Mode: engine.ModeShadow}, me); err != nil {
		t.Fatal(err)
	}
	if err := k.Abort(t.Context(), one, me); err == nil || k.Status().Candidate == nil {
		t.Errorf("got %v: the trial of another was ended", err)
	}
	if got, err := k.Activate(t.Context(), r.Prepared, engine.Policy{Mode: engine.ModeNow}, me); err != nil || got.From != one || got.To != r.Prepared {
		t.Errorf("got %+v, %v", got, err)
	}
	if last := k.Journal()[len(k.Journal())-1]; last.What != "promoted" {
		t.Errorf("got %+v", last)
	}
	k.says("pushed")
	if err := k.Note(t.Context(), "off", engine.By{Who: "ann", Why: "rule"}); err != nil {
		t.Fatal(err)
	}
	k.restart()
	k.says("pushed")
	all := k.Journal()
	if noted := all[len(all)-2]; noted.What != "off" || noted.Who != "ann" || noted.Bundle != r.Prepared {
		t.Errorf("got %+v", noted)
	}
}

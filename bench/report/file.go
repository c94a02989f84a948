package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
)

// Bounds of a results file: what is beyond them is no work of bench.
const (
	maxFile   = 256 << 20 // octets
	maxRows   = 10_000
	maxMany   = 256 // notes, series or classes of a row
	maxPoints = 100_000
	maxText   = 4096 // octets of a name or a note
)

// Read reads a file that Write wrote, and holds it to what a Row promises: its
// errors name the row and the field.
func Read(name string) (*Run, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: more than %d MiB are no results of bench", name, maxFile>>20)
	}
	r, err := Decode(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// Decode reads the text of a results file.
func Decode(text []byte) (*Run, error) {
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("no results of bench: %w", err)
	}
	switch {
	case head.Version == nil:
		return nil, errors.New("no results of bench: there is no version")
	case *head.Version != Version:
		return nil, fmt.Errorf("results of version %d: this bench reads version %d", *head.Version, Version)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	r := &Run{}
	if err := d.Decode(r); err != nil {
		return nil, err
	}
	if err := r.validate(); err != nil {
		return nil, err
	}
	return r, nil
}

// Write writes the results to a file, whole or not at all.
func (r *Run) Write(name string) error {
	if err := r.validate(); err != nil {
		return fmt.Errorf("results for %s: %w", name, err)
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // when it was not renamed
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// validate finds the first thing in a Run that cannot have been measured.
func (r *Run) validate() error {
	switch {
	case r.Version != Version:
		return fmt.Errorf("version is %d, not %d", r.Version, Version)
	case r.Started.IsZero():
		return errors.New("started is missing")
	case r.Machine.CPUs < 1:
		return fmt.Errorf("machine.cpus is %d", r.Machine.CPUs)
	case len(r.Rows) > maxRows:
		return fmt.Errorf("%d rows are more than %d", len(r.Rows), maxRows)
	}
	for _, t := range []string{r.Command, r.Commit, r.Machine.Model, r.Machine.Kernel, r.Machine.Go, r.Machine.Congestion} {
		if len(t) > maxText {
			return fmt.Errorf("a text of %d octets at the head is longer than %d", len(t), maxText)
		}
	}
	for i := range r.Rows {
		if err := r.Rows[i].validate(); err != nil {
			return fmt.Errorf("rows[%d]: %w", i, err)
		}
	}
	return nil
}

func (r *Row) validate() error {
	switch {
	case r.Scenario == "" || len(r.Scenario) > maxText:
		return errors.New("scenario is missing or too long")
	case r.Target == "" || len(r.Target) > maxText:
		return errors.New("target is missing or too long")
	case r.Round < 1:
		return fmt.Errorf("round is %d, and they count from 1", r.Round)
	case !finite(r.Seconds):
		return fmt.Errorf("seconds is %g", r.Seconds)
	case r.Seconds == 0 && r.Units() > 0:
		return fmt.Errorf("%d deliveries or connections in no time", r.Units())
	case len(r.Notes) > maxMany || len(r.Series) > maxMany || len(r.CPU) > maxMany || len(r.Memory) > maxMany || len(r.MemoryBefore) > maxMany:
		return fmt.Errorf("more than %d notes, series or classes", maxMany)
	}
	for _, f := range []struct {
		name string
		n    int64
	}{{"connected", r.Connected}, {"sent", r.Sent}, {"delivered", r.Delivered}, {"lost", r.Lost}, {"doubled", r.Doubled},
		{"reordered", r.Reordered}, {"skipped", r.Skipped}, {"errors", r.Errors}, {"reads", r.Reads}} {
		if f.n < 0 {
			return fmt.Errorf("%s is %d", f.name, f.n)
		}
	}
	if err := r.Params.validate(); err != nil {
		return fmt.Errorf("params.%w", err)
	}
	for class, c := range r.CPU {
		if !finite(c.User) || !finite(c.System) {
			return fmt.Errorf("cpu.%s is %g user, %g system", class, c.User, c.System)
		}
	}
	for _, classes := range []map[string]Memory{r.Memory, r.MemoryBefore} {
		for class, m := range classes {
			if m.Processes < 0 || m.RSS < 0 || m.PSS < 0 || m.Heap < 0 || m.Socket < 0 {
				return fmt.Errorf("memory of %s: a negative figure", class)
			}
		}
	}
	for i, s := range r.Series {
		if err := s.validate(); err != nil {
			return fmt.Errorf("series[%d]: %w", i, err)
		}
	}
	for i, note := range r.Notes {
		if len(note) > maxText {
			return fmt.Errorf("notes[%d] is longer than %d octets", i, maxText)
		}
	}
	return nil
}

func (p *Params) validate() error {
	for _, f := range []struct {
		name string
		n    int
	}{{"sessions", p.Sessions}, {"members", p.Members}, {"rooms", p.Rooms}, {"publishers", p.Publishers},
		{"payload", p.Payload}, {"window", p.Window}, {"edges", p.Edges}, {"cores", p.Cores}} {
		if f.n < 0 {
			return fmt.Errorf("%s is %d", f.name, f.n)
		}
	}
	switch {
	case !finite(p.Rate):
		return fmt.Errorf("rate is %g", p.Rate)
	case p.Loop != "" && p.Loop != Closed && p.Loop != Open:
		return fmt.Errorf("loop is %q, neither %q nor %q nor empty", p.Loop, Closed, Open)
	case len(p.Transport) > maxText || len(p.Codec) > maxText || len(p.Variant) > maxText:
		return fmt.Errorf("transport, codec or variant is longer than %d octets", maxText)
	}
	return nil
}

func (s *Series) validate() error {
	switch {
	case s.Name == "" || len(s.Name) > maxText || len(s.Unit) > maxText:
		return errors.New("name is missing or too long")
	case len(s.Points) > maxPoints:
		return fmt.Errorf("%d points are more than %d", len(s.Points), maxPoints)
	}
	for i, p := range s.Points {
		if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) || !finite(p.At) || i > 0 && p.At < s.Points[i-1].At {
			return fmt.Errorf("points[%d] is %g at %g s: times go up from 0", i, p.Value, p.At)
		}
	}
	return nil
}

// finite reports whether a figure is a number that can have been measured.
func finite(f float64) bool { return f >= 0 && !math.IsInf(f, 0) }

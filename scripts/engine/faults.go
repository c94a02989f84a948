package engine

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// maxFaultPlaces is how many places are remembered; beyond it the one that was
// quiet for the longest time is forgotten.
const maxFaultPlaces = 256

// maxSample is how many characters of a text a sample shows.
const maxSample = 60

// FaultPlace is a line of a script at which hooks failed, in whatever bundle.
type FaultPlace struct {
	Place       string // file:line
	Rule        string // name@file:line, of the hook
	Kind        string // one of the Fault constants
	Message     string // of the last time
	Bundle      string // of the last time
	Count       int64
	First, Last time.Time
	// Sample is the action that failed there first. Its text is shown by its shape:
	// letters as x, digits as 0.
	Sample string
}

// faultTable counts the faults of an engine by their places. It outlives reloads.
type faultTable struct {
	mu     sync.Mutex // guards places
	places map[faultKey]*FaultPlace
}

type faultKey struct{ place, rule, kind string }

func newFaultTable() *faultTable { return &faultTable{places: map[faultKey]*FaultPlace{}} }

// add counts a fault of h. On a nil table it does nothing: nobody counts the faults
// of a bundle's tests.
func (t *faultTable) add(h *hook, f *Fault, c *Call, bundle string) {
	if t == nil {
		return
	}
	now := time.Now()
	key := faultKey{faultyLine(h, f), h.rule, f.Kind}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.places[key]
	if p == nil {
		if len(t.places) >= maxFaultPlaces {
			t.forget()
		}
		p = &FaultPlace{Place: key.place, Rule: h.rule, Kind: f.Kind, First: now, Sample: sampleOf(c)}
		t.places[key] = p
	}
	p.Count++
	p.Last, p.Message, p.Bundle = now, f.Msg, bundle
}

// forget removes the place that was quiet for the longest time.
func (t *faultTable) forget() {
	var oldest faultKey
	var last time.Time
	for key, p := range t.places {
		if last.IsZero() || p.Last.Before(last) {
			oldest, last = key, p.Last
		}
	}
	delete(t.places, oldest)
}

// Faults lists the places at which hooks failed since the engine was made, the
// newest first.
func (e *Engine) Faults() []FaultPlace {
	e.faults.mu.Lock()
	defer e.faults.mu.Unlock()
	out := make([]FaultPlace, 0, len(e.faults.places))
	for _, p := range e.faults.places {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b FaultPlace) int { return b.Last.Compare(a.Last) })
	return out
}

// faultyLine is the place that the message begins with, or the hook's own.
func faultyLine(h *hook, f *Fault) string {
	if found := parseFinding(f.Msg); found.File != "" && found.Line > 0 {
		return fmt.Sprintf("%s:%d", found.File, found.Line)
	}
	return h.place()
}

// sampleOf describes an action without anything that people wrote in it.
func sampleOf(c *Call) string {
	if c == nil || c.Action == "" {
		return ""
	}
	parts := []string{c.Action}
	if c.Kind != "" {
		parts = append(parts, "kind="+c.Kind)
	}
	if c.Text != nil {
		parts = append(parts, `text="`+redacted(*c.Text)+`"`)
	}
	return strings.Join(parts, " ")
}

// redacted keeps the shape of a text, which is what a pattern stumbles over.
func redacted(text string) string {
	var out strings.Builder
	n := 0
	for _, r := range text {
		if n++; n > maxSample {
			out.WriteString("…")
			break
		}
		switch {
		case unicode.IsLetter(r):
			r = 'x'
		case unicode.IsDigit(r):
			r = '0'
		case !unicode.IsPrint(r):
			r = '·'
		}
		out.WriteRune(r)
	}
	return out.String()
}

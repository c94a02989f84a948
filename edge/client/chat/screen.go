package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
)

// screen is what the user sees. Its methods are safe for concurrent use.
type screen struct {
	mu   sync.Mutex // held while a line is written, so that lines stay whole
	out  io.Writer  // messages and their states
	errs io.Writer  // all else
}

// message shows one message.
func (s *screen) message(unixMilli int64, who, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%s %s: %s\n", clock(unixMilli), safe(who), safe(text))
}

// state shows what became of an own message.
func (s *screen) state(mark, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%s %s\n", mark, safe(text))
}

// line shows a line of a command's answer.
func (s *screen) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%s\n", safe(fmt.Sprintf(format, args...)))
}

// notice shows what happens around the messages.
func (s *screen) notice(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.errs, "· %s\n", safe(fmt.Sprintf(format, args...)))
}

func clock(unixMilli int64) string { return time.UnixMilli(unixMilli).Format(time.TimeOnly) }

// safe is text without what could move the cursor, start a line of its own or
// speak to the terminal: other people wrote it.
func safe(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return '⏎'
		case r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return '�'
		}
		return r
	}, text)
}

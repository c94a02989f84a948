package load_test

import (
	"testing"

	"freeim/bench/load"
)

// TestStream plants each fault and names it.
func TestStream(t *testing.T) {
	const chat, important = 0, 1
	tests := []struct {
		name string
		feed func(s *load.Stream, c *load.Checks)
		want load.Checks
	}{
		{"sound", func(s *load.Stream, c *load.Checks) {
			for seq := range int64(5) {
				s.Take(seq+8, chat, c)
			}
		}, load.Checks{Received: 5}},
		{"lost at the end", func(s *load.Stream, c *load.Checks) {
			for seq := int64(8); seq <= 10; seq++ {
				s.Take(seq, chat, c)
			}
		}, load.Checks{Received: 3, Lost: 2}},
		{"lost in the middle: an undeclared gap", func(s *load.Stream, c *load.Checks) {
			for _, seq := range []int64{8, 9, 12} {
				s.Take(seq, chat, c)
			}
		}, load.Checks{Received: 3, Lost: 2}},
		{"lost at the beginning", func(s *load.Stream, c *load.Checks) {
			for seq := int64(9); seq <= 12; seq++ {
				s.Take(seq, chat, c)
			}
		}, load.Checks{Received: 4, Lost: 1}},
		{"everything is lost", func(*load.Stream, *load.Checks) {}, load.Checks{Lost: 5}},
		{"doubled at once", func(s *load.Stream, c *load.Checks) {
			for _, seq := range []int64{8, 9, 9, 10, 11, 12} {
				s.Take(seq, chat, c)
			}
		}, load.Checks{Received: 5, Doubled: 1}},
		{"doubled behind a gap", func(s *load.Stream, c *load.Checks) {
			for _, seq := range []int64{8, 10, 10, 11, 12} {
				s.Take(seq, chat, c)
			}
			s.Skip(9, 9, c)
		}, load.Checks{Received: 4, Skipped: 1, Doubled: 1}},
		{"reordered", func(s *load.Stream, c *load.Checks) {
			for _, seq := range []int64{8, 10, 9, 11, 12} {
				s.Take(seq, chat, c)
			}
		}, load.Checks{Received: 5, Reordered: 1}},
		{"an important one overtakes: no fault", func(s *load.Stream, c *load.Checks) {
			s.Take(8, chat, c)
			s.Take(11, important, c)
			s.Take(9, chat, c)
			s.Take(10, chat, c)
			s.Take(12, important, c)
		}, load.Checks{Received: 5}},
		{"important ones against their order", func(s *load.Stream, c *load.Checks) {
			s.Take(11, important, c)
			s.Take(8, important, c)
			s.Take(9, chat, c)
			s.Take(10, chat, c)
			s.Take(12, chat, c)
		}, load.Checks{Received: 5, Reordered: 1}},
		{"declared skips: no fault", func(s *load.Stream, c *load.Checks) {
			s.Take(8, chat, c)
			s.Skip(9, 11, c)
			s.Take(12, chat, c)
		}, load.Checks{Received: 2, Skipped: 3}},
		{"skips declared late", func(s *load.Stream, c *load.Checks) {
			s.Take(8, chat, c)
			s.Take(12, chat, c)
			s.Skip(9, 11, c)
		}, load.Checks{Received: 2, Skipped: 3}},
		{"declared and received", func(s *load.Stream, c *load.Checks) {
			s.Skip(8, 12, c)
			s.Take(10, chat, c)
		}, load.Checks{Skipped: 5, Doubled: 1}},
		{"declared twice", func(s *load.Stream, c *load.Checks) {
			s.Skip(8, 12, c)
			s.Skip(12, 12, c)
		}, load.Checks{Skipped: 5, Doubled: 1}},
		{"a range that cannot be", func(s *load.Stream, c *load.Checks) {
			s.Skip(8, 12, c)
			s.Skip(20, 19, c)
			s.Skip(1, 1<<40, c)
		}, load.Checks{Skipped: 5, Garbled: 2}},
		{"more than there is", func(s *load.Stream, c *load.Checks) {
			for seq := int64(8); seq <= 13; seq++ {
				s.Take(seq, chat, c)
			}
			s.Take(15, chat, c)
		}, load.Checks{Received: 7, Garbled: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s load.Stream
			var got load.Checks
			s.Begin(8)
			tt.feed(&s, &got)
			s.End(12, &got)
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

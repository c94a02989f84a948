package pebble

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/timeline"
)

func openMemory(t testing.TB) *Store {
	t.Helper()
	s, err := Open(Options{Dir: t.TempDir(), IDs: im.NewIDGenerator(nil), Log: slog.New(slog.DiscardHandler), Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func to(sender im.UserID, clientID string) timeline.Draft {
	return timeline.Draft{Conversation: im.ChatOf(sender, sender+1), Sender: sender, ClientID: clientID,
		Body: []byte("hello"), Inboxes: []im.UserID{sender, sender + 1}}
}

// Whoever looks for a client ID while others commit finds what was committed before he
// began, whichever iterator he is given; Close finds none left open (openMemory).
func TestFindWhileOthersCommit(t *testing.T) {
	s := openMemory(t)
	var all sync.WaitGroup
	for sender := im.UserID(1); sender <= 2*maxSpare; sender++ {
		all.Go(func() {
			for i := range 100 {
				id := fmt.Sprint("m", i)
				if _, _, ok, err := s.Find(t.Context(), sender, id); ok || err != nil {
					t.Errorf("before: got %v, %v, want nothing", ok, err)
				}
				want, err := s.Append(t.Context(), to(sender, id))
				if err != nil {
					t.Error(err)
				}
				got, _, ok, err := s.Find(t.Context(), sender, id)
				if !ok || err != nil || got.ID != want.ID {
					t.Errorf("after: got %v, %v, %v, want %v", got.ID, ok, err, want.ID)
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkFindNothing looks for client IDs that are new, in a store of 100,000 messages.
func BenchmarkFindNothing(b *testing.B) {
	s := openMemory(b)
	var all sync.WaitGroup
	for part := range 64 {
		all.Go(func() {
			for i := part; i < 100_000; i += 64 {
				if _, err := s.Append(b.Context(), to(10, fmt.Sprint("m", i))); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		id := fmt.Sprintf("%016x", uint64(i)*0x9E3779B97F4A7C15)
		if _, _, ok, err := s.Find(b.Context(), 10, id); ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

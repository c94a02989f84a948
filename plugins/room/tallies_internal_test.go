package room

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
)

// told is a plugin.Outbox that keeps notices, and refuses those about some rooms.
type told struct {
	plugin.Outbox
	notices []plugin.Notice
	refused im.ConversationID
}

func (o *told) Tell(_ context.Context, notices ...plugin.Notice) []error {
	faults := make([]error, len(notices))
	for i, n := range notices {
		if n.About == o.refused {
			faults[i] = errors.New("the store is away")
			continue
		}
		o.notices = append(o.notices, n)
	}
	return faults
}

// bare is a host that gives what is asked of it here.
type bare struct {
	plugin.Host
	ids  *im.IDGenerator
	runs []string
}

func (b *bare) Log() *slog.Logger                       { return slog.New(slog.DiscardHandler) }
func (b *bare) Now() time.Time                          { return time.Now() }
func (b *bare) MessageIDs() *im.IDGenerator             { return b.ids }
func (b *bare) Go(name string, _ func(context.Context)) { b.runs = append(b.runs, name) }

func roomOf(n int) im.ConversationID { return im.ConversationID(fmt.Sprint("r_", n)) }

// Of many rooms whose sizes changed some are told in one tick, and all in some ticks; of more than are kept the rest
// waits for the next change.
func TestTalliesAreBounded(t *testing.T) {
	c, now := newCounts(true, mostTallies), time.Now()
	for n := range maxCounts + 10 {
		c.note(roomOf(n), presence.Occupancy{Members: int64(n)})
	}
	if len(c.rooms) != maxCounts {
		t.Errorf("%d rooms wait, want %d", len(c.rooms), maxCounts)
	}
	seen := map[im.ConversationID]bool{}
	for range 5 {
		all, more := c.due(now)
		if len(all) != mostTallies || !more {
			t.Fatalf("%d are told in a tick, more to come: %t", len(all), more)
		}
		for room := range all {
			if seen[room] {
				t.Errorf("%s is told twice", room)
			}
			seen[room] = true
		}
	}
	c.note(roomOf(maxCounts+1), presence.Occupancy{Members: 1})
	if c.rooms[roomOf(maxCounts+1)] != nil {
		t.Error("there is room for one more than there may be")
	}
	c, now = newCounts(true, mostTallies), time.Now()
	for n := range 3*mostTallies - 1 {
		c.note(roomOf(n), presence.Occupancy{})
	}
	ticks := 0
	for more := true; more; ticks++ {
		var all map[im.ConversationID]presence.Occupancy
		all, more = c.due(now)
		now = now.Add(countTick)
		if ticks > 100 || len(all) > mostTallies {
			t.Fatalf("tick %d tells %d", ticks, len(all))
		}
	}
	if len(c.rooms) > 0 {
		t.Errorf("%d rooms are kept though nothing is due", len(c.rooms))
	}
}

// A size that could not be told is told later, unless a newer one waits by then.
func TestTallyAgain(t *testing.T) {
	o := &told{refused: roomOf(2)}
	p := &Room{host: &bare{ids: im.NewIDGenerator(time.Now)}, outbox: o, tallies: newCounts(true, mostTallies), config: defaultConfig()}
	p.tallies.note(roomOf(1), presence.Occupancy{Members: 1})
	p.tallies.note(roomOf(2), presence.Occupancy{Members: 2})
	now := time.Now()
	all, _ := p.tallies.due(now)
	p.tellTallies(t.Context(), all)
	if len(o.notices) != 1 || o.notices[0].About != roomOf(1) || o.notices[0].Name != eventMembers {
		t.Fatalf("told %+v", o.notices)
	}
	if all, _ = p.tallies.due(now.Add(countEvery)); len(all) != 1 || all[roomOf(2)].Members != 2 {
		t.Errorf("%v are told again, want what was refused", all)
	}
	p.tallies.note(roomOf(2), presence.Occupancy{Members: 3})
	p.tellTallies(t.Context(), all) // refused once more
	if all, _ = p.tallies.due(now.Add(2 * countEvery)); all[roomOf(2)].Members != 3 {
		t.Errorf("%v are told, want the newer size", all)
	}
}

// It is told who is in a room while they are few, in an event that is not too large; of more people than that only how many.
func TestTallyNames(t *testing.T) {
	const mostData = 4 << 10 // of an event
	for people, named := range map[int]int{0: 0, 1: 1, mostNamed: mostNamed, mostNamed + 1: 0} {
		o := new(told)
		p := &Room{host: &bare{ids: im.NewIDGenerator(time.Now)}, outbox: o, tallies: newCounts(true, mostTallies), config: defaultConfig()}
		p.config.PresenceLimit = 1000
		there := presence.Occupancy{Members: int64(people), Listed: true}
		for n := range people {
			there.Users = append(there.Users, im.UserID(1<<53-1-people+n))
		}
		p.tellTallies(t.Context(), map[im.ConversationID]presence.Occupancy{"r_" + im.ConversationID(strings.Repeat("x", 128)): there})
		var got tally
		if len(o.notices) != 1 || json.Unmarshal([]byte(o.notices[0].Data), &got) != nil {
			t.Fatalf("%d people: told %+v", people, o.notices)
		}
		if got.Members != int64(people) || len(got.Users) != named || len(o.notices[0].Data) > mostData {
			t.Errorf("%d people: told of %d, names %d in %d octets, want %d named", people, got.Members, len(got.Users), len(o.notices[0].Data), named)
		}
	}
}

// Without an outbox nobody is there to be told, and nothing runs for that.
func TestNothingRunsWithoutOutbox(t *testing.T) {
	for _, row := range []struct {
		outbox plugin.Outbox
		want   []string
	}{{nil, []string{"sizes of rooms"}}, {new(told), []string{"sizes of rooms", "sizes of rooms for other programs"}}} {
		h := new(bare)
		if err := (&Room{host: h, outbox: row.outbox}).Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(h.runs, row.want) {
			t.Errorf("there runs %q, want %q", h.runs, row.want)
		}
	}
}

package main

import (
	"testing"

	"freeim/edge/client/clienttest"
)

// TestRooms: two people in a room see each other's lines, what is skipped, and the
// end of the room.
func TestRooms(t *testing.T) {
	fake, address := server(t, clienttest.FakeOptions{})
	fake.SayInRoom("lobby", "before", true)
	bob := start(t, account(address, "bob", "-signup")...)
	bob.types("/room #lobby")
	bob.sees(bob.errs, `in the room lobby \(nobody else\)`)
	bob.sees(bob.out, `lobby \| 0: before`)
	alice := start(t, account(address, "alice", "-signup")...)
	alice.types("/leave")
	alice.sees(alice.errs, `which room\? /leave NAME`)
	alice.types("/room")
	alice.sees(alice.errs, `/room needs a name`)
	alice.types("/room lobby")
	alice.types("hello room")
	for _, x := range []*terminal{alice, bob} {
		x.sees(x.out, `(?m)^\S+ lobby \| 100002: hello room$`)
	}
	fake.SayInRoom("lobby", "not for you", false)
	bob.sees(bob.errs, `1 messages of lobby are not shown`)
	bob.types("/history 2")
	bob.sees(bob.out, `(?s)hello room\n.*hello room\n\S+ lobby \| 0: not for you\n`)
	bob.types("/to alice") // a room can be left from elsewhere
	bob.sees(bob.errs, `writing to alice`)
	bob.types("/leave lobby")
	bob.sees(bob.errs, `left the room lobby`)
	bob.types("/quit")
	bob.exits(exitOK)
	fake.CloseRoom("lobby")
	alice.sees(alice.errs, `not in the room lobby any more: the room is closed`)
	alice.types("anybody?")
	alice.sees(alice.errs, `not sent to lobby: you are not in that room`)
	alice.types("/quit")
	alice.exits(exitFailed)
}

package people_test

import (
	"path/filepath"
	"testing"

	"freeim/bench/cluster"
	"freeim/bench/people"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
)

// TestPreparedPeople: a real server takes their tokens, knows them as recipients,
// goes on counting users after them, and lets nobody in by password.
func TestPreparedPeople(t *testing.T) {
	dir := t.TempDir()
	const many = 250 // more than one statement holds
	if err := people.Prepare(t.Context(), filepath.Join(dir, "data"), "seed", many); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(t.Context(), cluster.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	dial := func() *client.Client {
		conn, err := client.Dial(t.Context(), client.Options{Address: c.Edges[0].TCP(), Codec: idl.CodecProtobuf})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	for _, index := range []int{0, 99, 100, many - 1} {
		rep, err := dial().Auth(t.Context(), people.Token("seed", index))
		if err != nil || rep.UserId != people.UserID(index) {
			t.Errorf("person %d: got %v, %v", index, rep, err)
		}
	}
	first := dial()
	if _, err := first.Auth(t.Context(), people.Token("seed", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Send(t.Context(), &chatpb.SendRequest{ClientId: "a", ToUserId: people.UserID(2), Text: "hi"}); err != nil {
		t.Error(err)
	}
	stranger := dial()
	if _, err := stranger.Auth(t.Context(), people.Token("another seed", 1)); err == nil {
		t.Error("a token of another seed was let in")
	}
	if id, err := stranger.SignUp(t.Context(), "carol", "correct horse battery", ""); err != nil || id != people.UserID(many) {
		t.Errorf("the next person: got %d, %v, want %d", id, err, people.UserID(many))
	}
	device := &accountpb.Device{Id: "phone", Type: idl.DeviceMobile}
	if _, err := stranger.SignIn(t.Context(), "bench1", "correct horse battery", device); err == nil {
		t.Error("a prepared person was let in by password")
	}
}

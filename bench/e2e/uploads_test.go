package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"

	"freeim/bench/cluster"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/filepb"
	"freeim/idl/kitex_gen/momentpb"
)

// A person uploads a picture, over each kind of connection and over HTTP alone, and shows it; another, at another
// edge, who is told of it reads it there. What nobody may refer to is refused, what is referred to stays.
func TestUploads(t *testing.T) {
	c := startClusterWith(t, cluster.Options{Dir: t.TempDir(), Edges: 2})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	server := func(e *cluster.Edge) string { return strings.TrimSuffix(e.Page(), "/") }
	picture := bytes.Repeat([]byte("\x89PNG\r\n\x1a\n"), 40_000)
	bob, _, err := newCaller(t, c.Edges[1].API()).join(ctx, "bob", "script")
	if err != nil {
		t.Fatal(err)
	}
	read := func(id string) []byte {
		t.Helper()
		var rep filepb.FileURLReply
		if _, err := bob.call(ctx, "file.url", &filepb.FileURLRequest{FileIds: []string{id}}, &rep); err != nil || len(rep.Files) != 1 {
			t.Fatalf("got %v, %v", &rep, err)
		}
		address, err := client.FileAddress(server(c.Edges[1]), rep.Files[0].Url)
		if err != nil {
			t.Fatal(err)
		}
		in, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := bob.http.Do(in)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		body, err := io.ReadAll(got.Body)
		if err != nil || got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != "image/png" {
			t.Errorf("got %s, %v, %v", got.Status, got.Header, err)
		}
		return body
	}
	for _, f := range forms[:4] {
		o := f.options(c.Edges[0])
		alice, err := signUp(ctx, o, "alice-"+f.name)
		if err != nil {
			t.Fatal(err)
		}
		phone, err := newDevice(ctx, o, alice, "phone", idl.DeviceMobile)
		if err != nil {
			t.Fatal(err)
		}
		defer phone.disconnect()
		told := int64(0)
		file, err := phone.session.UploadFile(ctx, client.Upload{Name: "sunset.png", Type: "image/png", Content: bytes.NewReader(picture), Server: server(c.Edges[0]),
			HTTP: bob.http, Progress: func(sent, _ int64) { told = sent }})
		if err != nil || file.Size != int64(len(picture)) || told != file.Size {
			t.Fatalf("%s: got %v, %v, told of %d octets", f.name, file, err, told)
		}
		publish := &momentpb.PublishMomentRequest{ClientId: "m1", Images: []string{"file:" + file.Id}, Visibility: momentpb.MomentVisibility_MOMENT_VISIBILITY_PUBLIC}
		if _, err := bob.call(ctx, "moment.publish", publish, &momentpb.PublishMomentReply{}); client.CodeOf(err) != idl.CodeNotFound {
			t.Errorf("%s: another's picture: got %v", f.name, err)
		}
		moment, err := phone.session.PublishMoment(ctx, publish)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(file.Id); !bytes.Equal(got, picture) {
			t.Errorf("%s: bob reads %d octets, want %d", f.name, len(got), len(picture))
		}
		wantCode(t, "a picture that is shown is deleted", phone.session.DeleteFile(ctx, file.Id), idl.CodeConflict)
		if err := phone.session.DeleteMoment(ctx, moment.MomentId); err != nil {
			t.Fatal(err)
		}
		if err := phone.session.DeleteFile(ctx, file.Id); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	// And over HTTP alone, as its own avatar.
	sum := sha256.Sum256(picture)
	var ticket filepb.FileUploadReply
	if _, err := bob.call(ctx, "file.upload", &filepb.FileUploadRequest{Name: "me.png", Size: int64(len(picture)), Type: "image/png", Sha256: hex.EncodeToString(sum[:])}, &ticket); err != nil {
		t.Fatal(err)
	}
	var done filepb.FileCommitReply
	_, err = bob.call(ctx, "file.commit", &filepb.FileCommitRequest{FileId: ticket.FileId}, &done)
	wantCode(t, "a commit before the octets", err, idl.CodeNotFound)
	address, err := client.FileAddress(server(c.Edges[0]), ticket.Url)
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{strings.Repeat("x", len(picture)): 400, string(picture): 200} {
		in, err := http.NewRequestWithContext(ctx, ticket.Method, address, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := bob.http.Do(in)
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
		if got.StatusCode != want {
			t.Errorf("got %s, want %d", got.Status, want)
		}
	}
	if _, err := bob.call(ctx, "file.commit", &filepb.FileCommitRequest{FileId: ticket.FileId}, &done); err != nil {
		t.Fatal(err)
	}
	avatar := "file:" + done.File.Id
	if _, err := bob.call(ctx, "account.update_profile", &accountpb.UpdateProfileRequest{Avatar: &avatar}, &accountpb.UpdateProfileReply{}); err != nil {
		t.Fatal(err)
	}
	if got := read(done.File.Id); !bytes.Equal(got, picture) {
		t.Errorf("bob's avatar has %d octets", len(got))
	}
}

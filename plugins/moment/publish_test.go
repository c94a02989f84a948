package moment_test

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/files"
	"freeim/idl/kitex_gen/momentpb"
	"freeim/plugins/moment"
)

const (
	toFriends = momentpb.MomentVisibility_MOMENT_VISIBILITY_FRIENDS
	toAll     = momentpb.MomentVisibility_MOMENT_VISIBILITY_PUBLIC
	toNobody  = momentpb.MomentVisibility_MOMENT_VISIBILITY_PRIVATE
	only      = momentpb.MomentVisibility_MOMENT_VISIBILITY_ONLY
	except    = momentpb.MomentVisibility_MOMENT_VISIBILITY_EXCEPT
)

func manyImages(n int) (all []string) {
	for range n {
		all = append(all, "https://pics.example/a.jpg?a=1&b=2")
	}
	return all
}

func numbers(n int) (all []int64) {
	for i := range n {
		all = append(all, int64(300_000+n-i))
	}
	return all
}

func TestPublishFields(t *testing.T) {
	w := start(t)
	film := func(url, cover string, ms int64) *momentpb.MomentVideo {
		return &momentpb.MomentVideo{Url: url, Cover: cover, DurationMs: ms}
	}
	for _, test := range []struct {
		name  string
		req   *momentpb.PublishMomentRequest
		field string // that is refused
	}{
		{"text", &momentpb.PublishMomentRequest{Text: "a line\nand another 🦊 שלום"}, ""},
		{"nothing", &momentpb.PublishMomentRequest{}, "text"},
		{"blank", &momentpb.PublishMomentRequest{Text: " \n "}, "text"},
		{"a place alone", &momentpb.PublishMomentRequest{Place: &momentpb.MomentPlace{Name: "x"}}, "text"},
		{"2,000 characters", &momentpb.PublishMomentRequest{Text: strings.Repeat("长", 2000)}, ""},
		{"2,001 characters", &momentpb.PublishMomentRequest{Text: strings.Repeat("长", 2001)}, "text"},
		{"10,000 characters", &momentpb.PublishMomentRequest{Text: strings.Repeat("x", 10_000)}, "text"},
		{"control character", &momentpb.PublishMomentRequest{Text: "a\x1b[2J"}, "text"},
		{"override of direction", &momentpb.PublishMomentRequest{Text: "a\u202eb"}, "text"},
		{"nine images", &momentpb.PublishMomentRequest{Images: manyImages(9)}, ""},
		{"ten images", &momentpb.PublishMomentRequest{Images: manyImages(10)}, "images"},
		{"1,000 images", &momentpb.PublishMomentRequest{Images: manyImages(1000)}, "images"},
		{"file", &momentpb.PublishMomentRequest{Images: []string{"file:" + w.files.Add(alice, "image/png")}}, ""},
		{"no file's ID", &momentpb.PublishMomentRequest{Images: []string{"file:7Q2_a-b.c"}}, "images"},
		{"http", &momentpb.PublishMomentRequest{Images: []string{"http://pics.example/a.jpg"}}, "images"},
		{"script", &momentpb.PublishMomentRequest{Images: []string{"javascript:alert(1)"}}, "images"},
		{"local file", &momentpb.PublishMomentRequest{Images: []string{"file:///etc/passwd"}}, "images"},
		{"empty image", &momentpb.PublishMomentRequest{Images: []string{""}}, "images"},
		{"password in an image", &momentpb.PublishMomentRequest{Images: []string{"https://u:p@x.example/a"}}, "images"},
		{"long image", &momentpb.PublishMomentRequest{Images: []string{"https://x.example/" + strings.Repeat("a", 500)}}, "images"},
		{"video", &momentpb.PublishMomentRequest{Video: film("https://x.example/v", "https://x.example/c.jpg", 15_000)}, ""},
		{"video without cover", &momentpb.PublishMomentRequest{Video: film("https://x.example/v", "", 0)}, ""},
		{"video without address", &momentpb.PublishMomentRequest{Video: film("", "https://x.example/c", 0)}, "video.url"},
		{"bad cover", &momentpb.PublishMomentRequest{Video: film("https://x.example/v", "x", 0)}, "video.cover"},
		{"long video", &momentpb.PublishMomentRequest{Video: film("https://x.example/v", "", 3_600_001)}, "video.duration_ms"},
		{"negative video", &momentpb.PublishMomentRequest{Video: film("https://x.example/v", "", -1)}, "video.duration_ms"},
		{"images and video", &momentpb.PublishMomentRequest{Images: manyImages(1), Video: film("https://x.example/v", "", 0)}, "video"},
		{"place", &momentpb.PublishMomentRequest{Text: "x", Place: &momentpb.MomentPlace{Name: "外滩", Latitude: 31.2397, Longitude: 121.4904}}, ""},
		{"place without name", &momentpb.PublishMomentRequest{Text: "x", Place: &momentpb.MomentPlace{}}, "place.name"},
		{"beyond the pole", &momentpb.PublishMomentRequest{Text: "x", Place: &momentpb.MomentPlace{Name: "x", Latitude: 90.1}}, "place.latitude"},
		{"beyond the date line", &momentpb.PublishMomentRequest{Text: "x", Place: &momentpb.MomentPlace{Name: "x", Longitude: -180.1}}, "place.longitude"},
		{"no number", &momentpb.PublishMomentRequest{Text: "x", Place: &momentpb.MomentPlace{Name: "x", Latitude: math.NaN()}}, "place.latitude"},
		{"infinite", &momentpb.PublishMomentRequest{Text: "x", Place: &momentpb.MomentPlace{Name: "x", Longitude: math.Inf(1)}}, "place.longitude"},
		{"no visibility", &momentpb.PublishMomentRequest{Text: "x", Visibility: 5}, "visibility"},
		{"list of a public one", &momentpb.PublishMomentRequest{Text: "x", Visibility: toAll, UserIds: []int64{1}}, "user_ids"},
		{"no list", &momentpb.PublishMomentRequest{Text: "x", Visibility: only}, "user_ids"},
		{"500 people", &momentpb.PublishMomentRequest{Text: "x", Visibility: except, UserIds: numbers(500)}, ""},
		{"501 people", &momentpb.PublishMomentRequest{Text: "x", Visibility: except, UserIds: numbers(501)}, "user_ids"},
		{"herself", &momentpb.PublishMomentRequest{Text: "x", Visibility: only, UserIds: []int64{int64(alice)}}, "user_ids"},
		{"nobody", &momentpb.PublishMomentRequest{Text: "x", Visibility: only, UserIds: []int64{0}}, "user_ids"},
		{"twice the same", &momentpb.PublishMomentRequest{Text: "x", Visibility: only, UserIds: []int64{7, 7}}, ""},
		{"client ID", &momentpb.PublishMomentRequest{Text: "x", ClientId: "~1"}, "client_id"},
	} {
		for _, codec := range codecs {
			if codec == idl.CodecJSON && strings.HasPrefix(test.name, "no number") || codec == idl.CodecJSON && test.name == "infinite" {
				continue // cannot be written
			}
			t.Run(test.name+" in "+codec.String(), func(t *testing.T) {
				w.t = t
				before, given := w.count("SELECT COUNT(*) FROM moment_moments"), test.req.ClientId != ""
				if !given {
					test.req.ClientId = w.clientID()
				}
				s, rep := w.As(alice, "phone", codec), new(momentpb.PublishMomentReply)
				err := s.Call(idl.ActionPublishMoment, test.req, rep)
				if test.field != "" {
					wantRefusal(t, err, idl.CodeInvalidArgument, test.field)
					if n := w.count("SELECT COUNT(*) FROM moment_moments"); n != before {
						t.Errorf("%d were published", n-before)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				got := new(momentpb.GetMomentReply)
				if err := s.Call(idl.ActionGetMoment, &momentpb.GetMomentRequest{MomentId: rep.MomentId}, got); err != nil {
					t.Fatal(err)
				}
				m := got.Moment
				if m.AuthorId != int64(alice) || m.TimeMs != w.Now().UnixMilli() || m.ClientId != test.req.ClientId || m.Text != test.req.Text || m.Visibility != test.req.Visibility ||
					len(m.Images) != len(test.req.Images) || !reflect.DeepEqual(m.Video, test.req.Video) || !reflect.DeepEqual(m.Place, test.req.Place) {
					t.Errorf("got %+v", m)
				}
				for i := 1; i < len(m.UserIds); i++ {
					if m.UserIds[i-1] >= m.UserIds[i] {
						t.Errorf("list %v", m.UserIds)
					}
				}
			})
		}
	}
}

func TestPublishAgain(t *testing.T) {
	w := start(t, func(c *moment.Config) { c.MomentsPerDay = 2 })
	req := &momentpb.PublishMomentRequest{ClientId: "a", Text: "x"}
	first := w.publish(alice, req)
	for range 3 { // no use of the limit
		if again := w.publish(alice, req); again.MomentId != first.MomentId || again.TimeMs != first.TimeMs || !again.Duplicate {
			t.Errorf("got %+v, want %+v", again, first)
		}
	}
	err := w.as(alice).Call(idl.ActionPublishMoment, &momentpb.PublishMomentRequest{ClientId: "a", Text: "y"}, nil)
	wantRefusal(t, err, idl.CodeConflict, "client_id")
	if other := w.publish(bob, req); other.MomentId == first.MomentId || other.Duplicate {
		t.Errorf("of somebody else: got %+v", other)
	}
	if err := w.as(alice).Call(idl.ActionDeleteMoment, &momentpb.DeleteMomentRequest{MomentId: first.MomentId}, nil); err != nil {
		t.Fatal(err)
	}
	if again := w.publish(alice, req); again.MomentId != first.MomentId || !again.Duplicate || w.sees(alice, first.MomentId) {
		t.Errorf("a resend of what was deleted: got %+v", again)
	}
	w.Advance(8 * 24 * time.Hour)
	if err := w.plugin.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := w.publish(alice, req); again.Duplicate {
		t.Errorf("a week later: got %+v", again)
	}
	w.publish(alice, &momentpb.PublishMomentRequest{Text: "x"})
	err = w.as(alice).Call(idl.ActionPublishMoment, &momentpb.PublishMomentRequest{ClientId: "z", Text: "x"}, nil)
	wantRefusal(t, err, idl.CodeRateLimited, "")
}

// TestPublishRace publishes under one client ID from many sessions at once.
func TestPublishRace(t *testing.T) {
	w := start(t)
	const racers = 8
	var sessions [racers]*plugintest.Session
	for i := range sessions {
		sessions[i] = w.As(alice, "phone", idl.CodecProtobuf)
	}
	for _, id := range []string{"first", "second"} { // the first makes the author's row, too
		var replies [racers]momentpb.PublishMomentReply
		var wg sync.WaitGroup
		for i, s := range sessions {
			wg.Go(func() {
				if err := s.Call(idl.ActionPublishMoment, &momentpb.PublishMomentRequest{ClientId: id, Text: "x"}, &replies[i]); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		fresh := 0
		for i := range replies {
			if !replies[i].Duplicate {
				fresh++
			}
			if replies[i].MomentId != replies[0].MomentId {
				t.Errorf("got %s and %s", replies[i].MomentId, replies[0].MomentId)
			}
		}
		if fresh != 1 {
			t.Errorf("%d were published", fresh)
		}
	}
}

// A moment's files are its author's, are there, and are kept as long as it is.
func TestPublishUsesFiles(t *testing.T) {
	w := start(t)
	image, cover, film := w.files.Add(alice, "image/png"), w.files.Add(alice, "image/jpeg"), w.files.Add(alice, "video/mp4")
	video := func(url, cover string) *momentpb.PublishMomentRequest {
		return &momentpb.PublishMomentRequest{Video: &momentpb.MomentVideo{Url: "file:" + url, Cover: "file:" + cover}}
	}
	images := func(ids ...string) *momentpb.PublishMomentRequest {
		req := &momentpb.PublishMomentRequest{Images: []string{"https://x.example/a"}}
		for _, id := range ids {
			req.Images = append(req.Images, "file:"+id)
		}
		return req
	}
	for name, row := range map[string]struct {
		req   *momentpb.PublishMomentRequest
		code  idl.Code
		field string
	}{
		"unknown":       {images(image, files.NewID()), idl.CodeNotFound, "images"},
		"another's":     {images(w.files.Add(bob, "image/png")), idl.CodeNotFound, "images"},
		"not committed": {images(w.files.AddRaw(alice, "image/png")), idl.CodeInvalidArgument, "images"},
		"film as image": {images(film), idl.CodeInvalidArgument, "images"},
		"image as film": {video(image, cover), idl.CodeInvalidArgument, "video.url"},
		"film as cover": {video(film, film), idl.CodeInvalidArgument, "video.cover"},
		"unknown cover": {video(film, files.NewID()), idl.CodeNotFound, "video.cover"},
	} {
		row.req.ClientId = w.clientID()
		wantRefusal(t, w.as(alice).Call(idl.ActionPublishMoment, row.req, new(momentpb.PublishMomentReply)), row.code, row.field)
		if n, held := w.count("SELECT COUNT(*) FROM moment_moments"), w.files.References(t); n != 0 || len(held) != 0 {
			t.Errorf("%s: %d moments, references %v", name, n, held)
		}
	}
	a, b := w.publish(alice, images(image)).MomentId, w.publish(alice, video(film, cover)).MomentId
	shown := []string{film, cover}
	slices.Sort(shown)
	if got := w.files.References(t); !reflect.DeepEqual(got, map[string][]string{"moment:" + a: {image}, "moment:" + b: shown}) {
		t.Errorf("got %v", got)
	}
	if err := w.as(alice).Call(idl.ActionDeleteMoment, &momentpb.DeleteMomentRequest{MomentId: a}, new(momentpb.DeleteMomentReply)); err != nil {
		t.Fatal(err)
	}
	if got := w.files.References(t); !reflect.DeepEqual(got, map[string][]string{"moment:" + b: shown}) {
		t.Errorf("after a deletion: got %v", got)
	}
	if err := w.people.Holdings()["moment"].Erase(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if got := w.files.References(t); len(got) != 0 {
		t.Errorf("when she is erased: got %v", got)
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("https://x.example/a?b=c")
	f.Add("file:abc")
	f.Fuzz(func(t *testing.T, text string) {
		if moment.CheckAddress(text) == nil && (len(text) > 512 || strings.ContainsAny(text, "\"'<> \n\x00") || !strings.HasPrefix(strings.ToLower(text), "https:") && !strings.HasPrefix(text, "file:")) {
			t.Errorf("%q is taken", text)
		}
	})
}

func FuzzMedia(f *testing.F) {
	f.Add(`{"images":["file:a"],"place":{"name":"x","latitude":1.5,"longitude":-2}}`)
	f.Fuzz(func(t *testing.T, text string) { moment.ReadMedia(t, text) })
}

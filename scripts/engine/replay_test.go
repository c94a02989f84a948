package engine_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/scripts/engine"
)

// talkRequest is a request as the plugins have them.
type talkRequest struct {
	Text     string    `protobuf:"bytes,1,opt,name=text" json:"text,omitempty"`
	To       int64     `protobuf:"varint,2,opt,name=to" json:"to,omitempty"`
	Password string    `protobuf:"bytes,3,opt,name=password" json:"password,omitempty"`
	Inner    *person   `protobuf:"bytes,4,opt,name=person" json:"person,omitempty"`
	Many     []*person `protobuf:"bytes,5,rep,name=many" json:"many,omitempty"`
	Octets   []byte    `protobuf:"bytes,6,opt,name=octets" json:"octets,omitempty"`
	IDs      []int64   `protobuf:"varint,7,rep,name=ids" json:"ids,omitempty"`
}

type person struct {
	Name string `protobuf:"bytes,1,opt,name=name" json:"name,omitempty"`
}

// moody rules depend on everything that may differ from one time to the next.
const moody = `
local n = im.kv.incr("n", "1h")
local last = im.kv.get("last") or "nothing"
im.kv.set("last", c.text, "1h")
local ok, retry = im.rate(c.user, 2, "10s")
if not ok and n % 3 == 0 then return im.throttle(retry) end
if im.count.uniq("texts", c.text, "1h") % 4 == 3 then return im.deny("rejected", "many") end
if math.random(3) == 1 then return im.deny("rejected", "bad luck") end
if im.now() % 5 == 0 then return im.deny("rejected", "bad time") end
if c.req.many[1].name == "x" .. c.user then return im.deny("rejected", "name") end
if c.req.text ~= c.text then error("torn") end
if n % 31 == 0 then error("seven " .. last) end
c.text = last .. math.random(1000) .. im.now() .. im.count.window("w", "1m") .. im.count.alike("said", c.text, "1m") .. tostring(im.kv.cas("lock", nil, "x", "1s")) .. #c.req.octets
`

func recording(t testing.TB, files map[string]string, record engine.Record) *engine.Engine {
	return load(t, files, func(o *engine.Options) {
		o.Record = record
		o.Actions = []engine.Action{{Name: "chat.send", Message: true, Request: func() any { return new(talkRequest) }}, {Name: "room.join"}}
	})
}

// talk asks n times, with requests.
func talk(t testing.TB, e *engine.Engine, n int) {
	for i := range n {
		req := &talkRequest{Text: fmt.Sprint("text ", i%30), To: 1 << 60, Password: "secret!", Inner: &person{"anna"}, Many: []*person{{fmt.Sprint("x", i%50)}},
			Octets: []byte("\xff\x00"), IDs: []int64{1, 2}}
		m := message("")
		m.User, m.Call.Text, m.Request = fmt.Sprint(i%9), &req.Text, req
		m.Facts = m
		e.Ask(t.Context(), engine.Before, &m.Call)
	}
}

func TestReplayOfItself(t *testing.T) {
	e := recording(t, rule(moody), engine.Record{Every: 1, Keep: 300, Text: engine.TextFull})
	talk(t, e, 400)
	all := e.Recording()
	var file bytes.Buffer
	if err := engine.WriteRecording(&file, all); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(file.String(), "secret!") {
		t.Error("a password was recorded")
	}
	read, err := engine.ReadRecording(&file)
	if err != nil || len(read) != 300 {
		t.Fatalf("got %d records, %v", len(read), err)
	}
	before := e.Status()
	for name, recording := range map[string][]*engine.Recorded{"from memory": all, "from a file": read} {
		r, err := e.Replay(t.Context(), recording, "")
		if err != nil || r.Calls != 300 || r.Flips != 0 || r.Against != "recorded" || r.Errors != r.Before || r.Errors == 0 || r.P99 < r.P50 || r.P50 == 0 {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
		if len(r.Cells) < 4 {
			t.Errorf("%s: got %+v, want each kind of outcome", name, r.Cells)
		}
	}
	if after := e.Status(); after.Hooks[0] != before.Hooks[0] || after.Measured != before.Measured {
		t.Errorf("got %+v after, %+v before: a replay counts", after.Hooks, before.Hooks)
	}
}

func TestReplayMatrix(t *testing.T) {
	e := recording(t, rule(`if c.user == "1" then return im.deny("rejected") end`), engine.Record{Every: 1, Text: engine.TextFull, Replay: -1})
	talk(t, e, 90)
	prepared, err := e.Prepare(t.Context(), rule(`if c.user == "2" then return im.deny("rate_limited", "two") end if c.user == "3" then error("three") end`), me)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Replay(t.Context(), e.Recording(), prepared.Prepared)
	if err != nil || r.Calls != 90 || r.Flips != 30 || r.Errors != 10 || r.Before != 0 || r.Bundle != prepared.Prepared {
		t.Errorf("got %+v, %v", r, err)
	}
	got := map[string]int64{}
	for _, c := range r.Cells {
		got[c.From+" > "+c.To] = c.Count
		if differs := c.From != c.To; differs != (len(c.Examples) == 10) || !differs && len(c.Examples) != 0 {
			t.Errorf("got %d examples of %s > %s", len(c.Examples), c.From, c.To)
		}
	}
	want := map[string]int64{"allow > allow": 60, "deny rejected > allow": 10, "allow > deny rate_limited": 10, "allow > deny unavailable": 10}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	unknown := *e.Recording()[0]
	unknown.Action = "room.nothing"
	if r, err := e.Replay(t.Context(), []*engine.Recorded{&unknown}, ""); err != nil || r.Skipped != 1 || r.Calls != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestRecordedTexts(t *testing.T) {
	for mode, want := range map[string]int{engine.TextOff: 6, engine.TextHash: 20} {
		t.Run(mode, func(t *testing.T) {
			e := recording(t, rule(moody), engine.Record{Every: 1, Text: mode})
			talk(t, e, 60)
			var file bytes.Buffer
			all := e.Recording()
			if err := engine.WriteRecording(&file, all); err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{"text ", "anna", "secret!", "seven", "bad luck"} {
				if strings.Contains(file.String(), word) {
					t.Errorf("found %q in %s", word, file.String()[:500])
				}
			}
			if text := *all[1].Text; len(text) != want || text != *all[31].Text {
				t.Errorf("got %q and %q for the same text", text, *all[31].Text)
			}
			r, err := e.Replay(t.Context(), all, "")
			if err != nil || r.Flips != 0 || r.Against != e.Status().Bundle || r.Calls != 60 {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
}

func TestRecordsOneOfSoMany(t *testing.T) {
	e := recording(t, rule(`c.text = "y"`), engine.Record{Every: 10, Keep: 5})
	talk(t, e, 100)
	if n := len(e.Recording()); n != 5 {
		t.Errorf("got %d", n)
	}
	e = recording(t, rule(`c.text = "y"`), engine.Record{})
	talk(t, e, 10)
	if n := len(e.Recording()); n != 0 {
		t.Errorf("got %d without a recorder", n)
	}
}

// A bundle that its own tests let pass is refused by what was really sent.
func TestSmokeReplay(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, rule(`if c.user == "1" then error("already") end`))
	o := options(dir, &logs{})
	o.Record = engine.Record{Every: 1, MaxFlip: 0.2, Text: engine.TextFull}
	o.Actions = []engine.Action{{Name: "chat.send", Message: true, Request: func() any { return new(talkRequest) }}}
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	talk(t, e, 90)
	for _, test := range []struct{ body, want string }{
		{`if c.user == "1" then error("as before") end c.req.to:len()`, ""},
		{`if c.user == "1" or c.user == "2" then error("another") end`, "failed on 20 of the last 90 recorded actions, those of the active bundle on 10"},
		{`if c.user < "3" then return im.deny("rejected") end`, "30 of the last 90 recorded actions would be decided otherwise, at most 20 % may be"},
		{`c.text = nil`, "failed on 90"},
	} {
		put(t, dir, rule(test.body))
		r, err := e.Reload(t.Context())
		if test.want == "" && (err != nil || !r.Activated()) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("got %v for %s, want %q", err, test.body, test.want)
		}
		if _, err := e.Prepare(t.Context(), rule(test.body), me); (err == nil) != (test.want == "") {
			t.Errorf("prepared %s: %v", test.body, err)
		}
	}
}

func TestRecordingOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	e := recording(t, rule(moody), engine.Record{Every: 1, Keep: 1, Text: engine.TextFull, Dir: dir})
	talk(t, e, 50)
	var all []*engine.Recorded
	eventually(t, "50 records on disk", func() bool {
		files, err := filepath.Glob(filepath.Join(dir, "*.rec"))
		if err != nil || len(files) != 1 {
			return false
		}
		data, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		all, _ = engine.ReadRecording(bytes.NewReader(data))
		return len(all) == 50
	})
	if r, err := e.Replay(t.Context(), all, ""); err != nil || r.Calls != 50 || r.Flips != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func FuzzReadRecording(f *testing.F) {
	e := recording(f, rule(moody), engine.Record{Every: 1, Text: engine.TextFull})
	talk(f, e, 5)
	var file bytes.Buffer
	if err := engine.WriteRecording(&file, e.Recording()); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add(file.Bytes()[:file.Len()-1])
	f.Add([]byte("\xff\xff\xff\xff\x0f{}"))
	f.Add([]byte("\x02{}\x04null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := engine.ReadRecording(bytes.NewReader(data))
		if err == nil && len(data) > 0 && len(all) == 0 {
			t.Error("nothing read, and no error")
		}
		if _, err := e.Replay(t.Context(), all, ""); err != nil {
			t.Error(err)
		}
	})
}

// TestSpans: where one bundle follows another.
func TestSpans(t *testing.T) {
	at := func(second int, bundle, user string) *engine.Recorded {
		return &engine.Recorded{At: time.Unix(int64(second), 0), Bundle: bundle, Facts: []string{user}}
	}
	all := []*engine.Recorded{at(1, "a", "1"), at(3, "b", "3"), at(2, "a", "2"), at(5, "c", "5"), at(4, "a", "4"), at(6, "c", "6")}
	var got []string
	for _, s := range engine.Spans(all) {
		got = append(got, fmt.Sprint(s.Bundle, s.First.Facts, s.Last.Facts, s.Count))
	}
	if want := []string{"a[1] [4] 3", "b[3] [3] 1", "c[5] [6] 2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if all[1].Bundle != "b" || len(engine.Spans(nil)) != 0 {
		t.Error("it changed what it was given, or makes something of nothing")
	}
}

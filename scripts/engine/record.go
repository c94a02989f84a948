package engine

import (
	"cmp"
	"crypto/hmac"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// What is kept of texts: those of messages, and all strings of a request and in
// im.kv that are no numbers.
const (
	TextOff  = "off"  // as many letters x
	TextHash = "hash" // a hash with a key that nobody keeps: equal texts stay equal
	TextFull = "full"
)

// Record says what is kept of the actions about which hooks are asked, so that
// other bundles can be tried on them.
type Record struct {
	Every int    // one of so many; 0: none
	Keep  int    // how many of the last, in memory; 0: 500
	Text  string // TextOff, TextHash or TextFull; empty: TextOff
	// Dir is where all that is recorded is written as well, 64 MiB at most, the
	// oldest going first. Empty: nowhere.
	Dir string
	// Replay is how many of the last a bundle is tried on before it is activated or
	// prepared: it must not fail on more of them than the active one. Negative: none;
	// 0: all.
	Replay int
	// MaxFlip is the share of them about which it may decide otherwise. 0: any.
	MaxFlip float64
}

func (r *Record) setDefaults() {
	r.Keep = cmp.Or(r.Keep, 500)
	r.Text = cmp.Or(r.Text, TextOff)
}

// Validate reports what is wrong with a Record that has its defaults.
func (r *Record) Validate() error {
	switch {
	case r.Every < 0 || r.Keep < 1:
		return fmt.Errorf("Record is %+v: Every and Keep must not be negative", *r)
	case r.Text != TextOff && r.Text != TextHash && r.Text != TextFull:
		return fmt.Errorf("Record.Text is %q: must be off, hash or full", r.Text)
	case r.MaxFlip < 0 || r.MaxFlip > 1:
		return fmt.Errorf("Record.MaxFlip is %v: must be from 0 to 1", r.MaxFlip)
	}
	return nil
}

// Recorded is one question that hooks were asked, with all that they could see,
// and what came of it.
type Recorded struct {
	At     time.Time
	Point  Point
	Action string
	Facts  []string // by Fact
	// Request is the request as JSON, nil if there was none.
	Request   json.RawMessage `json:",omitempty"`
	TextField string          `json:",omitempty"` // the request's, that is the text of the message

	Conversation     string  `json:",omitempty"`
	ConversationType string  `json:",omitempty"`
	Kind             string  `json:",omitempty"`
	Text             *string `json:",omitempty"`
	Texts            string  // what was kept of texts: TextOff …

	Bundle string
	Said   outcome
	Seed   uint64
	Seen   []seenOp `json:",omitempty"`
}

// recorder keeps the last questions.
type recorder struct {
	o    Record
	key  []byte
	log  *slog.Logger
	n    atomic.Uint64
	disk *disk // nil: nothing is written

	mu   sync.Mutex // guards ring and next
	ring []*Recorded
	next int
}

func newRecorder(o Record, log *slog.Logger) (*recorder, error) {
	if o.Every == 0 {
		return nil, nil
	}
	r := &recorder{o: o, key: make([]byte, 32), log: log}
	_, _ = crand.Read(r.key) // never fails
	var err error
	if o.Dir != "" {
		r.disk, err = newDisk(o.Dir, log)
	}
	return r, err
}

// wants reports whether the next question is one of those to record.
func (r *recorder) wants() bool { return r != nil && r.n.Add(1)%uint64(r.o.Every) == 0 }

// listen makes a world that is the engine's, but for a tape that records.
func (r *recorder) listen(s *state) (*world, *tape) {
	t := &tape{inner: s}
	return &world{memory: t, seed: rand.Uint64() | 1}, t
}

// add keeps a question.
func (r *recorder) add(q *question, w *world, t *tape, said outcome, bundle string) {
	edit := r.edit()
	one := &Recorded{At: q.at, Point: q.point, Action: q.Action, Facts: q.facts[:], Conversation: q.Conversation,
		ConversationType: q.ConversationType, Kind: q.Kind, Texts: r.o.Text, Bundle: bundle, Said: said, Seed: w.seed, Seen: t.seen}
	if q.Request != nil {
		request := q.Request
		if edit != nil {
			cp := copier{edit: edit}
			request = cp.request(request)
		}
		data, err := json.Marshal(request)
		if err != nil {
			r.log.Warn("a request cannot be recorded", "action", q.Action, "err", err)
			return
		}
		one.Request, one.TextField = data, q.textField()
	}
	if q.Text != nil {
		text := *q.Text
		if edit != nil {
			text = edit(text)
		}
		one.Text = &text
	}
	if edit != nil {
		one.redact(edit)
	}
	r.mu.Lock()
	if len(r.ring) < r.o.Keep {
		r.ring = append(r.ring, one)
	} else {
		r.ring[r.next] = one
		r.next = (r.next + 1) % r.o.Keep
	}
	r.mu.Unlock()
	if r.disk != nil {
		r.disk.offer(one)
	}
}

// textField is the field of the request that is the message's text, empty if none
// is.
func (q *question) textField() string {
	if q.Text == nil || q.Text == &q.text {
		return ""
	}
	value := reflect.ValueOf(q.Request).Elem()
	for field, one := range value.Fields() {
		if field.IsExported() && one.Kind() == reflect.String && one.Addr().UnsafePointer() == reflect.ValueOf(q.Text).UnsafePointer() {
			return field.Name
		}
	}
	return ""
}

// redact takes texts out of what scripts were told and said.
func (one *Recorded) redact(edit func(string) string) {
	for i := range one.Seen {
		one.Seen[i].Text = edit(one.Seen[i].Text)
	}
	texts := map[string]string{}
	for field, text := range one.Said.Texts {
		texts[field] = edit(text)
	}
	one.Said.Texts, one.Said.Reason = texts, ""
	one.Said.Fault, _, _ = strings.Cut(one.Said.Fault, ":") // scripts may put texts into their errors
}

// edit is what becomes of texts; nil: nothing.
func (r *recorder) edit() func(string) string {
	if r.o.Text == TextFull {
		return nil
	}
	return func(text string) string {
		switch {
		case text == "" || strings.Trim(text, "0123456789") == "" && len(text) <= 20:
			return text
		case r.o.Text == TextOff:
			return strings.Repeat("x", utf8.RuneCountInString(text))
		}
		sum := hmac.New(sha256.New, r.key)
		sum.Write([]byte(text))
		return hex.EncodeToString(sum.Sum(nil))[:20]
	}
}

// last lists the n newest, the oldest first; 0: all.
func (r *recorder) last(n int) []*Recorded {
	if r == nil || n < 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := append(append([]*Recorded(nil), r.ring[r.next:]...), r.ring[:r.next]...)
	if n > 0 && len(all) > n {
		all = all[len(all)-n:]
	}
	return all
}

func (r *recorder) close() {
	if r != nil && r.disk != nil {
		r.disk.close()
	}
}

// Recording lists what was recorded last, the oldest first.
func (e *Engine) Recording() []*Recorded { return e.recorder.last(0) }

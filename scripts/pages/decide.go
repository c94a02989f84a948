package pages

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"freeim/scripts/engine"
)

const (
	maxPush  = 16 << 20 // octets of a body: all files of a bundle, in JSON
	pushTime = time.Minute
	maxWho   = 200 // characters of who, and of why
)

// decider is who asks, as far as the request says, and why. Nobody checks the name:
// whoever has the key may decide. The address is true.
func decider(r *http.Request) engine.By {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	who := line(r.URL.Query().Get("who"))
	if who == "" {
		who = "somebody"
	}
	return engine.By{Who: who + " from " + host, Why: line(r.URL.Query().Get("why"))}
}

// line is text as a journal can show it.
func line(text string) string {
	out := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text))
	return strings.TrimSpace(string(out[:min(len(out), maxWho)]))
}

// decided is what a page answers that changed something.
type decided struct {
	Node string
	engine.Report
}

// report answers with what was done, or why it was not.
func (s *set) report(w http.ResponseWriter, report engine.Report, err error) {
	if errors.Is(err, engine.ErrHeld) {
		err = fmt.Errorf("%w\n(resume lets the files decide again, and so does any change of them)", err)
	}
	if err != nil {
		Refuse(w, http.StatusConflict, err)
		return
	}
	answer(w, decided{s.Node, report})
}

func (s *set) reload(w http.ResponseWriter, r *http.Request) {
	report, err := s.Engine.Reload(r.Context())
	s.report(w, report, err)
}

func (s *set) resume(w http.ResponseWriter, r *http.Request) {
	report, err := s.Engine.Resume(r.Context(), decider(r))
	s.report(w, report, err)
}

func (s *set) prepare(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(pushTime)) // HTTP/1 can; who got here has the key
	var body struct{ Files map[string]string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPush)).Decode(&body); err != nil {
		Refuse(w, http.StatusBadRequest, fmt.Errorf(`read the body: %w; it must be {"files": {"PATH": "TEXT"}}, of at most %d MiB`, err, maxPush>>20))
		return
	}
	report, err := s.Engine.Prepare(r.Context(), body.Files, decider(r))
	s.report(w, report, err)
}

func (s *set) activate(w http.ResponseWriter, r *http.Request) {
	policy := engine.Policy{Mode: engine.Mode(r.FormValue("mode"))}
	if text := r.FormValue("percent"); text != "" {
		var err error
		if policy.Percent, err = strconv.ParseFloat(text, 64); err != nil || policy.Mode != engine.ModeCanary {
			Refuse(w, http.StatusBadRequest, fmt.Errorf("percent is %q: a number, and only with mode=canary", text))
			return
		}
	}
	hash, by := r.FormValue("hash"), decider(r)
	if candidate := s.Engine.Status().Candidate; hash == "" && candidate != nil {
		hash = candidate.Bundle
	}
	if hash == "" {
		Refuse(w, http.StatusConflict, errors.New("no bundle is on trial: name one, by hash; store lists them"))
		return
	}
	report, err := s.Engine.Activate(r.Context(), hash, policy, by)
	s.report(w, report, err)
}

func (s *set) rollback(w http.ResponseWriter, r *http.Request) {
	hash, trial, by := r.FormValue("hash"), r.FormValue("trial"), decider(r)
	switch {
	case hash != "" && trial != "":
		Refuse(w, http.StatusBadRequest, errors.New("either go back to a hash, or end a trial"))
	case trial != "":
		err := s.Engine.Abort(r.Context(), trial, by)
		active := s.Engine.Status().Bundle
		s.report(w, engine.Report{From: active, To: active}, err)
	default:
		report, err := s.Engine.Rollback(r.Context(), hash, by)
		s.report(w, report, err)
	}
}

// kept is what the page of the store shows.
type kept struct {
	Node, Active string
	Before       string // what rollback goes back to; empty: nothing
	Candidate    string // on trial; empty: none
	Held         *engine.Held
	Bundles      []engine.Stored // the one that was used last first
	Journal      []engine.Entry  // the oldest first
}

func (s *set) store(w http.ResponseWriter, _ *http.Request) {
	now := s.Engine.Status()
	k := kept{Node: s.Node, Active: now.Bundle, Held: now.Held, Bundles: s.Engine.Bundles(), Journal: s.Engine.Journal()}
	k.Before, _ = s.Engine.Before() // there may be none
	if now.Candidate != nil {
		k.Candidate = now.Candidate.Bundle
	}
	answer(w, k)
}

func (s *set) bundle(w http.ResponseWriter, r *http.Request) {
	kept, err := s.Engine.Scripts(r.FormValue("hash"))
	if err != nil {
		Refuse(w, http.StatusConflict, err)
		return
	}
	answer(w, map[string]any{"bundle": kept.Bundle(), "files": kept.Files()})
}

// recording sends what was recorded. It holds users and addresses, and texts if the
// configuration says so, so the log tells who read it.
func (s *set) recording(w http.ResponseWriter, r *http.Request) {
	all := s.Engine.Recording()
	if len(all) == 0 {
		Refuse(w, http.StatusConflict, errors.New("nothing is recorded yet: core.rules.record.every says of how many actions that a hook is asked about one is; 0: none"))
		return
	}
	s.Log.Warn("what the rules were asked is read", "records", len(all), "from", r.RemoteAddr)
	w.Header().Set("Content-Type", "application/octet-stream")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pushTime))
	_ = engine.WriteRecording(w, all) // who asked may be gone
}

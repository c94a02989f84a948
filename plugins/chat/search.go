package chat

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is how people find messages in their own conversations: by looking at them, the newest first, so many
// in one call. There is no index, so a send costs nothing, and what is found is exactly what may be read.
// README.md tells why.

const (
	usualFound = 20
	mostFound  = 50
	mostSought = 100 // characters of a search
	mostWords  = 8
	searchStep = 500 // messages that are read at once
	// searchTime is after what time a call looks at no more. Source: dispatch's deadline of an action.
	searchTime = time.Second
	// untimely is by how many places a message of an inbox or a log may be out of the order of time, at the most: cores' clocks
	// differ.
	untimely = 1000
)

// search finds messages.
func (p *Chat) search(ctx context.Context, call *plugin.Call, req *chatpb.SearchMessagesRequest) (*chatpb.SearchMessagesReply, error) {
	limit, err := plugin.PageLimit(req.Limit, usualFound, mostFound)
	if err != nil {
		return nil, err
	}
	if wait := p.searches.Take(ctx, call.User.String()); wait > 0 {
		return nil, &im.Error{Code: idl.CodeRateLimited, Reason: "too many searches", RetryAfter: wait}
	}
	s := &searching{p: p, user: call.User, req: req, words: strings.Fields(fold(req.Text)), limit: limit, until: time.Now().Add(searchTime), reaches: map[im.ConversationID]*plugin.Reach{}, untimely: untimely}
	var where source
	if req.ConversationId == "" {
		where = &inboxSource{s: s}
	} else if where, err = s.in(ctx, im.ConversationID(req.ConversationId)); err != nil {
		return nil, err
	}
	if err := where.start(ctx, req.Cursor); err != nil {
		return nil, err
	}
	return s.run(ctx, where, call.Codec)
}

// validateSearch checks a request by itself.
func (p *Chat) validateSearch(_ *plugin.Call, req *chatpb.SearchMessagesRequest) error {
	if err := im.CheckLine("text", req.Text, 0, mostSought); err != nil {
		return err
	}
	words := strings.Fields(fold(req.Text))
	switch {
	case len(words) > mostWords:
		return im.Invalid("text", "has %d words, may have %d", len(words), mostWords)
	case len(words) == 0 && req.SenderId == 0 && len(req.Kinds) == 0:
		return im.Invalid("text", "must say what to look for")
	case req.SenderId < 0:
		return im.Invalid("sender_id", "must be the ID of a user")
	case len(req.Kinds) > int(kindCustom)+1:
		return im.Invalid("kinds", "must be each once")
	case req.FromMs < 0 || req.FromMs > idl.MaxSafeInteger:
		return im.Invalid("from_ms", "must be a time")
	case req.UntilMs < 0 || req.UntilMs > idl.MaxSafeInteger:
		return im.Invalid("until_ms", "must be a time")
	case req.UntilMs > 0 && req.UntilMs <= req.FromMs:
		return im.Invalid("until_ms", "must be later than from_ms")
	}
	for _, k := range req.Kinds {
		if k < kindText || k > kindCustom || k == kindCommand {
			return im.Invalid("kinds", "%d is none that is found", k)
		}
	}
	return nil
}

// fold has texts that people take for the same be the same: in one width, without capitals.
func fold(text string) string {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return strings.ToLower(norm.NFKC.String(text))
		}
	}
	return strings.ToLower(text)
}

// source is where messages are looked for, from the newest to the oldest.
type source interface {
	// start begins behind a cursor, or at the end.
	start(ctx context.Context, cursor string) error
	// next reads older messages, the newest first; none: there are no more.
	next(ctx context.Context) ([]found, error)
	// cursor is the place of a message, for start.
	cursor(f *found) string
}

// found is a message on its way into an answer.
type found struct {
	opened
	place        int64 // in the source
	conversation im.ConversationID
	seq          int64 // as people see it
	matches      bool
}

// searching is one search.
type searching struct {
	p       *Chat
	user    im.UserID
	req     *chatpb.SearchMessagesRequest
	words   []string
	limit   int
	until   time.Time
	reaches map[im.ConversationID]*plugin.Reach // that were looked up; nil: he reads nothing there
	// untimely is by how many places a message may be out of the order of time, at the most: usually the constant.
	untimely int64
}

// run looks until enough is found, or a call has done enough.
func (s *searching) run(ctx context.Context, where source, codec idl.Codec) (*chatpb.SearchMessagesReply, error) {
	rep, octets := &chatpb.SearchMessagesReply{}, s.p.config.PageBytes
	for looked := 0; looked < s.p.config.SearchScan && (looked == 0 || time.Now().Before(s.until)); {
		all, err := where.next(ctx)
		if err != nil {
			return nil, plugin.Stored(ctx, err)
		}
		if len(all) == 0 {
			rep.HasMore, rep.Cursor, rep.SearchedToMs = false, "", 0
			return rep, nil
		}
		all = all[:s.timely(all)]
		looked += len(all)
		fits, err := s.readable(ctx, all)
		if err != nil {
			return nil, err
		}
		for i := range all {
			full := len(rep.Messages) >= s.limit || octets < 0
			if full && (i == 0 || all[i].place != all[i-1].place) { // what nobody else sees may have the same place
				return rep, nil
			}
			if fits[i] {
				rep.Messages = append(rep.Messages, all[i].shown())
				octets -= all[i].size(codec)
			}
			rep.HasMore, rep.Cursor, rep.SearchedToMs = true, where.cursor(&all[i]), all[i].Time.UnixMilli()
		}
	}
	return rep, nil
}

// timely looks which of the messages match, the newest first, and says how many it had time for: all of the first place
// at least, and all or none of each.
func (s *searching) timely(all []found) int {
	for i := range all {
		if i > 0 && all[i].place != all[i-1].place && !time.Now().Before(s.until) {
			return i
		}
		all[i].matches = s.matches(&all[i])
	}
	return len(all)
}

// readable says which of the messages match, and may be read.
func (s *searching) readable(ctx context.Context, all []found) ([]bool, error) {
	fits, names := make([]bool, len(all)), map[im.ConversationID]bool{}
	for i := range all {
		if fits[i] = all[i].matches; fits[i] {
			names[all[i].conversation] = true
		}
	}
	if err := s.look(ctx, names); err != nil {
		return nil, err
	}
	for i := range all {
		if fits[i] {
			reach := s.reaches[all[i].conversation]
			fits[i] = reach != nil && reach.Has(all[i].seq)
		}
	}
	return fits, nil
}

// matches reports whether a message is one that is looked for.
func (s *searching) matches(f *found) bool {
	c, at := &f.content, f.Time.UnixMilli()
	switch {
	case c.Kind == kindEvent, c.Kind == kindCommand, f.now.recalled():
		return false
	case s.req.SenderId != 0 && f.Sender != im.UserID(s.req.SenderId), len(s.req.Kinds) > 0 && !slices.Contains(s.req.Kinds, c.Kind):
		return false
	case at < s.req.FromMs, s.req.UntilMs > 0 && at >= s.req.UntilMs:
		return false
	}
	if len(s.words) == 0 {
		return true
	}
	text := f.text()
	if c.Media != nil {
		text += "\n" + c.Media.Name
	}
	if c.Place != nil {
		text += "\n" + c.Place.Name + "\n" + c.Place.Address
	}
	text = fold(text)
	return !slices.ContainsFunc(s.words, func(word string) bool { return !strings.Contains(text, word) })
}

// look finds what of conversations he may read and has not deleted, those that were not looked up yet.
func (s *searching) look(ctx context.Context, names map[im.ConversationID]bool) error {
	var missing []im.ConversationID
	for c := range names {
		if _, known := s.reaches[c]; !known {
			missing = append(missing, c)
		}
	}
	said, err := s.p.lists.some(ctx, s.p.host.DB(), s.user, missing)
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	for _, c := range missing {
		reach := &plugin.Reach{}
		switch owner := s.p.owners[c.Type()]; {
		case c.Type() == im.Chat:
		case owner == nil || c.Type() == im.Notices:
			reach = nil
		default:
			now, err := owner.Read(ctx, c, s.user)
			if err != nil && !final(err) {
				return refusal(ctx, err)
			}
			if reach = &now; err != nil {
				reach = nil
			}
		}
		if l := said[c]; l != nil && reach != nil {
			reach.After = max(reach.After, l.floor)
		}
		s.reaches[c] = reach
	}
	return nil
}

// open makes stored messages found ones.
func (s *searching) open(ctx context.Context, items []im.Message) ([]found, error) {
	all, err := s.p.open(ctx, s.user, items)
	if err != nil {
		return nil, err
	}
	out := make([]found, len(all))
	for i := range all {
		out[i].opened = all[i]
		out[i].conversation, out[i].seq = place(all[i].Message, &all[i].content)
	}
	return out, nil
}

// inboxSource is all that came to a person.
type inboxSource struct {
	s      *searching
	before int64 // what is looked at next is older
	least  int64 // and not older than what follows this
}

func (w *inboxSource) start(ctx context.Context, cursor string) (err error) {
	req, store := w.s.req, w.s.p.timelines
	if req.FromMs > 0 {
		if w.least, err = store.Locate(ctx, w.s.user, im.MessageIDAt(time.UnixMilli(req.FromMs))); err != nil {
			return plugin.Stored(ctx, err)
		}
		w.least = max(0, w.least-w.s.untimely)
	}
	if cursor != "" {
		w.before, err = parseCursor(cursor, 'i')
		return err
	}
	end, err := store.Inbox(ctx, w.s.user, 0, 0)
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	w.before = end.Head + 1
	follows, err := readFollows(ctx, w.s.p.host.DB(), w.s.user, w.s.p.timelines.Epoch())
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	if req.UntilMs > 0 && len(follows) == 0 { // what is gathered comes into the inbox later than it was written
		at, err := store.Locate(ctx, w.s.user, im.MessageIDAt(time.UnixMilli(req.UntilMs)))
		if err != nil {
			return plugin.Stored(ctx, err)
		}
		w.before = min(w.before, at+1+w.s.untimely)
	}
	return nil
}

func (w *inboxSource) next(ctx context.Context) ([]found, error) {
	for w.before-1 > w.least {
		after := max(w.least, w.before-1-searchStep)
		page, err := w.s.p.entries(ctx, w.s.user, after, int(w.before-1-after))
		if err != nil {
			return nil, err
		}
		if w.before = min(after, page.Head) + 1; len(page.Items) == 0 {
			if page.Floor > after {
				return nil, nil // trimmed below
			}
			continue
		}
		items := make([]im.Message, len(page.Items))
		for i, e := range page.Items {
			items[i] = e.Message
		}
		all, err := w.s.open(ctx, items)
		if err != nil {
			return nil, err
		}
		for i := range all {
			all[i].place = page.Items[i].InboxSeq
		}
		slices.Reverse(all)
		return all, nil
	}
	return nil, nil
}

func (w *inboxSource) cursor(f *found) string { return fmt.Sprint("i", f.place) }

// in is one conversation; it refuses one that the person may not read.
func (s *searching) in(ctx context.Context, c im.ConversationID) (source, error) {
	_, peer, err := s.p.conversation(string(c), 0, "conversation_id", s.user)
	if err != nil {
		return nil, err
	}
	if c.Type() == im.Notices {
		return nil, errNotYours
	}
	if _, err := s.p.reach(ctx, c, peer, s.user); err != nil {
		return nil, err
	}
	if err := s.look(ctx, map[im.ConversationID]bool{c: true}); err != nil {
		return nil, err
	}
	if s.reaches[c] == nil { // since a moment
		return nil, errNotYours
	}
	return &logSource{s: s, conversation: c, reach: *s.reaches[c]}, nil
}

// logSource is the log of one conversation, and what its person alone sees there.
type logSource struct {
	s            *searching
	conversation im.ConversationID
	reach        plugin.Reach
	before       int64 // what is looked at next is older; 0: nothing is
	least        int64 // and not older than what follows this
	own          []found
}

func (w *logSource) start(ctx context.Context, cursor string) error {
	store := w.s.p.timelines
	if w.s.req.FromMs > 0 {
		at, err := w.at(ctx, im.MessageIDAt(time.UnixMilli(w.s.req.FromMs)))
		if err != nil {
			return plugin.Stored(ctx, err)
		}
		w.least = max(0, at-2*w.s.untimely) // twice, since what is out of order may lead at astray
	}
	if cursor != "" {
		before, err := parseCursor(cursor, 'l')
		if err != nil {
			return err
		}
		w.before = before
	} else {
		w.before = math.MaxInt64
		if w.reach.Through > 0 {
			w.before = w.reach.Through + 1
		}
		if w.s.req.UntilMs > 0 {
			at, err := w.at(ctx, im.MessageIDAt(time.UnixMilli(w.s.req.UntilMs)))
			if err != nil {
				return plugin.Stored(ctx, err)
			}
			// What its person alone sees has the seq of the next one. Where times are out of order the search may have
			// ended too early, and what it looked for stand behind that.
			w.before = min(w.before, at+2+2*w.s.untimely)
		}
	}
	page, err := store.LogBefore(ctx, w.conversation.Shadow(w.s.user), 0, shownShadows)
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	own, err := w.s.open(ctx, page.Items)
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	w.own = slices.DeleteFunc(own, func(f found) bool { return f.seq >= w.before })
	for i := range w.own {
		w.own[i].place = w.own[i].seq
	}
	return nil
}

// at is the seq up to which messages have an ID up to id, where they are in the order of time; else it is near it.
func (w *logSource) at(ctx context.Context, id im.MessageID) (int64, error) {
	end, err := w.s.p.timelines.Log(ctx, w.conversation, 0, 0)
	if err != nil {
		return 0, err
	}
	low, high := max(end.Floor-1, 0), end.Head // all up to low are, none beyond high is
	for low < high {
		middle := low + (high-low+1)/2
		page, err := w.s.p.timelines.Log(ctx, w.conversation, middle-1, 1)
		if err != nil {
			return 0, err
		}
		if len(page.Items) > 0 && string(page.Items[0].ID[:]) <= string(id[:]) {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low, nil
}

func (w *logSource) next(ctx context.Context) ([]found, error) {
	if w.before == 0 {
		return nil, nil
	}
	before := w.before
	if before == math.MaxInt64 {
		before = 0 // from the end
	}
	page, err := w.s.p.timelines.LogBefore(ctx, w.conversation, before, searchStep)
	if err != nil {
		return nil, err
	}
	n := len(page.Items)
	over := slices.IndexFunc(page.Items, w.over)
	if w.before = 0; over >= 0 {
		page.Items = page.Items[:over]
	} else if page.HasMore {
		w.before = page.Items[n-1].Seq
	}
	all, err := w.s.open(ctx, page.Items)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].place = all[i].seq
	}
	return w.with(all), nil
}

// over reports whether nothing that is looked for can be at a message, or be older.
func (w *logSource) over(m im.Message) bool {
	return m.Seq <= max(w.reach.After, w.least)
}

// with puts what the person alone sees among the others.
func (w *logSource) with(all []found) []found {
	for len(w.own) > 0 && w.own[0].seq >= w.before {
		all, w.own = append(all, w.own[0]), w.own[1:]
	}
	slices.SortStableFunc(all, func(a, b found) int {
		if a.seq != b.seq {
			return int(b.seq - a.seq)
		}
		return strings.Compare(b.ID.String(), a.ID.String())
	})
	return all
}

func (w *logSource) cursor(f *found) string { return fmt.Sprint("l", f.place) }

// parseCursor reads a cursor of a kind of source.
func parseCursor(text string, kind rune) (before int64, err error) {
	if n, err := fmt.Sscanf(text, string(kind)+"%d", &before); n != 1 || err != nil || before < 1 || text != fmt.Sprint(string(kind), before) {
		return 0, im.Invalid("cursor", "is none that was given for this search")
	}
	return before, nil
}

package account

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/accountpb"
)

const (
	searchPage  = 20
	searchPages = 50 // people in a page at most
)

// found is a place in the results of a search: whose turn it was, and in which part.
type found struct {
	Part int       `json:"p"`           // of parts
	Key  string    `json:"k,omitempty"` // by which the part is ordered
	User im.UserID `json:"u,omitempty"` // and of equal ones
}

// search finds people whose handle, account or nickname begins with the query.
func (p *Account) search(ctx context.Context, call *plugin.Call, req *accountpb.SearchRequest) (*accountpb.SearchReply, error) {
	q, err := queryOf(req)
	if err != nil {
		return nil, err
	}
	if wait := p.searches.Take(ctx, accountKey(call.User.String())); wait > 0 {
		return nil, limited(wait, "searches")
	}
	people, on, err := p.store.search(ctx, q)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep := &accountpb.SearchReply{HasMore: len(people) > q.limit}
	for _, one := range people[:min(q.limit, len(people))] {
		rep.People = append(rep.People, public(one.profile))
	}
	switch {
	case rep.HasMore:
		rep.Cursor = people[q.limit-1].at.cursor()
	case on != nil:
		rep.HasMore, rep.Cursor = true, on.cursor()
	}
	return rep, nil
}

// query is what is searched for, in the forms in which names are kept.
type query struct {
	name  string // begins accounts and handles; empty: none can begin so
	key   string // begins keys of nicknames
	after found
	limit int
}

func queryOf(req *accountpb.SearchRequest) (q query, err error) {
	if err := im.CheckLine("query", req.Query, 1, 64); err != nil {
		return q, err
	}
	if q.key = strings.TrimSpace(searchKey(req.Query)); q.key == "" {
		return q, im.Invalid("query", "must have 1-64 characters")
	}
	q.name = nameStart(q.key)
	if q.limit = int(req.Limit); q.limit == 0 {
		q.limit = searchPage
	}
	if q.limit < 1 || q.limit > searchPages {
		return q, im.Invalid("limit", "must be 1-%d", searchPages)
	}
	if q.after, err = cursorOf(req.Cursor); err != nil || !q.holds(q.after) {
		return q, im.Invalid("cursor", "must be one that a search for the same gave")
	}
	return q, nil
}

// nameStart is the query as the beginning of an account or a handle.
func nameStart(key string) string {
	name := strings.TrimPrefix(key, "@")
	if len(name) > 32 || strings.ContainsFunc(name, func(r rune) bool {
		return r >= utf8.RuneSelf || !lowerLetter(byte(r)) && !digit(byte(r)) && !punctuation(byte(r))
	}) {
		return ""
	}
	return name
}

// holds reports whether a place can be one of the results.
func (q query) holds(at found) bool {
	switch at.Part {
	case 0:
		return at == found{}
	case partNickname:
		return strings.HasPrefix(at.Key, q.key)
	case partExact, partHandle, partAccount:
		return q.name != "" && strings.HasPrefix(at.Key, q.name)
	}
	return false
}

// cursor writes the place for a client, who is not to read it.
func (f found) cursor() string {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // three plain fields
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func cursorOf(text string) (at found, err error) {
	if text == "" {
		return at, nil
	}
	if len(text) > 1024 {
		return at, errors.New("too long")
	}
	plain, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return at, err
	}
	if err = json.Unmarshal(plain, &at); err == nil && at.Part == 0 {
		err = errors.New("no place")
	}
	return at, err
}

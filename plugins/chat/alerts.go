package chat

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is whom a message did not reach: the service plugin.ServiceAlerts. It stores nothing, and is asked
// some time after the commit by who reads the feeds; README.md tells why.

const (
	// mostAlerted is how many recipients one call looks at, about.
	mostAlerted = 2000
	// mostAlertText is how many characters of a text an alert has.
	mostAlertText = 200
)

// alerts is the service plugin.ServiceAlerts.
type alerts struct{ *Chat }

// fresh is a conversation's part of the items, as far as it can alert somebody.
type fresh struct {
	conversation im.ConversationID
	peer         im.UserID // of a chat: the second of its people; 0: it is another conversation
	people       []im.UserID
	large        bool         // its members are too many to be looked at: only those whom messages name are
	items        []*freshItem // the oldest first
}

type freshItem struct {
	position int64
	*chatpb.Message
}

// Alerts implements plugin.Alerts.
func (p alerts) Alerts(ctx context.Context, items []plugin.Fed) (all []plugin.Alert, covered int, err error) {
	if p.tokens == nil {
		return nil, len(items), nil
	}
	var some []*fresh
	seen, weight := map[im.ConversationID]*fresh{}, 0
	for ; covered < len(items); covered++ {
		m, ok := items[covered].Message.(*chatpb.Message)
		if !ok || !alerting(&items[covered], m) {
			continue
		}
		c := im.ConversationID(m.ConversationId)
		f := seen[c]
		if f == nil {
			if f, err = p.fresh(ctx, c); err != nil {
				return nil, 0, err
			}
			if weight += len(f.people); weight > mostAlerted && covered > 0 {
				break
			}
			seen[c] = f
			some = append(some, f)
		}
		if f.large {
			f.add(m.Mentions)
		}
		f.items = append(f.items, &freshItem{items[covered].Position, m})
	}
	for _, f := range some {
		found, err := p.unreached(ctx, f)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, found...)
	}
	if err := p.count(ctx, all); err != nil {
		return nil, 0, err
	}
	return all, covered, p.name(ctx, all)
}

// alerting reports whether an item is a message of which people are told. Of an announcement nobody is, whomever it names.
func alerting(f *plugin.Fed, m *chatpb.Message) bool {
	switch m.Kind {
	case kindEvent, kindCommand:
		return false
	}
	return !f.Shadowed && !m.Became.GetRecalled() && im.ConversationID(m.ConversationId) != im.ToAll
}

// fresh finds for whom messages of a conversation are.
func (p alerts) fresh(ctx context.Context, c im.ConversationID) (*fresh, error) {
	if a, b, ok := c.Pair(); ok {
		return &fresh{conversation: c, peer: b, people: both(a, b)}, nil
	}
	to, ok, err := p.audience(ctx, c, 0)
	if err != nil || !ok {
		return &fresh{conversation: c}, err
	}
	if owner, shrinks := p.owners[c.Type()].(plugin.Shrinking); shrinks && to.Log {
		users, few, err := owner.Few(ctx, c)
		if final(err) {
			return &fresh{conversation: c}, nil
		}
		if err != nil || few {
			return &fresh{conversation: c, people: users}, err
		}
	}
	return &fresh{conversation: c, people: to.Inboxes, large: to.Log}, nil
}

// add has people be looked at too.
func (f *fresh) add(users []int64) {
	for _, u := range users {
		if !slices.Contains(f.people, im.UserID(u)) {
			f.people = append(f.people, im.UserID(u))
		}
	}
}

// alerted is somebody whom messages did not reach.
type alerted struct {
	user    im.UserID
	newest  *freshItem
	mention bool
	silent  bool
}

// unreached gives the alerts of a conversation.
func (p alerts) unreached(ctx context.Context, f *fresh) (all []plugin.Alert, err error) {
	waiting, err := p.behind(ctx, f)
	if err != nil {
		return nil, err
	}
	if waiting, err = p.audible(ctx, f, waiting); err != nil {
		return nil, err
	}
	users := make([]im.UserID, len(waiting))
	for i, w := range waiting {
		users[i] = w.user
	}
	devices := map[im.UserID][]plugin.AlertDevice{}
	err = p.tokens.PushTokens(ctx, users, func(u im.UserID, d im.DeviceID, kind idl.DeviceType, provider, token string) {
		devices[u] = append(devices[u], plugin.AlertDevice{Device: d, Type: idl.DeviceTypeName(kind), Provider: provider, Token: token})
	})
	if err != nil {
		return nil, err
	}
	users = users[:0]
	for _, w := range waiting {
		if len(devices[w.user]) == 0 {
			continue
		}
		users = append(users, w.user)
		all = append(all, plugin.Alert{Position: w.newest.position, User: w.user, Conversation: f.conversation, CollapseKey: string(f.conversation),
			MessageID: w.newest.Id, Seq: w.newest.Seq, Sender: im.UserID(w.newest.SenderId), TimeMs: w.newest.TimeMs, ExpiresMs: w.newest.ExpiresMs, Kind: kindName(w.newest.Kind),
			Text: beginning(w.newest.Text, mostAlertText), Mention: w.mention, Silent: w.silent, Devices: devices[w.user]})
	}
	may := make(map[im.UserID]*bool, len(users))
	for _, u := range users {
		may[u] = new(bool)
	}
	err = eachOf(users, func(i int, u im.UserID) (err error) {
		*may[u], err = p.mayHear(ctx, f, &all[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(a plugin.Alert) bool { return !*may[a.User] })
	return all, nil
}

// count fills in the badges.
func (p alerts) count(ctx context.Context, all []plugin.Alert) error {
	var users []im.UserID
	seen := map[im.UserID]bool{}
	for _, a := range all {
		if !seen[a.User] {
			seen[a.User] = true
			users = append(users, a.User)
		}
	}
	badges, err := p.badges(ctx, users)
	if err != nil {
		return plugin.Stored(ctx, err)
	}
	for i := range all {
		all[i].Badge = badges[all[i].User]
	}
	return nil
}

// behind are those who neither hold nor have read all that came, each with the newest that is another's.
func (p alerts) behind(ctx context.Context, f *fresh) (waiting []alerted, err error) {
	held, err := p.timelines.Positions(ctx, f.conversation, f.people)
	if err != nil {
		return nil, err
	}
	read, err := p.timelines.Positions(ctx, f.conversation+readMark, f.people)
	if err != nil {
		return nil, err
	}
	for i, u := range f.people {
		w := alerted{user: u}
		for _, m := range f.items {
			if im.UserID(m.SenderId) == u {
				w = alerted{user: u} // who writes is there: what came before, he sees
			} else if m.Seq > max(held[i], read[i]) {
				w.newest = m
				w.mention = w.mention || m.MentionsAll || slices.Contains(m.Mentions, int64(u))
			}
		}
		if w.newest != nil {
			waiting = append(waiting, w)
		}
	}
	return waiting, nil
}

// audible leaves those who want to hear of the conversation and have not deleted the message.
func (p alerts) audible(ctx context.Context, f *fresh, waiting []alerted) ([]alerted, error) {
	users := make([]im.UserID, len(waiting))
	for i, w := range waiting {
		users[i] = w.user
	}
	said, err := p.lists.said(ctx, f.conversation, users)
	if err != nil {
		return nil, err
	}
	levels := map[im.UserID]plugin.Level{}
	if owner, ok := p.owners[f.conversation.Type()].(plugin.Leveller); ok && len(users) > 0 {
		if levels, err = owner.Levels(ctx, f.conversation, users); err != nil {
			return nil, err
		}
	}
	waiting = slices.DeleteFunc(waiting, func(w alerted) bool {
		return max(said[w.user].level, levels[w.user]) >= plugin.LevelNone || w.newest.Seq <= said[w.user].floor
	})
	for i, w := range waiting {
		waiting[i].silent = max(said[w.user].level, levels[w.user]) == plugin.LevelSilent && !w.mention
	}
	return waiting, nil
}

// mayHear reports whether the person may read the message, and its sender write to him, still.
func (p alerts) mayHear(ctx context.Context, f *fresh, a *plugin.Alert) (bool, error) {
	if f.peer == 0 {
		reach, err := p.reach(ctx, f.conversation, 0, a.User)
		if final(err) {
			return false, nil
		}
		return reach.Has(a.Seq), err
	}
	m := message{conversation: f.conversation, sender: a.Sender, peer: a.User}
	switch err := p.guarded(ctx, &m); {
	case final(err):
		return false, nil
	case im.CodeOf(err) == idl.CodeRateLimited: // that is about the next message
		return true, nil
	default:
		return !m.shadowed, err
	}
}

// said is what a person says of a conversation, as far as alerts care.
type said struct {
	level plugin.Level
	floor int64
}

// mostAsked is how many people one query names.
const mostAsked = 500

const selectSaid = "SELECT user_id, mute, floor_seq FROM chat_conversations WHERE conversation = ? AND user_id IN %s"

// said gives what people say of a conversation, those who say anything.
func (s listStore) said(ctx context.Context, c im.ConversationID, users []im.UserID) (map[im.UserID]said, error) {
	found := map[im.UserID]said{}
	for some := range slices.Chunk(users, mostAsked) {
		args := []any{string(c)}
		for _, u := range some {
			args = append(args, int64(u))
		}
		rows, err := s.host.DB().QueryContext(ctx, fmt.Sprintf(selectSaid, plugin.Marks(len(some))), args...)
		if err != nil {
			return nil, fmt.Errorf("look who mutes a conversation: %w", err)
		}
		for rows.Next() {
			var u im.UserID
			var one said
			if err = rows.Scan(&u, &one.level, &one.floor); err != nil {
				break
			}
			found[u] = one
		}
		if err = cmp.Or(err, rows.Err(), rows.Close()); err != nil {
			return nil, fmt.Errorf("look who mutes a conversation: %w", err)
		}
	}
	return found, nil
}

// name fills in the senders' nicknames, where somebody knows them.
func (p alerts) name(ctx context.Context, all []plugin.Alert) error {
	if p.persons == nil || len(all) == 0 {
		return nil
	}
	var users []im.UserID
	for _, a := range all {
		if len(users) < 1000 && !slices.Contains(users, a.Sender) { // there are as many as items: few
			users = append(users, a.Sender)
		}
	}
	known, err := p.persons.People(ctx, users)
	if err != nil {
		return err
	}
	for i := range all {
		all[i].Name = known[all[i].Sender].Nickname
	}
	return nil
}

// beginning is the first so many characters of a text.
func beginning(text string, most int) string {
	n := 0
	for i := range text {
		if n == most {
			return text[:i] + "…"
		}
		n++
	}
	return text
}

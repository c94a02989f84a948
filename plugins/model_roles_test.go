package plugins_test

import (
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// This file is the part of the model of messengers that governs the group: who may do what there, and what those see who come.

const (
	ownerOf  = grouppb.GroupRole_GROUP_ROLE_OWNER
	adminOf  = grouppb.GroupRole_GROUP_ROLE_ADMIN
	memberOf = grouppb.GroupRole_GROUP_ROLE_MEMBER
)

// groupRules are what a group settles for all.
type groupRules struct {
	mutedAll bool // but owner and admins
	silent   bool // members write nothing
	history  grouppb.GroupHistory
	last     int32
}

// floor is the seq behind which somebody reads who comes in when the log ends at head.
func (r groupRules) floor(head int64) int64 {
	switch r.history {
	case grouppb.GroupHistory_GROUP_HISTORY_NONE:
		return head
	case grouppb.GroupHistory_GROUP_HISTORY_LAST:
		return max(0, head-int64(r.last))
	}
	return 0
}

func (m *messenger) person(u im.UserID) *person { return m.people[u-owner] }

// owner is the one whom the group has at any time.
func (m *messenger) owner() *person {
	return m.people[slices.IndexFunc(m.people, func(p *person) bool { return p.role == ownerOf })]
}

// goes has p be in the group no more. What he was there is over, but for a mute.
func (p *person) goes() { p.in, p.role, p.may = false, grouppb.GroupRole_GROUP_ROLE_NONE, 0 }

// can reports whether p has a permission as the owner or an admin.
func (p *person) can(bit grouppb.GroupPermission) bool {
	return p.role == ownerOf || p.role == adminOf && p.may&int32(bit) != 0
}

// above reports whether p may take back what that one wrote in the group.
func (p *person) above(sender *person) bool {
	return p.role == ownerOf || p.can(grouppb.GroupPermission_GROUP_PERMISSION_RECALL) && (!sender.in || sender.role > p.role)
}

// speaks reports whether p, who is in c, may write there.
func (m *messenger) speaks(p *person, c im.ConversationID) bool {
	if c != m.group {
		return true
	}
	return !p.muted && (p.can(grouppb.GroupPermission_GROUP_PERMISSION_SEND) || p.role == memberOf && !m.rules.silent && !m.rules.mutedAll)
}

// govern has p, whoever he is, or the owner, do what only some may.
func (m *messenger) govern(p *person) error {
	other := m.anybody()
	if m.rng.IntN(3) == 0 {
		p = m.owner()
	}
	switch m.rng.IntN(7) {
	case 0:
		return m.setRole(p, other)
	case 1:
		return m.transfer(p, other)
	case 2:
		return m.mute(p, other)
	case 3:
		return m.muteAll(p)
	case 4:
		return m.remove(p, other)
	case 5:
		return m.silence(p)
	}
	return m.joiners(p)
}

// refusalsOf are what p is refused with who does something to another that only some above him may; none: he may.
func refusalsOf(p, other *person, may bool) (codes []idl.Code) {
	switch {
	case !p.in, !may:
		return []idl.Code{idl.CodePermissionDenied}
	case !other.in:
		return []idl.Code{idl.CodeNotFound}
	case other.role <= p.role:
		return []idl.Code{idl.CodePermissionDenied}
	}
	return nil
}

func (m *messenger) setRole(p, other *person) error {
	role, may := memberOf, int32(0)
	if m.rng.IntN(3) > 0 {
		role, may = adminOf, []int32{0, int32(grouppb.GroupPermission_GROUP_PERMISSION_RECALL), 64 | 128 | 16, 1023}[m.rng.IntN(4)]
	}
	m.did(p, "makes %d %v with %b", other.user-owner, role, may)
	err := m.any(p).Call(idl.ActionSetGroupRole, &grouppb.SetGroupRoleRequest{GroupId: m.id, UserId: int64(other.user), Role: role, Permissions: may}, nil)
	if wrong := wants(err, refusalsOf(p, other, p.role == ownerOf)...); wrong != nil || err != nil {
		return wrong
	}
	if other.role, other.may = role, may; role == adminOf {
		other.muted = false
		if may == 0 {
			other.may = 1023 &^ int32(grouppb.GroupPermission_GROUP_PERMISSION_SETTINGS)
		}
	}
	return nil
}

func (m *messenger) transfer(p, other *person) error {
	m.did(p, "gives the group to %d", other.user-owner)
	err := m.any(p).Call(idl.ActionTransferGroup, &grouppb.TransferGroupRequest{GroupId: m.id, UserId: int64(other.user)}, nil)
	if wrong := wants(err, refusalsOf(p, other, p.role == ownerOf)...); wrong != nil || err != nil {
		return wrong
	}
	p.role, p.may = adminOf, 1023
	other.role, other.may, other.muted = ownerOf, 0, false
	return nil
}

func (m *messenger) mute(p, other *person) error {
	until := int64(0)
	if !other.muted {
		until = -1
	}
	m.did(p, "mutes %d until %d", other.user-owner, until)
	err := m.any(p).Call(idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: m.id, UserId: int64(other.user), UntilMs: until}, nil)
	if wrong := wants(err, refusalsOf(p, other, p.can(grouppb.GroupPermission_GROUP_PERMISSION_MUTE))...); wrong != nil || err != nil {
		return wrong
	}
	other.muted = !other.muted
	return nil
}

func (m *messenger) muteAll(p *person) error {
	until := int64(0)
	if !m.rules.mutedAll {
		until = -1
	}
	m.did(p, "mutes all until %d", until)
	err := m.any(p).Call(idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: m.id, UntilMs: until}, nil)
	if !p.can(grouppb.GroupPermission_GROUP_PERMISSION_MUTE) {
		return wants(err, idl.CodePermissionDenied)
	}
	if err == nil {
		m.rules.mutedAll = !m.rules.mutedAll
	}
	return err
}

func (m *messenger) remove(p, other *person) error {
	m.did(p, "puts %d out", other.user-owner)
	var rep grouppb.RemoveFromGroupReply
	err := m.any(p).Call(idl.ActionRemoveFromGroup, &grouppb.RemoveFromGroupRequest{GroupId: m.id, UserIds: []int64{int64(other.user)}}, &rep)
	codes := refusalsOf(p, other, p.can(grouppb.GroupPermission_GROUP_PERMISSION_REMOVE))
	if slices.Contains(codes, idl.CodeNotFound) { // who is not in is passed over
		codes = nil
	}
	if wrong := wants(err, codes...); wrong != nil || err != nil {
		return wrong
	}
	if other.in != (len(rep.UserIds) == 1) {
		return fmt.Errorf("%v were put out, %d was in: %t", rep.UserIds, other.user-owner, other.in)
	}
	other.goes()
	return nil
}

// silence has members write nothing, or again.
func (m *messenger) silence(p *person) error {
	req := &grouppb.UpdateGroupRequest{GroupId: m.id, Fields: []string{"member_permissions"}}
	if m.rules.silent {
		req.MemberPermissions = int32(grouppb.GroupPermission_GROUP_PERMISSION_SEND)
	}
	m.did(p, "gives members %b", req.MemberPermissions)
	may := !m.rules.silent || p.can(grouppb.GroupPermission_GROUP_PERMISSION_SEND) // nobody gives what he may not
	return m.settled(p, req, may, func() { m.rules.silent = !m.rules.silent })
}

// joiners settles what those see who come.
func (m *messenger) joiners(p *person) error {
	req := &grouppb.UpdateGroupRequest{GroupId: m.id, Fields: []string{"history", "history_last"}, History: grouppb.GroupHistory(m.rng.IntN(3)), HistoryLast: 1 + m.rng.Int32N(9)}
	m.did(p, "gives those who come %v %d", req.History, req.HistoryLast)
	return m.settled(p, req, true, func() { m.rules.history, m.rules.last = req.History, req.HistoryLast })
}

// settled has p change a setting; may: he could if he may change settings.
func (m *messenger) settled(p *person, req *grouppb.UpdateGroupRequest, may bool, then func()) error {
	err := m.any(p).Call(idl.ActionUpdateGroup, req, nil)
	if !may || !p.can(grouppb.GroupPermission_GROUP_PERMISSION_SETTINGS) {
		return wants(err, idl.CodePermissionDenied)
	}
	if err == nil {
		then()
	}
	return err
}

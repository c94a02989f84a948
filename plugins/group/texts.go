package group

import (
	"slices"
	"strings"

	"freeim/core/im"
	"freeim/idl/kitex_gen/grouppb"

	"golang.org/x/text/unicode/norm"
)

// The longest texts in characters. Source: idl/group.proto.
const (
	maxName         = 64
	maxAvatar       = 500
	maxDescription  = 500
	maxAnnouncement = 500
	maxQuestion     = 200
	maxAnswer       = 200
	maxRemark       = 200
	maxReason       = 200
	maxAlias        = 64
)

// mostUsers bounds the people that one request names.
const mostUsers = 100

// line brings a text of one line into its one spelling, NFC, and checks it.
func line(field string, text *string, least, most int) error {
	if len(*text) > 16*most { // NFC of more is never short enough
		return im.Invalid(field, "must have %d-%d characters, has %d octets", least, most, len(*text))
	}
	*text = strings.TrimSpace(norm.NFC.String(*text))
	return im.CheckLine(field, *text, least, most)
}

// prose is line for texts of several lines.
func prose(field string, text *string, most int) error {
	if len(*text) > 16*most {
		return im.Invalid(field, "must have 0-%d characters, has %d octets", most, len(*text))
	}
	*text = norm.NFC.String(*text)
	return im.CheckText(field, *text, 0, most)
}

// checkAvatar takes a URL: its scheme keeps out what a client would run.
func checkAvatar(avatar *string) error {
	if err := line("avatar", avatar, 0, maxAvatar); err != nil || *avatar == "" {
		return err
	}
	if !strings.HasPrefix(*avatar, "https://") && !strings.HasPrefix(*avatar, "http://") && !strings.HasPrefix(*avatar, "/") {
		return im.Invalid("avatar", "must be a URL of http or https, or a path")
	}
	return nil
}

// checkPolicy checks how people come in: a question needs an answer.
func checkPolicy(policy grouppb.GroupPolicy, question, answer string) error {
	switch {
	case grouppb.GroupPolicy_name[int32(policy)] == "":
		return im.Invalid("policy", "%d is not known", policy)
	case policy != grouppb.GroupPolicy_GROUP_POLICY_QUESTION:
	case question == "":
		return im.Invalid("question", "is missing: by this policy people answer it")
	case answer == "":
		return im.Invalid("answer", "is missing: by this policy people give it")
	}
	return nil
}

// checkUsers checks a list of people, who are named once each.
func checkUsers(ids []int64, least int) error {
	if len(ids) < least || len(ids) > mostUsers {
		return im.Invalid("user_ids", "must name %d-%d people, names %d", least, mostUsers, len(ids))
	}
	sorted := slices.Sorted(slices.Values(ids))
	if len(slices.Compact(sorted)) != len(ids) {
		return im.Invalid("user_ids", "names somebody twice")
	}
	if len(ids) > 0 && sorted[0] < 1 {
		return im.Invalid("user_ids", "must be IDs of users")
	}
	return nil
}

// checkUser checks the ID of one person.
func checkUser(id int64) error {
	if id < 1 {
		return im.Invalid("user_id", "must be the ID of a user")
	}
	return nil
}

func usersOf(ids []int64) []im.UserID {
	users := make([]im.UserID, len(ids))
	for i, id := range ids {
		users[i] = im.UserID(id)
	}
	return users
}

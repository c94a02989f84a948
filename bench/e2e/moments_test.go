package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/momentpb"
)

// This file is the steps of moments.

// shared is a moment of the story.
type shared struct {
	id   string
	by   *person
	gone bool
}

// clientID makes one that the story has not used.
func (s *stage) clientID() string {
	s.requests++
	return fmt.Sprint("request-", s.requests)
}

// visibility reads: friends | public | private | only bob carol | except bob; and gives what is behind.
func (s *stage) visibility(w []string) (v momentpb.MomentVisibility, users []int64, rest []string, err error) {
	n, known := momentpb.MomentVisibility_value["MOMENT_VISIBILITY_"+strings.ToUpper(w[0])]
	if !known {
		return 0, nil, nil, fmt.Errorf("no visibility %q", w[0])
	}
	for rest = w[1:]; len(rest) > 0 && s.people[rest[0]] != nil; rest = rest[1:] {
		users = append(users, s.people[rest[0]].id)
	}
	return momentpb.MomentVisibility(n), users, rest, nil
}

// publishes "text" to VISIBILITY as p1 [and is refused CODE]
func (s *stage) publishes(ctx context.Context, d *device, w []string) error {
	v, users, rest, err := s.visibility(w[2:])
	if err != nil {
		return err
	}
	req := &momentpb.PublishMomentRequest{ClientId: s.clientID(), Text: w[0], Visibility: v, UserIds: users}
	rep, err := d.PublishMoment(ctx, req)
	if err == nil {
		s.moments[rest[1]] = &shared{id: rep.MomentId, by: d.owner}
		if again, err := d.PublishMoment(ctx, req); err != nil || !again.Duplicate || again.MomentId != rep.MomentId {
			return fmt.Errorf("resent: got %+v, %w", again, err)
		}
	}
	return outcome(err, rest[2:])
}

// shows p1 to VISIBILITY [and is refused CODE]
func (s *stage) shows(ctx context.Context, d *device, w []string) error {
	v, users, rest, err := s.visibility(w[2:])
	if err != nil {
		return err
	}
	_, err = d.SetMomentVisibility(ctx, s.moments[w[0]].id, v, users...)
	return outcome(err, rest)
}

// unpublishes p1 [and is refused CODE]
func (s *stage) unpublishes(ctx context.Context, d *device, w []string) error {
	err := d.DeleteMoment(ctx, s.moments[w[0]].id)
	if err == nil {
		s.moments[w[0]].gone = true
	}
	return outcome(err, w[1:])
}

// finds feed p2 p1 | finds square p2 | finds alice p2 p1 | finds likes of p1 bob | finds comments on p1 "a" "b"
func (s *stage) finds(ctx context.Context, d *device, w []string) error {
	switch w[0] {
	case "likes":
		return s.findsLikes(ctx, d, s.moments[w[2]].id, w[3:])
	case "comments":
		return s.findsComments(ctx, d, s.moments[w[2]].id, w[3:])
	case "feed":
		return s.findsMoments(w[1:], nil, func(cursor string) (*momentpb.MomentsReply, error) {
			return d.MomentFeed(ctx, &momentpb.FeedRequest{Cursor: cursor, Limit: 2})
		})
	case "square":
		return s.findsMoments(w[1:], nil, func(cursor string) (*momentpb.MomentsReply, error) {
			return d.MomentSquare(ctx, &momentpb.SquareRequest{Cursor: cursor, Limit: 2})
		})
	}
	of := s.people[w[0]]
	err := s.findsMoments(w[1:], of, func(cursor string) (*momentpb.MomentsReply, error) {
		return d.MomentsOf(ctx, &momentpb.ListMomentsRequest{UserId: of.id, Cursor: cursor, Limit: 2})
	})
	// Each by itself is as the list says.
	for name, m := range s.moments {
		if err != nil || m.by != of {
			continue
		}
		is, got := d.Moment(ctx, m.id)
		switch listed := slices.Contains(w[1:], name); {
		case listed && (got != nil || is.Id != m.id):
			err = fmt.Errorf("%s is listed, and got by itself: %+v, %w", name, is, got)
		case !listed && client.CodeOf(got) != idl.CodeNotFound:
			err = fmt.Errorf("%s is not listed, and got by itself: %+v, %w", name, is, got)
		}
	}
	return err
}

// findsMoments reads a list in pages, which must hold exactly these, all of one author's if it is one's.
func (s *stage) findsMoments(want []string, of *person, read func(cursor string) (*momentpb.MomentsReply, error)) error {
	names := map[string]string{}
	for name, m := range s.moments {
		names[m.id] = name
	}
	var got []string
	for cursor, more := "", true; more; {
		rep, err := read(cursor)
		if err != nil {
			return err
		}
		for _, m := range rep.Moments {
			if of != nil && m.AuthorId != of.id {
				return fmt.Errorf("%s is of %d", names[m.Id], m.AuthorId)
			}
			got = append(got, names[m.Id])
		}
		cursor, more = rep.Cursor, rep.HasMore
	}
	if !slices.Equal(got, want) && !(len(got) == 0 && slices.Equal(want, []string{"nothing"})) {
		return fmt.Errorf("got %q", got)
	}
	return nil
}

func (s *stage) findsLikes(ctx context.Context, d *device, id string, want []string) error {
	rep, err := d.MomentLikes(ctx, &momentpb.LikesRequest{MomentId: id})
	if err != nil {
		return outcome(err, want)
	}
	is, err := d.Moment(ctx, id)
	if err != nil {
		return err
	}
	var got []string
	for _, l := range rep.Likes {
		got = append(got, s.nameOf(l.UserId))
	}
	if want := slices.DeleteFunc(slices.Clone(want), nobody); !slices.Equal(got, want) || is.Likes != int64(len(want)) || is.Liked != slices.Contains(got, d.owner.name) {
		return fmt.Errorf("got %v, counted %d, own %v", got, is.Likes, is.Liked)
	}
	return nil
}

func (s *stage) findsComments(ctx context.Context, d *device, id string, want []string) error {
	rep, err := d.MomentComments(ctx, &momentpb.CommentsRequest{MomentId: id})
	if err != nil {
		return outcome(err, want)
	}
	is, err := d.Moment(ctx, id)
	if err != nil {
		return err
	}
	var got []string
	for _, c := range rep.Comments {
		got = append(got, c.Text)
	}
	if want := slices.DeleteFunc(slices.Clone(want), nobody); !slices.Equal(got, want) || is.Comments != int64(len(want)) {
		return fmt.Errorf("got %q, counted %d", got, is.Comments)
	}
	return nil
}

func nobody(word string) bool { return word == "nobody" || word == "nothing" }

func (s *stage) nameOf(user int64) string {
	for name, p := range s.people {
		if p.id == user {
			return name
		}
	}
	return fmt.Sprint(user)
}

// likes p1 [and is refused CODE]
func (s *stage) likes(ctx context.Context, d *device, w []string) error {
	_, err := d.LikeMoment(ctx, s.moments[w[0]].id)
	return outcome(err, w[1:])
}

// unlikes p1 [and is refused CODE]
func (s *stage) unlikes(ctx context.Context, d *device, w []string) error {
	_, err := d.UnlikeMoment(ctx, s.moments[w[0]].id)
	return outcome(err, w[1:])
}

// comments p1 "text" as k1 | comments p1 "text" and is refused CODE
func (s *stage) commentsOn(ctx context.Context, d *device, w []string) error {
	m := s.moments[w[0]]
	if m == nil {
		return errors.New("no such moment in the story")
	}
	return s.commentsBy(ctx, d, &momentpb.CommentRequest{MomentId: m.id, Text: w[1]}, w[2:])
}

// replies p1 k1 "text" as k2 | … and is refused CODE
func (s *stage) replies(ctx context.Context, d *device, w []string) error {
	return s.commentsBy(ctx, d, &momentpb.CommentRequest{MomentId: s.moments[w[0]].id, ReplyTo: s.comments[w[1]], Text: w[2]}, w[3:])
}

func (s *stage) commentsBy(ctx context.Context, d *device, req *momentpb.CommentRequest, rest []string) error {
	req.ClientId = s.clientID()
	rep, err := d.CommentMoment(ctx, req)
	if err == nil && rest[0] == "as" {
		s.comments[rest[1]] = rep.CommentId
		return nil
	}
	return outcome(err, rest)
}

// uncomments k1 [and is refused CODE]
func (s *stage) uncomments(ctx context.Context, d *device, w []string) error {
	return outcome(d.DeleteComment(ctx, s.comments[w[0]]), w[1:])
}

package fanout

import (
	"fmt"

	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
)

// edgeGroup is the part of a push that goes to one life of one edge.
type edgeGroup struct {
	Delivery
	edge      presence.EdgeID
	epoch     int64
	wantsPB   bool
	wantsJSON bool
}

// group sorts the routes of p.Users by edge, leaving p.Except out. Edges are
// few, so they are looked for one by one.
func group(p plugin.Push, routes [][]presence.Route) []*edgeGroup {
	var groups []*edgeGroup
	for i, ofUser := range routes {
		for _, r := range ofUser {
			if r.SessionRef == p.Except {
				continue
			}
			g := find(groups, r)
			if g == nil {
				g = newGroup(p, r)
				groups = append(groups, g)
			}
			g.Sessions = append(g.Sessions, r.Session)
			if len(p.InboxSeqs) != 0 {
				g.InboxSeqs = append(g.InboxSeqs, p.InboxSeqs[i])
			}
			g.wantsPB = g.wantsPB || r.Codec == idl.CodecProtobuf
			g.wantsJSON = g.wantsJSON || r.Codec == idl.CodecJSON
		}
	}
	return groups
}

// newGroup makes the group of r's edge, with room for the devices of a chat, in one
// piece of memory.
func newGroup(p plugin.Push, r presence.Route) *edgeGroup {
	const usual = 4
	g := new(struct {
		edgeGroup
		sessions [usual]uint64
		seqs     [usual]int64
	})
	g.edgeGroup = edgeGroup{edge: r.Edge, epoch: r.Epoch, Delivery: Delivery{Action: p.Action, Sessions: g.sessions[:0]}}
	if len(p.InboxSeqs) != 0 {
		g.InboxSeqs = g.seqs[:0]
	}
	return &g.edgeGroup
}

func find(groups []*edgeGroup, r presence.Route) *edgeGroup {
	for _, g := range groups {
		if g.edge == r.Edge && g.epoch == r.Epoch {
			return g
		}
	}
	return nil
}

// encode gives each group the body in the codecs that it wants, encoded once. A
// body without fields is empty in protobuf, but not nil. scratch is memory that the encoding may use.
func encode(body idl.Message, groups []*edgeGroup, scratch *[]byte) error {
	var protobuf, json []byte
	for _, g := range groups {
		if g.wantsPB {
			if err := once(&protobuf, idl.CodecProtobuf, body, scratch); err != nil {
				return err
			}
			g.Protobuf = protobuf
		}
		if g.wantsJSON {
			if err := once(&json, idl.CodecJSON, body, scratch); err != nil {
				return err
			}
			g.JSON = json
		}
	}
	return nil
}

// usualBody is the room for a body's encoding, in octets; a longer one takes more.
const usualBody = 512

// keptScratch bounds the scratch memory that is kept, in octets.
const keptScratch = 64 << 10

// once encodes the body, if it is not, into memory of just its size.
func once(encoded *[]byte, c idl.Codec, body idl.Message, scratch *[]byte) error {
	if *encoded != nil {
		return nil
	}
	b, err := idl.Append((*scratch)[:0], c, body)
	if err != nil {
		return fmt.Errorf("encode the body as %s: %w", c, err)
	}
	*encoded = append(make([]byte, 0, len(b)), b...)
	if cap(b) <= keptScratch {
		*scratch = b
	}
	return nil
}

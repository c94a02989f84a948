package redis

import (
	"strconv"

	"freeim/core/im"
)

// The keys. What stands in braces decides the slot of a Cluster, so all keys of
// one person are in one slot, and one conversation's in one. A key with braces in
// the name itself still has one slot, which is all that is needed.
//
//	PREFIX:EPOCH:l:{CONVERSATION}      sorted set: the newest messages of a log, by seq
//	PREFIX:EPOCH:i:{USER}              sorted set: the newest entries of an inbox, by inbox seq
//	PREFIX:EPOCH:w:{USER}:CLIENT_ID    string: where the message of that client ID is
//	PREFIX:p:{USER}                    hash: a route of each device
//	PREFIX:r:{ROOM}                    hash: what each edge with members says of the room
//	PREFIX:edges                       hash: the life of each edge, and when it was kept
//	PREFIX:g:{NUMBER}                  string: the generation of one shard
//	PREFIX:q:NAME:{KEY}                string: when a limited key will be full again
//	PREFIX:k:{KEY}                     string: what operators' scripts keep for all cores
//	PREFIX:m:{KEY}                     hash: the members that they marked, and counts
//
// EPOCH is the record's: what was copied from a record that was reset or restored
// is never seen again, and ends by its age.
type keys struct{ prefix string }

func (k keys) log(epoch string, c im.ConversationID) string {
	return k.prefix + ":" + epoch + ":l:{" + string(c) + "}"
}

func (k keys) inbox(epoch string, user im.UserID) string {
	return k.prefix + ":" + epoch + ":i:{" + user.String() + "}"
}

func (k keys) window(epoch string, sender im.UserID, clientID string) string {
	return k.prefix + ":" + epoch + ":w:{" + sender.String() + "}:" + clientID
}

func (k keys) routes(user im.UserID) string { return k.prefix + ":p:{" + user.String() + "}" }

func (k keys) room(room im.ConversationID) string { return k.prefix + ":r:{" + string(room) + "}" }

func (k keys) edges() string { return k.prefix + ":edges" }

func (k keys) generation(n int) string { return k.prefix + ":g:{" + strconv.Itoa(n) + "}" }

func (k keys) limit(name, key string) string { return k.prefix + ":q:" + name + ":{" + key + "}" }

func (k keys) shared(key string) string { return k.prefix + ":k:{" + key + "}" }

func (k keys) marks(key string) string { return k.prefix + ":m:{" + key + "}" }

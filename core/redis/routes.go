package redis

import (
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
	"strings"
	"time"

	"freeim/core/im"
	"freeim/core/presence"
	"freeim/idl"
)

// A route is a field of its user's hash, the device, with a value of one line:
//
//	LISTED SUM ORDER TYPE CODEC EPOCH SESSION EDGE
//
// LISTED is when it was listed last, in ms, SUM the checksum of user, device and all
// that follows, ORDER what Route.Older compares, in 40 digits that sort as text. The
// last three are the session. A script can read it, and so can an operator.
type stored struct {
	presence.Route
	listed int64
}

// sortable writes n in 20 digits which, as text, sort as numbers do.
func sortable(n int64) string {
	var digits [20]byte
	u := uint64(n) ^ 1<<63
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + u%10)
		u /= 10
	}
	return string(digits[:])
}

// readSortable reads what sortable wrote.
func readSortable(text string) (int64, bool) {
	if len(text) != 20 {
		return 0, false
	}
	u, err := strconv.ParseUint(text, 10, 64)
	return int64(u ^ 1<<63), err == nil
}

// readInt reads a number that is not negative, in its shortest form.
func readInt(text string) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err == nil && (text[0] != '0' || len(text) == 1) && text[0] != '+'
}

// orderOf is a route's ORDER.
func orderOf(r *presence.Route) string {
	return sortable(r.TokenID) + sortable(r.Since.UnixMilli())
}

// refOf is a session in a value, its last three words.
func refOf(s *presence.SessionRef) string {
	return sortable(s.Epoch) + " " + strconv.FormatUint(s.Session, 10) + " " + string(s.Edge)
}

// encodeRoute makes the value but for LISTED, which the script adds.
func encodeRoute(r *presence.Route) string {
	rest := orderOf(r) + " " + strconv.Itoa(int(r.DeviceType)) + " " + strconv.Itoa(int(r.Codec)) + " " + refOf(&r.SessionRef)
	return fmt.Sprintf("%08x", routeSum(r.User, r.Device, rest)) + " " + rest
}

func routeSum(user im.UserID, device im.DeviceID, rest string) uint32 {
	b := make([]byte, 0, 256) // on the stack, mostly
	b = strconv.AppendInt(b, int64(user), 10)
	b = append(append(append(b, ' '), device...), ' ')
	b = append(b, rest...)
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}

// decodeRoute reads the value of a user's device. One that cannot be read is no route.
func decodeRoute(user im.UserID, device im.DeviceID, value string) (s stored, ok bool) {
	stamp, rest, _ := strings.Cut(value, " ")
	sum, rest, _ := strings.Cut(rest, " ")
	want, err := strconv.ParseUint(sum, 16, 32)
	if err != nil || len(sum) != 8 || sum != strings.ToLower(sum) || uint32(want) != routeSum(user, device, rest) {
		return stored{}, false
	}
	words := strings.SplitN(rest, " ", 6)
	if len(words) != 6 || len(words[0]) != 40 {
		return stored{}, false
	}
	listed, ok1 := readInt(stamp)
	token, ok2 := readSortable(words[0][:20])
	since, ok3 := readSortable(words[0][20:])
	kind, ok4 := readInt(words[1])
	codec, ok5 := readInt(words[2])
	epoch, ok6 := readSortable(words[3])
	session, err := strconv.ParseUint(words[4], 10, 64)
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) || err != nil || kind > math.MaxInt32 || codec > math.MaxUint8 ||
		strconv.FormatUint(session, 10) != words[4] {
		return stored{}, false
	}
	return stored{listed: listed, Route: presence.Route{
		SessionRef: presence.SessionRef{Edge: presence.EdgeID(words[5]), Epoch: epoch, Session: session},
		User:       user, Device: device, DeviceType: idl.DeviceType(kind),
		TokenID: token, Codec: idl.Codec(codec), Since: time.UnixMilli(since),
	}}, true
}

// decodeKeeping reads a value of the hash of edges.
func decodeKeeping(value string) (k keeping, ok bool) {
	words := strings.SplitN(value, " ", 3)
	if len(words) != 3 {
		return keeping{}, false
	}
	var ok1, ok2, ok3 bool
	k.epoch, ok1 = readSortable(words[0])
	k.began, ok2 = readInt(words[1])
	k.kept, ok3 = readInt(words[2])
	return k, ok1 && ok2 && ok3
}

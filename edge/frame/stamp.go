package frame

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"freeim/idl"
)

// AppendStamped appends body to dst with seq put in front as its inbox_seq:
// field 1 in protobuf, the first key in JSON. So one encoded push serves every
// inbox. body must lack the field, and in JSON be an object or empty. Source:
// idl/chat.proto, InboxEntry.
func AppendStamped(dst []byte, c idl.Codec, seq int64, body []byte) []byte {
	if c == idl.CodecProtobuf {
		const tag = 1<<3 | 0 // field 1, varint
		dst = binary.AppendUvarint(append(dst, tag), uint64(seq))
		return append(dst, body...)
	}
	dst = strconv.AppendInt(append(dst, `{"inbox_seq":`...), seq, 10)
	rest := bytes.TrimLeft(body, "{ \t\r\n")
	if len(rest) == 0 {
		return append(dst, '}')
	}
	if rest[0] != '}' {
		dst = append(dst, ',')
	}
	return append(dst, rest...)
}

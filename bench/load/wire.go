package load

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"freeim/idl"
)

// This file reads and writes the bodies of the hot path: the fields that are
// looked at, and no more. Other bodies go through the generated messages.

const hexDigits = "0123456789abcdef"

func appendHex(dst []byte, v uint64, digits int) []byte {
	for i := digits - 1; i >= 0; i-- {
		dst = append(dst, hexDigits[v>>(4*i)&15])
	}
	return dst
}

func parseHex(p []byte) (v uint64, ok bool) {
	for _, c := range p {
		switch {
		case '0' <= c && c <= '9':
			v = v<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// stamp is what the text of every message begins with, in hex: when it was due,
// its number with its sender, and the sender.
type stamp struct {
	due    int64 // ns of the clock
	number int64 // from 1, below 2^32
	sender int   // the person's index
}

// appendText appends the text of a message: the stamp, filled up to size.
func appendText(dst []byte, s stamp, size int) []byte {
	from := len(dst)
	dst = appendHex(dst, uint64(s.due), 16)
	dst = appendHex(dst, uint64(s.number), 8)
	dst = appendHex(dst, uint64(s.sender), 8)
	for len(dst)-from < size {
		dst = append(dst, "The quick brown fox jumps over the lazy dog. "[:min(45, size-(len(dst)-from))]...)
	}
	return dst
}

// parseText reads the stamp of a text.
func parseText(text []byte) (s stamp, ok bool) {
	if len(text) < LeastPayload {
		return s, false
	}
	due, ok1 := parseHex(text[:16])
	number, ok2 := parseHex(text[16:24])
	sender, ok3 := parseHex(text[24:32])
	return stamp{int64(due), int64(number), int(sender)}, ok1 && ok2 && ok3
}

// appendSend appends a chatpb.SendRequest. text holds nothing to be escaped.
func appendSend(dst []byte, c idl.Codec, clientID []byte, to int64, text []byte) []byte {
	if c == idl.CodecProtobuf {
		dst = appendBytes(dst, 1, clientID)
		dst = appendVarint(dst, 2, to)
		return appendBytes(dst, 5, text)
	}
	dst = append(append(dst, `{"client_id":"`...), clientID...)
	dst = strconv.AppendInt(append(dst, `","to_user_id":`...), to, 10)
	dst = append(append(dst, `,"text":"`...), text...)
	return append(dst, `"}`...)
}

// appendSendTo is appendSend to a conversation.
func appendSendTo(dst []byte, c idl.Codec, clientID []byte, conversation string, text []byte) []byte {
	if c == idl.CodecProtobuf {
		dst = appendBytes(dst, 1, clientID)
		dst = appendBytes(dst, 3, []byte(conversation))
		return appendBytes(dst, 5, text)
	}
	dst = append(append(dst, `{"client_id":"`...), clientID...)
	dst = append(append(dst, `","conversation_id":"`...), conversation...)
	dst = append(append(dst, `","text":"`...), text...)
	return append(dst, `"}`...)
}

// appendRoomSend appends a roompb.RoomSendRequest, of a gift if it is important.
func appendRoomSend(dst []byte, c idl.Codec, room string, clientID []byte, important bool, text []byte) []byte {
	kind := int64(0)
	if important {
		kind = 1
	}
	if c == idl.CodecProtobuf {
		dst = appendBytes(dst, 1, []byte(room))
		dst = appendBytes(dst, 2, clientID)
		dst = appendVarint(dst, 3, kind)
		return appendBytes(dst, 4, text)
	}
	dst = append(append(dst, `{"room":"`...), room...)
	dst = append(append(dst, `","client_id":"`...), clientID...)
	dst = strconv.AppendInt(append(dst, `","kind":`...), kind, 10)
	dst = append(append(dst, `,"text":"`...), text...)
	return append(dst, `"}`...)
}

func appendBytes(dst []byte, field int, p []byte) []byte {
	dst = binary.AppendUvarint(append(dst, byte(field<<3|2)), uint64(len(p)))
	return append(dst, p...)
}

func appendVarint(dst []byte, field int, v int64) []byte {
	return binary.AppendUvarint(append(dst, byte(field<<3)), uint64(v))
}

// message is what is looked at of a message that was pushed.
type message struct {
	inboxSeq int64 // of a chat
	seq      int64 // in its conversation or room
	kind     int64
	text     []byte // aliases the body
}

// parsePush reads an InboxEntry (chat) or a RoomMessage.
func parsePush(c idl.Codec, chat bool, body []byte) (m message, ok bool) {
	if c == idl.CodecJSON {
		return parsePushJSON(body)
	}
	if chat {
		ok = fields(body, func(field int, v uint64, p []byte) {
			switch {
			case field == 1 && p == nil:
				m.inboxSeq = int64(v)
			case field == 2 && p != nil:
				body = p
			}
		})
		return m, ok && fields(body, func(field int, v uint64, p []byte) {
			switch field {
			case 3:
				m.seq = int64(v)
			case 7:
				m.kind = int64(v)
			case 8:
				m.text = p
			}
		})
	}
	return m, fields(body, func(field int, v uint64, p []byte) {
		switch field {
		case 2:
			m.seq = int64(v)
		case 8:
			m.kind = int64(v)
		case 9:
			m.text = p
		}
	})
}

// fields gives the fields of a protobuf message; p is nil for numbers.
func fields(body []byte, each func(field int, v uint64, p []byte)) bool {
	for len(body) > 0 {
		tag, n := binary.Uvarint(body)
		if n <= 0 {
			return false
		}
		body = body[n:]
		if tag&7 != 0 && tag&7 != 2 { // no message of ours has others
			return false
		}
		v, n := binary.Uvarint(body)
		if n <= 0 {
			return false
		}
		body = body[n:]
		if tag&7 == 0 {
			each(int(tag>>3), v, nil)
			continue
		}
		if v > uint64(len(body)) {
			return false
		}
		each(int(tag>>3), 0, body[:v:v])
		body = body[v:]
	}
	return true
}

// parsePushJSON finds the same keys in either message: texts here hold no quotes.
func parsePushJSON(body []byte) (m message, ok bool) {
	m.inboxSeq, _ = number(body, `"inbox_seq":`)
	m.kind, _ = number(body, `"kind":`)
	m.seq, ok = number(body, `"seq":`)
	_, text, found := bytes.Cut(body, []byte(`"text":"`))
	if !found {
		return m, false
	}
	m.text = text
	end := bytes.IndexByte(m.text, '"')
	if end < 0 {
		return m, false
	}
	m.text = m.text[:end]
	return m, ok
}

// number is the one behind a key of JSON.
func number(body []byte, key string) (v int64, ok bool) {
	at := bytes.Index(body, []byte(key))
	if at < 0 {
		return 0, false
	}
	for _, c := range body[at+len(key):] {
		if c < '0' || c > '9' {
			break
		}
		v, ok = v*10+int64(c-'0'), true
	}
	return v, ok
}

// parseReply reads one number of a reply: the field in protobuf, the key in JSON.
func parseReply(c idl.Codec, body []byte, field int, key string) (v int64, ok bool) {
	if c == idl.CodecJSON {
		return number(body, key)
	}
	ok = fields(body, func(f int, n uint64, p []byte) {
		if f == field && p == nil {
			v = int64(n)
		}
	})
	return v, ok
}

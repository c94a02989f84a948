package plugintest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"freeim/idl"
)

// usual is how many bodies at the head of HostileBodies are short and mostly well-formed.
const usual = 8

// HostileBodies are bodies in the codec that a handler must survive: empty,
// broken, huge, of the wrong types and with extreme values, the same each time.
func HostileBodies(c idl.Codec) [][]byte {
	if c == idl.CodecProtobuf {
		return hostileProtobuf()
	}
	return hostileJSON()
}

func hostileJSON() (bodies [][]byte) {
	for _, text := range []string{
		"", "{}", "null", `{"limit":-1}`, `{"user_id":1}`, `{"account":"abc"}`, `{"text":"x"}`, `{"scope":3}`, // usual
		"[]", "1", `""`, "true", "{", "}", "{}{}", "{}x", `{"`, `{"a"}`, `{"":""}`, `{"a":1,"a":2}`, "\x00", "\xff\xfe", `{"text":"` + "\xff" + `"}`,
		strings.Repeat("[", 20_000), strings.Repeat(`{"a":`, 20_000), `{"device":` + strings.Repeat(`{"device":`, 5000),
		`{"x":"` + strings.Repeat("a", 1<<20) + `"}`, strings.Repeat(" ", 1<<20), `{"user_id":1e400}`, `{"user_id":0.5}`,
	} {
		bodies = append(bodies, []byte(text))
	}
	values := []string{
		`""`, `"a"`, `null`, `0`, `1`, `-1`, `9007199254740993`, `-9223372036854775808`, `18446744073709551616`, `true`, `[]`, `{}`, `[1]`,
		`"\u0000"`, `"' OR 1=1 --"`, `"../../etc/passwd"`, `"\ud800"`, `"` + strings.Repeat("ß", 40_000) + `"`,
	}
	for _, key := range []string{
		"account", "password", "nickname", "device", "token", "scope", "device_id", "user_id", "client_id", "conversation_id",
		"to_user_id", "with_user_id", "text", "kind", "limit", "seq", "after_seq", "before_seq", "after_message_id", "inbox_seq", "receipts_since",
		"room", "last", "fields", "moderation",
	} {
		for _, value := range values {
			bodies = append(bodies, fmt.Appendf(nil, `{"%s":%s}`, key, value))
		}
	}
	return bodies
}

func hostileProtobuf() (bodies [][]byte) {
	bodies = append(bodies, nil,
		[]byte{0x08, 1}, []byte{0x0a, 0}, []byte{0x0a, 3, 'a', 'b', 'c'}, []byte{0x10, 1}, []byte{0x12, 1, 'x'}, []byte{0x18, 1}, []byte{0x1a, 0}, // usual
		[]byte{0x00}, []byte{0x07}, []byte{0x0a}, []byte{0x0a, 0xff}, []byte{0x08}, []byte{0x0b}, []byte{0x0c}, []byte{0xff, 0xff, 0xff},
		// A length of 2^63 and one of 2^31, with nothing behind.
		[]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, []byte{0x0a, 0x80, 0x80, 0x80, 0x80, 0x08},
		[]byte(strings.Repeat("\x0a\x7f", 10_000)), []byte(strings.Repeat("\x1b", 10_000)), make([]byte, 1<<20))
	for field := uint64(1); field <= 10; field++ {
		for _, n := range []uint64{0, 1, 1 << 53, math.MaxInt64, math.MaxUint64} {
			bodies = append(bodies, varint(varint(nil, field<<3), n))
		}
		for _, text := range []string{"", "a", "\xff", "' OR 1=1 --", "\x0a\x01a\x10\x01", strings.Repeat("a", 65), strings.Repeat("a", 1<<17)} {
			bodies = append(bodies, append(varint(varint(nil, field<<3|2), uint64(len(text))), text...))
		}
	}
	random := rand.NewChaCha8([32]byte{'h', 'o', 's', 't', 'i', 'l', 'e'})
	for n := range 200 {
		body := make([]byte, n)
		_, _ = random.Read(body) // never returns an error
		bodies = append(bodies, body)
	}
	return bodies
}

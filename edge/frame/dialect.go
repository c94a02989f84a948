package frame

import (
	"fmt"

	"freeim/idl"
)

// version is the first field of a frame's header: protocol and codec.
func version(c idl.Codec) uint32 { return idl.Protocol<<16 | uint32(c) }

// dialect chooses how a frame is read, by its version. It is the one place that
// knows versions: another dialect begins here. Every version but the two of this
// protocol is refused. Source: idl/README.md, Frame.
func dialect(v uint32) (idl.Codec, error) {
	switch v {
	case version(idl.CodecJSON):
		return idl.CodecJSON, nil
	case version(idl.CodecProtobuf):
		return idl.CodecProtobuf, nil
	case 0, 1, 100000:
		return 0, unsupported("version %d is reserved for the stock free-im clients, which are not served here", v)
	}
	if v>>16 == idl.Protocol {
		return 0, unsupported("version %d: codec %d is not known, JSON is 0 and protobuf 1", v, v&0xffff)
	}
	return 0, unsupported("version %d is not known, JSON is %d and protobuf %d",
		v, version(idl.CodecJSON), version(idl.CodecProtobuf))
}

func unsupported(format string, args ...any) error {
	return &CloseError{Reason: idl.CloseUnsupportedVersion, Text: fmt.Sprintf(format, args...)}
}

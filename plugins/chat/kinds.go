package chat

import (
	"encoding/json"
	"math"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what a message may hold, by its kind: the rules that idl/chat.proto states.

// The kinds that people send.
const (
	kindText    = chatpb.MessageKind_MESSAGE_KIND_TEXT
	kindImage   = chatpb.MessageKind_MESSAGE_KIND_IMAGE
	kindPlace   = chatpb.MessageKind_MESSAGE_KIND_PLACE
	kindVideo   = chatpb.MessageKind_MESSAGE_KIND_VIDEO
	kindVoice   = chatpb.MessageKind_MESSAGE_KIND_VOICE
	kindFile    = chatpb.MessageKind_MESSAGE_KIND_FILE
	kindCommand = chatpb.MessageKind_MESSAGE_KIND_COMMAND
	kindCustom  = chatpb.MessageKind_MESSAGE_KIND_CUSTOM
	kindEvent   = chatpb.MessageKind_MESSAGE_KIND_EVENT
)

const (
	mostAddress     = 512 // octets of a URL
	mostFileName    = 255 // characters
	mostMediaType   = 127 // octets
	mostPixels      = 65535
	mostDuration    = 24 * 3600 * 1000 // milliseconds
	mostPlaceName   = 100              // characters
	mostPlaceWhere  = 200
	mostPayloadName = 64 // octets
)

// kindName is what rules and owners of conversations call a kind.
func kindName(k chatpb.MessageKind) string {
	switch k {
	case kindText:
		return "text"
	case kindImage:
		return "image"
	case kindPlace:
		return "place"
	case kindVideo:
		return "video"
	case kindVoice:
		return "voice"
	case kindFile:
		return "file"
	case kindCommand:
		return "command"
	case kindCustom:
		return "custom"
	}
	return "event"
}

// captioned reports whether the text of a kind is what its sender says, which he may edit.
func captioned(k chatpb.MessageKind) bool {
	return k == kindText || k == kindImage || k == kindVideo || k == kindVoice || k == kindFile
}

// leastText is how many characters a text of a kind has at least, ok is false when a text is no part of it.
func leastText(k chatpb.MessageKind) (least int, ok bool) {
	if k == kindText {
		return 1, true
	}
	return 0, captioned(k) || k == kindCustom
}

// checkKind refuses a body that is not what its kind says.
func (p *Chat) checkKind(req *chatpb.SendRequest) error {
	if req.Kind < kindText || req.Kind > kindCustom {
		return im.Invalid("kind", "%d is none that can be sent", req.Kind)
	}
	if least, ok := leastText(req.Kind); ok {
		if err := im.CheckText("text", req.Text, least, p.config.MaxText); err != nil {
			return err
		}
	} else if req.Text != "" {
		return im.Invalid("text", "a message of this kind has none")
	}
	if req.Kind == kindText && req.Media == nil && req.Place == nil && req.Payload == nil {
		return nil
	}
	return p.checkBody(req)
}

// checkBody checks what stands beside a text: what the kind needs, and nothing else.
func (p *Chat) checkBody(req *chatpb.SendRequest) error {
	var needs string
	switch req.Kind {
	case kindImage, kindVideo, kindVoice, kindFile:
		needs = "media"
	case kindPlace:
		needs = "place"
	case kindCommand, kindCustom:
		needs = "payload"
	}
	for _, part := range []struct {
		name  string
		there bool
	}{{"media", req.Media != nil}, {"place", req.Place != nil}, {"payload", req.Payload != nil}} {
		switch {
		case part.there && part.name != needs:
			return im.Invalid(part.name, "a message of this kind has none")
		case !part.there && part.name == needs:
			return im.Invalid(part.name, "a message of this kind has one")
		}
	}
	switch needs {
	case "media":
		return p.checkMedia(req.Kind, req.Media)
	case "place":
		return checkPlace(req.Place)
	}
	return checkPayload(req.Payload)
}

var mediaType = regexp.MustCompile(`^[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*$`)

func (p *Chat) checkMedia(k chatpb.MessageKind, m *chatpb.Media) error {
	if err := p.checkAddress("media.file", m.File); err != nil {
		return err
	}
	if m.Cover != "" {
		if k != kindVideo && k != kindFile {
			return im.Invalid("media.cover", "a message of this kind has none")
		}
		if err := p.checkAddress("media.cover", m.Cover); err != nil {
			return err
		}
	}
	least := 0
	if k == kindFile {
		least = 1
	}
	if err := im.CheckLine("media.name", m.Name, least, mostFileName); err != nil {
		return err
	}
	if m.Type != "" && (len(m.Type) > mostMediaType || !mediaType.MatchString(m.Type)) {
		return im.Invalid("media.type", `must be one as "image/png"`)
	}
	if of := family(k); m.Type != "" && !strings.HasPrefix(m.Type, of) {
		return im.Invalid("media.type", "must begin with %s", of)
	}
	pixels, lasts := int32(0), int32(0)
	if k == kindImage || k == kindVideo {
		pixels = mostPixels
	}
	if k == kindVideo || k == kindVoice {
		lasts = mostDuration
	}
	switch {
	case m.Size < 0:
		return im.Invalid("media.size", "must not be negative")
	case m.Width < 0 || m.Width > pixels:
		return im.Invalid("media.width", "must be 0-%d", pixels)
	case m.Height < 0 || m.Height > pixels:
		return im.Invalid("media.height", "must be 0-%d", pixels)
	case m.DurationMs < 0 || m.DurationMs > lasts:
		return im.Invalid("media.duration_ms", "must be 0-%d", lasts)
	}
	return nil
}

// checkAddress refuses what is neither "file:ID" nor, where those are allowed, an https URL that a
// browser may load from.
func (p *Chat) checkAddress(field, text string) error {
	if _, is := plugin.FileOf(text); is {
		return nil
	}
	if !p.config.MediaURLs {
		return im.Invalid(field, `must be "file:ID"`)
	}
	u, err := url.Parse(text)
	if err != nil || len(text) > mostAddress || u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"'<>\\^`{|}", r) }) {
		return im.Invalid(field, `must be "file:ID", or an https URL of at most %d octets`, mostAddress)
	}
	return nil
}

func checkPlace(at *chatpb.Place) error {
	if err := im.CheckLine("place.name", at.Name, 0, mostPlaceName); err != nil {
		return err
	}
	if err := im.CheckLine("place.address", at.Address, 0, mostPlaceWhere); err != nil {
		return err
	}
	if !(math.Abs(at.Latitude) <= 90) {
		return im.Invalid("place.latitude", "must be -90 to 90")
	}
	if !(math.Abs(at.Longitude) <= 180) {
		return im.Invalid("place.longitude", "must be -180 to 180")
	}
	return nil
}

var payloadName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)

func checkPayload(b *chatpb.Payload) error {
	if len(b.Name) > mostPayloadName || !payloadName.MatchString(b.Name) {
		return im.Invalid("payload.name", "must be a letter, then letters, digits and . _ -, %d octets at most", mostPayloadName)
	}
	if !isObject(b.Data) {
		return im.Invalid("payload.data", "must be a JSON object of at most %d octets, or empty", mostEventData)
	}
	return nil
}

// isObject reports whether data is a JSON object, or empty, and no longer than data may be.
func isObject(data string) bool {
	return data == "" || len(data) <= mostEventData && utf8.ValidString(data) && json.Valid([]byte(data)) && strings.TrimSpace(data)[0] == '{'
}

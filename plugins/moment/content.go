package moment

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/momentpb"
)

// The rules for what a moment holds, as idl/moment.proto states them.

const (
	mostImages  = 64  // that the configuration may allow
	mostAddress = 512 // octets of one
	mostListed  = 500 // people that a visibility names
	mostPlace   = 100 // characters of its name
	mostVideoMs = 3_600_000
)

// media is what a moment has beside its text, as it is stored.
type media struct {
	Images []string `json:"images,omitempty"`
	Video  *video   `json:"video,omitempty"`
	Place  *place   `json:"place,omitempty"`
}

type video struct {
	URL        string `json:"url"`
	Cover      string `json:"cover,omitempty"`
	DurationMs int64  `json:"duration_ms,omitempty"`
}

type place struct {
	Name      string  `json:"name"`
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
}

// stored is the media as text, "" for none.
func (m media) stored() (string, error) {
	if len(m.Images) == 0 && m.Video == nil && m.Place == nil {
		return "", nil
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // addresses do not grow
	if err := enc.Encode(m); err != nil {
		return "", fmt.Errorf("write media: %w", err)
	}
	return strings.TrimSpace(text.String()), nil
}

func readMedia(text string) (m media, err error) {
	if text == "" {
		return m, nil
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return m, fmt.Errorf("read media: %w", err)
	}
	return m, nil
}

// contentOf checks what is to be published.
func (p *Moment) contentOf(req *momentpb.PublishMomentRequest) (m media, err error) {
	if err := im.CheckText("text", req.Text, 0, p.config.MaxText); err != nil {
		return m, err
	}
	if len(req.Images) > p.config.Images {
		return m, im.Invalid("images", "must be at most %d, are %d", p.config.Images, len(req.Images))
	}
	for _, image := range req.Images {
		if err := checkAddress("images", image); err != nil {
			return m, err
		}
	}
	m.Images = req.Images
	if v := req.Video; v != nil {
		if err := checkVideo(v); err != nil {
			return m, err
		}
		if len(req.Images) > 0 {
			return m, im.Invalid("video", "give images or a video, not both")
		}
		m.Video = &video{v.Url, v.Cover, v.DurationMs}
	}
	if at := req.Place; at != nil {
		if err := checkPlace(at); err != nil {
			return m, err
		}
		m.Place = &place{at.Name, at.Latitude, at.Longitude}
	}
	if strings.TrimSpace(req.Text) == "" && len(req.Images) == 0 && req.Video == nil {
		return m, im.Invalid("text", "give a text, images or a video")
	}
	return m, nil
}

func checkVideo(v *momentpb.MomentVideo) error {
	if err := checkAddress("video.url", v.Url); err != nil {
		return err
	}
	if v.Cover != "" {
		if err := checkAddress("video.cover", v.Cover); err != nil {
			return err
		}
	}
	if v.DurationMs < 0 || v.DurationMs > mostVideoMs {
		return im.Invalid("video.duration_ms", "must be 0-%d", mostVideoMs)
	}
	return nil
}

func checkPlace(at *momentpb.MomentPlace) error {
	if err := im.CheckLine("place.name", at.Name, 1, mostPlace); err != nil {
		return err
	}
	if math.IsNaN(at.Latitude) || math.Abs(at.Latitude) > 90 {
		return im.Invalid("place.latitude", "must be -90 to 90")
	}
	if math.IsNaN(at.Longitude) || math.Abs(at.Longitude) > 180 {
		return im.Invalid("place.longitude", "must be -180 to 180")
	}
	return nil
}

// checkAddress refuses what is neither an https URL that a browser may load from nor a
// reference to a file.
func checkAddress(field, text string) error {
	if _, is := plugin.FileOf(text); is {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || len(text) > mostAddress || u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"'<>\\^`{|}", r) }) {
		return im.Invalid(field, `must be an https URL of at most %d octets, or "file:ID"`, mostAddress)
	}
	return nil
}

// listedOf checks whom a visibility names, and gives them ascending, each once.
func listedOf(visibility momentpb.MomentVisibility, ids []int64, author im.UserID) ([]im.UserID, error) {
	switch visibility {
	case visibleToFriends, visibleToAll, visibleToNobody:
		if len(ids) > 0 {
			return nil, im.Invalid("user_ids", "are of the visibilities ONLY and EXCEPT")
		}
		return nil, nil
	case visibleToOnly, visibleExcept:
	default:
		return nil, im.Invalid("visibility", "must be 0 friends, 1 public, 2 private, 3 only or 4 except")
	}
	if len(ids) < 1 || len(ids) > mostListed {
		return nil, im.Invalid("user_ids", "must be 1-%d, are %d", mostListed, len(ids))
	}
	users := make([]im.UserID, len(ids))
	for i, id := range ids {
		if users[i] = im.UserID(id); id <= 0 || users[i] == author {
			return nil, im.Invalid("user_ids", "must be IDs of other people")
		}
	}
	slices.Sort(users)
	return slices.Compact(users), nil
}

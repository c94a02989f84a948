package files

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Prefix begins the paths under which edges serve files.
const Prefix = "/files/"

// Ticket is the right to send one file, or to read one, until a time. Whoever has its URL has it.
type Ticket struct {
	Method  string // PUT, or GET, which is for HEAD too
	ID      string
	Size    int64
	Type    string    // MIME
	SHA256  string    // 64 hexadecimal digits
	Name    string    // of GET: what a browser that saves it calls it
	Owner   int64     // of PUT: the user who sends it, for what one person may send at once; 0: nobody's
	Expires time.Time // to the second
}

// Time is how long it may take to send, or to read, so many octets: a minute, and as long as
// they take at 32 KiB a second; the first of them as well, so who is slower all the while is cut off after a
// minute. What was begun before a ticket expired may end so much later.
func Time(octets int64) time.Duration {
	return time.Minute + time.Duration(octets>>15)*time.Second
}

// Why a ticket is not taken.
var (
	ErrTicket  = errors.New("the ticket is not one of this server's, or was changed")
	ErrExpired = errors.New("the ticket has expired")
)

// Key signs tickets: the same at all cores and edges.
type Key []byte

// The parameters of a ticket's URL.
const (
	inExpires = "e"
	inSize    = "s"
	inSHA256  = "h"
	inType    = "t"
	inName    = "n"
	inOwner   = "o"
	inSign    = "k"
)

// URL is that of a ticket, from its path on.
func (k Key) URL(t Ticket) string {
	q := url.Values{}
	q.Set(inExpires, strconv.FormatInt(t.Expires.Unix(), 10))
	q.Set(inSize, strconv.FormatInt(t.Size, 10))
	q.Set(inSHA256, t.SHA256)
	q.Set(inType, t.Type)
	if t.Name != "" {
		q.Set(inName, t.Name)
	}
	if t.Owner != 0 {
		q.Set(inOwner, strconv.FormatInt(t.Owner, 10))
	}
	q.Set(inSign, base64.RawURLEncoding.EncodeToString(k.sign(t)))
	return Prefix + t.ID + "?" + q.Encode()
}

// Ticket reads the ticket of a request, and returns ErrTicket, or ErrExpired for one that was right
// until some time before now.
func (k Key) Ticket(method string, u *url.URL, now time.Time) (t Ticket, err error) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return t, ErrTicket
	}
	id, under := strings.CutPrefix(u.Path, Prefix)
	expires, badTime := strconv.ParseInt(q.Get(inExpires), 10, 64)
	size, badSize := strconv.ParseInt(q.Get(inSize), 10, 64)
	owner, badOwner := int64(0), error(nil)
	if text := q.Get(inOwner); text != "" {
		owner, badOwner = strconv.ParseInt(text, 10, 64)
	}
	sign, badSign := base64.RawURLEncoding.DecodeString(q.Get(inSign))
	if !under || !IsID(id) || len(k) == 0 || errors.Join(badTime, badSize, badOwner, badSign) != nil {
		return t, ErrTicket
	}
	t = Ticket{Method: method, ID: id, Size: size, Type: q.Get(inType), SHA256: q.Get(inSHA256), Name: q.Get(inName), Owner: owner, Expires: time.Unix(expires, 0)}
	if !hmac.Equal(sign, k.sign(t)) {
		return Ticket{}, ErrTicket
	}
	if !now.Before(t.Expires) {
		return Ticket{}, ErrExpired
	}
	return t, nil
}

// sign is the HMAC-SHA-256 of all that a ticket says, each part behind its length.
func (k Key) sign(t Ticket) []byte {
	mac := hmac.New(sha256.New, k)
	for _, part := range []string{"freeim file", t.Method, t.ID, strconv.FormatInt(t.Size, 10), t.Type, t.SHA256, t.Name, strconv.FormatInt(t.Owner, 10), strconv.FormatInt(t.Expires.Unix(), 10)} {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

// Disposition is the header Content-Disposition with which a file is given out: a browser shows
// pictures, sound and films of the types that hold no scripts, and saves all others.
func Disposition(kind, name string) string {
	how := "attachment"
	if shown(kind) {
		how = "inline"
	}
	if name == "" {
		return how
	}
	if text := mime.FormatMediaType(how, map[string]string{"filename": name}); text != "" {
		return text
	}
	return how
}

// Served is the header Content-Type with which a file is given out: its type if a browser may show it, else
// that of octets of which nothing is known, so that no page loads it as a script or a style of its own.
func Served(kind string) string {
	if shown(kind) {
		return kind
	}
	return "application/octet-stream"
}

// shown reports whether a browser may show a file of the type in its own window.
func shown(kind string) bool {
	switch kind {
	case "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp",
		"audio/mpeg", "audio/mp4", "audio/aac", "audio/ogg", "audio/opus", "audio/wav", "audio/webm", "audio/flac", "audio/amr",
		"video/mp4", "video/webm", "video/ogg", "video/quicktime":
		return true
	}
	return false
}

package files

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"freeim/idl"
	"freeim/idl/files"
	"freeim/idl/kitex_gen/wirepb"
)

// give gives a file out, or a part of it.
func (h *Handler) give(out http.ResponseWriter, in *http.Request) {
	t := h.ticket(out, in)
	if t == nil {
		return
	}
	f, err := h.open(t)
	if errors.Is(err, fs.ErrNotExist) {
		h.refuse(out, http.StatusNotFound, &wirepb.Error{Code: idl.CodeNotFound, Message: "the file was deleted"})
		return
	}
	if err != nil {
		no, status := h.fault(err)
		h.refuse(out, status, no)
		return
	}
	defer f.Close()
	head := out.Header()
	head.Set("ETag", etag(t))
	head.Set("Content-Type", files.Served(t.Type))
	head.Set("Content-Disposition", files.Disposition(t.Type, t.Name))
	head.Set("Cache-Control", "private, immutable, max-age="+strconv.FormatInt(int64(t.Expires.Sub(h.opts.Now()).Seconds()), 10))
	if strings.Contains(in.Header.Get("Range"), ",") {
		in.Header.Del("Range") // the whole, instead of many parts (RFC 9110, 14.2)
	}
	h.figures.given.Inc()
	control, pace := http.NewResponseController(out), h.pace()
	_ = control.SetReadDeadline(pace.end(t.Size)) // nothing is read, but the server must not take the client for gone
	http.ServeContent(&paced{ResponseWriter: out, control: control, pace: pace, handler: h}, in, "", time.Time{}, f)
}

// errNotWhole says that what has the name of a file is not what was taken in.
var errNotWhole = errors.New("a file is not as it was taken in")

// open opens a file, and nothing but a file.
func (h *Handler) open(t *files.Ticket) (*os.File, error) {
	root, _, err := h.opts.Home.Open()
	if err != nil {
		return nil, err
	}
	at, err := root.Lstat(files.Path(t.ID)) // no link, no pipe that blocks
	if err != nil {
		return nil, err
	}
	if !at.Mode().IsRegular() || at.Size() != t.Size {
		return nil, errNotWhole
	}
	return root.Open(files.Path(t.ID))
}

// paced is a response that goes out in time.
type paced struct {
	http.ResponseWriter
	control *http.ResponseController
	pace    pace
	handler *Handler
}

func (p *paced) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(p.pace.next())
	n, err := p.ResponseWriter.Write(b)
	p.pace.has += int64(n)
	p.handler.figures.givenN.Add(float64(n))
	return n, err
}

package files

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"syscall"
	"time"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/files"
	"freeim/idl/kitex_gen/wirepb"
)

// sink is what an upload is written to.
type sink interface {
	io.Writer
	Sync() error
	Close() error
}

// take takes a file in: it has its name when it is whole, is what the ticket says and is on the
// disk, and not before.
func (h *Handler) take(out http.ResponseWriter, in *http.Request) {
	t := h.ticket(out, in)
	if t == nil {
		return
	}
	if kind := in.Header.Get("Content-Type"); kind != "" && kind != t.Type {
		h.refuse(out, http.StatusUnsupportedMediaType, invalid("type", "the ticket is for "+t.Type))
		return
	}
	if coded := in.Header.Get("Content-Encoding"); coded != "" && coded != "identity" {
		h.refuse(out, http.StatusUnsupportedMediaType, invalid("", "send the octets as they are"))
		return
	}
	if in.ContentLength >= 0 && in.ContentLength != t.Size {
		out.Header().Set("Connection", "close") // what it sends on is not read
		h.refuse(out, http.StatusBadRequest, badSize(in.ContentLength, t.Size))
		return
	}
	leave, no, status := h.enter(t, session.VisitorOf(in.Context()))
	if no != nil {
		out.Header().Set("Connection", "close")
		h.refuse(out, status, no)
		return
	}
	defer leave()
	if no, status := h.receive(out, in, t); no != nil {
		out.Header().Set("Connection", "close")
		h.refuse(out, status, no)
		return
	}
	h.figures.taken.Inc()
	out.Header().Set("ETag", etag(t))
	answer(out, http.StatusOK, []byte("{}"))
}

func badSize(has, want int64) *wirepb.Error {
	return invalid("size", fmt.Sprintf("the ticket is for %d octets, %d come", want, has))
}

func invalid(field, why string) *wirepb.Error {
	return &wirepb.Error{Code: idl.CodeInvalidArgument, Field: field, Message: why}
}

// etag names the octets.
func etag(t *files.Ticket) string { return `"` + t.SHA256 + `"` }

// receive writes what comes beside where it is to be, and then gives it its name.
func (h *Handler) receive(out http.ResponseWriter, in *http.Request, t *files.Ticket) (no *wirepb.Error, status int) {
	root, _, err := h.opts.Home.Open()
	if err != nil {
		return h.fault(err)
	}
	if err := makeDir(root, path.Dir(files.Path(t.ID))); err != nil {
		return h.fault(err)
	}
	name := path.Join(path.Dir(files.Path(t.ID)), "."+t.ID+"."+rand.Text()+files.Part)
	to, err := h.put(name)
	if err != nil {
		return h.fault(err)
	}
	no, status = h.write(out, in, t, to)
	if no == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); no == nil && err == nil {
		err = root.Rename(name, files.Path(t.ID))
	}
	if no == nil && err == nil {
		if err = files.Flush(root, name); err == nil {
			return nil, 0
		}
		return h.fault(err) // it has its name: whoever sends it again finds the same
	}
	if gone := root.Remove(name); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		h.opts.Log.Warn("what is left of an upload stays for a day", "err", gone)
	}
	if no == nil {
		return h.fault(err)
	}
	return no, status
}

// write copies the body, as long as it comes in time and is not more than the ticket is for.
func (h *Handler) write(out http.ResponseWriter, in *http.Request, t *files.Ticket, to io.Writer) (no *wirepb.Error, status int) {
	control, pace, sum := http.NewResponseController(out), h.pace(), sha256.New()
	// The answer may be late too. A server that cannot set deadlines has its own.
	_ = control.SetWriteDeadline(pace.end(t.Size).Add(h.opts.Stall))
	buf := make([]byte, 64<<10)
	for {
		_ = control.SetReadDeadline(pace.next())
		n, err := in.Body.Read(buf)
		pace.has += int64(n)
		h.figures.takenN.Add(float64(n))
		if pace.has > t.Size {
			return badSize(pace.has, t.Size), http.StatusBadRequest
		}
		sum.Write(buf[:n])
		if _, err := to.Write(buf[:n]); err != nil {
			return h.fault(err)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return &wirepb.Error{Code: idl.CodeDeadlineExceeded, Message: "the octets come too slowly"}, http.StatusRequestTimeout
		}
		if err != nil { // the client has gone, mostly
			return badSize(pace.has, t.Size), http.StatusBadRequest
		}
	}
	if pace.has != t.Size {
		return badSize(pace.has, t.Size), http.StatusBadRequest
	}
	if is := hex.EncodeToString(sum.Sum(nil)); is != t.SHA256 {
		return invalid("sha256", "the octets that came have "+is), http.StatusBadRequest
	}
	_ = control.SetReadDeadline(time.Time{}) // the next request's is set anew
	return nil, 0
}

// fault is the refusal for what the disk says. That it is full the client may read: trying
// at once again is no use.
func (h *Handler) fault(err error) (*wirepb.Error, int) {
	h.figures.failed.Inc()
	h.opts.Log.Error("a file is not served", "err", err)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &wirepb.Error{Code: idl.CodeUnavailable, Message: "there is no room for files left", RetryAfterMs: 60_000}, http.StatusInsufficientStorage
	}
	return unavailable("the files cannot be reached"), http.StatusServiceUnavailable
}

// create is put: a new file, never one that is there.
func (h *Handler) create(name string) (sink, error) {
	root, _, err := h.opts.Home.Open()
	if err != nil {
		return nil, err
	}
	_, mode, _ := files.Modes(root)
	return root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
}

// makeDir makes one of the directories that IDs begin with; files.Flush has its name be on the disk.
func makeDir(root *os.Root, dir string) error {
	mode, _, _ := files.Modes(root)
	if err := root.Mkdir(dir, mode); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

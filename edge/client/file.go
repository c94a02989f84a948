package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/filepb"
)

// This file is what people upload: a ticket by an action, the octets by HTTP, and a commit.

// Upload is what UploadFile takes.
type Upload struct {
	Name    string // what people call it
	Type    string // its MIME type; empty: application/octet-stream
	Content io.ReadSeeker
	// Server is where the server's HTTP port is, as "http://host:8080", for a server that says
	// nothing of it.
	Server string
	// HTTP sends the octets. Nil means http.DefaultClient.
	HTTP *http.Client
	// Progress is told how many octets of all have gone out, with each try anew. Nil: nobody is.
	Progress func(sent, size int64)
}

// Bounds of trying again.
const (
	uploadTries = 8
	uploadPause = 500 * time.Millisecond // doubled with each try, up to
	uploadMost  = 30 * time.Second
)

// UploadFile uploads a file and says what is known of it: refer to it as "file:" and its ID. It is
// deleted in a day if nothing does. What fails on the way is tried again, until ctx ends or
// the ticket. It returns an *UploadError for what the store of the octets refuses.
func (a Actions) UploadFile(ctx context.Context, u Upload) (*filepb.File, error) {
	size, sum, err := measure(u.Content)
	if err != nil {
		return nil, fmt.Errorf("read what is to be uploaded: %w", err)
	}
	if u.Type == "" {
		u.Type = "application/octet-stream"
	}
	t, err := ask[filepb.FileUploadReply](ctx, a.call, idl.ActionUploadFile, &filepb.FileUploadRequest{Name: u.Name, Size: size, Type: u.Type, Sha256: sum})
	if err != nil {
		return nil, err
	}
	if t.Url, err = FileAddress(u.Server, t.Url); err != nil {
		return nil, err
	}
	if err := u.send(ctx, t, size); err != nil {
		return nil, err
	}
	rep, err := ask[filepb.FileCommitReply](ctx, a.call, idl.ActionCommitFile, &filepb.FileCommitRequest{FileId: t.FileId})
	return rep.GetFile(), err
}

// measure reads all, and goes back to the beginning.
func measure(content io.ReadSeeker) (size int64, sum string, err error) {
	hash := sha256.New()
	if size, err = io.Copy(hash, content); err != nil {
		return 0, "", err
	}
	_, err = content.Seek(0, io.SeekStart)
	return size, hex.EncodeToString(hash.Sum(nil)), err
}

// FileAddress is a URL of a file as it can be asked for: the server's own begin with "/", and
// server is where its HTTP port is.
func FileAddress(server, address string) (string, error) {
	if !strings.HasPrefix(address, "/") {
		return address, nil
	}
	base, err := url.Parse(server)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return "", fmt.Errorf("server %q: want http://host:port, as the server gives no whole URLs", server)
	}
	to, err := base.Parse(address)
	if err != nil {
		return "", fmt.Errorf("the server's URL: %w", err)
	}
	return to.String(), nil
}

// send sends the octets until they are taken.
func (u *Upload) send(ctx context.Context, t *filepb.FileUploadReply, size int64) error {
	pause := uploadPause
	for try := 1; ; try++ {
		wait, again, err := u.try(ctx, t, size)
		wait = max(wait, pause/2+rand.N(pause/2))
		if err == nil || !again || try == uploadTries || ctx.Err() != nil || time.Now().Add(wait).UnixMilli() >= t.ExpiresMs {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
		pause = min(2*pause, uploadMost)
	}
}

// try sends them once. again says that another try may do, after wait.
func (u *Upload) try(ctx context.Context, t *filepb.FileUploadReply, size int64) (wait time.Duration, again bool, err error) {
	if _, err := u.Content.Seek(0, io.SeekStart); err != nil {
		return 0, false, fmt.Errorf("read what is uploaded: %w", err)
	}
	in, err := http.NewRequestWithContext(ctx, t.Method, t.Url, io.NopCloser(&counted{Reader: io.LimitReader(u.Content, size), size: size, tell: u.Progress}))
	if err != nil {
		return 0, false, fmt.Errorf("upload: %w", err)
	}
	in.ContentLength = size
	for _, h := range t.Headers {
		in.Header.Set(h.Name, h.Value)
	}
	by := u.HTTP
	if by == nil {
		by = http.DefaultClient
	}
	rep, err := by.Do(in)
	if err != nil {
		return 0, true, fmt.Errorf("upload: %w", withoutURL(err))
	}
	defer rep.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(rep.Body, 4096))
	if rep.StatusCode < 300 {
		return 0, false, nil
	}
	after, _ := strconv.Atoi(rep.Header.Get("Retry-After"))
	switch rep.StatusCode {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		again = true
	case http.StatusInsufficientStorage:
	default:
		again = rep.StatusCode >= 500
	}
	return time.Duration(after) * time.Second, again, &UploadError{rep.StatusCode, string(text)}
}

// withoutURL is an error of net/http without the ticket, which is a secret while it holds.
func withoutURL(err error) error {
	if of, is := errors.AsType[*url.Error](err); is {
		return of.Err
	}
	return err
}

// UploadError is what a store of octets answered to an upload.
type UploadError struct {
	Status int    // of HTTP
	Text   string // JSON from a server of freeim's, else what the store says; 4,096 octets at most
}

func (e *UploadError) Error() string { return fmt.Sprintf("upload: answered %d: %s", e.Status, e.Text) }

// counted tells how much was read.
type counted struct {
	io.Reader
	read, size int64
	tell       func(sent, size int64)
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if c.read += int64(n); c.tell != nil && n > 0 {
		c.tell(c.read, c.size)
	}
	return n, err
}

// FileURLs gives where files can be read for a while, in the order of the IDs, 1-50; those that are gone are left
// out. FileAddress makes whole URLs of them.
func (a Actions) FileURLs(ctx context.Context, ids ...string) ([]*filepb.FileURL, error) {
	rep, err := ask[filepb.FileURLReply](ctx, a.call, idl.ActionFileURL, &filepb.FileURLRequest{FileIds: ids})
	return rep.GetFiles(), err
}

// Files reads a page of one's own files, the newest first.
func (a Actions) Files(ctx context.Context, req *filepb.FileListRequest) (*filepb.FileListReply, error) {
	return ask[filepb.FileListReply](ctx, a.call, idl.ActionListFiles, req)
}

// DeleteFile deletes one of one's own files, to which nothing refers.
func (a Actions) DeleteFile(ctx context.Context, id string) error {
	_, err := ask[filepb.FileDeleteReply](ctx, a.call, idl.ActionDeleteFile, &filepb.FileDeleteRequest{FileId: id})
	return err
}

package file

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/files"
	"freeim/idl/kitex_gen/filepb"
)

const mostName = 255 // characters

func (p *File) validateUpload(_ *plugin.Call, req *filepb.FileUploadRequest) error {
	if err := im.CheckLine("name", req.Name, 1, mostName); err != nil {
		return err
	}
	if strings.ContainsAny(req.Name, `/\`) || req.Name == "." || req.Name == ".." {
		return im.Invalid("name", "must be a name, not a path")
	}
	if !isMIME(req.Type) {
		return im.Invalid("type", `must be a MIME type in lower case without parameters, as "image/png"`)
	}
	if len(req.Sha256) != 64 || strings.Trim(req.Sha256, "0123456789abcdef") != "" {
		return im.Invalid("sha256", "must be 64 hexadecimal digits in lower case")
	}
	most, allowed := p.limit(req.Type)
	if !allowed {
		return im.Invalid("type", "files of the type %s may not be uploaded", req.Type)
	}
	if req.Size < 1 || req.Size > most {
		return im.Invalid("size", "must be 1-%d for the type %s, is %d", most, req.Type, req.Size)
	}
	return nil
}

// limit is how many octets a file of a type may have.
func (p *File) limit(kind string) (most int64, allowed bool) {
	main, _, _ := strings.Cut(kind, "/")
	for _, t := range p.config.Types {
		if t.Type == kind || t.Type == main+"/*" || t.Type == "*/*" {
			return min(t.MaxSize, p.config.MaxSize), true
		}
	}
	return 0, false
}

// upload gives a ticket.
func (p *File) upload(ctx context.Context, call *plugin.Call, req *filepb.FileUploadRequest) (*filepb.FileUploadReply, error) {
	now := p.host.Now()
	expires := now.Add(p.config.TicketTime).Truncate(time.Second)
	until := expires.Add(files.Time(req.Size))
	f := &file{id: files.NewID(), owner: call.User, name: req.Name, kind: req.Type, size: req.Size, sha256: req.Sha256, madeMs: now.UnixMilli(),
		untilMs: until.UnixMilli(), dueMs: at(until.Add(p.config.KeepUnused))}
	way, err := p.objects.ticket(ctx, f, expires)
	if err != nil {
		p.counts.failed.Add(1)
		return nil, plugin.Stored(ctx, err)
	}
	day := now.UnixMilli() / dayMs
	err = p.store.byOwner(ctx, call.User, day, func(tx *sql.Tx, n, octets int64) (int64, int64, error) {
		n, octets = n+1, octets+req.Size
		if c := p.config; c.FilesPerDay > 0 && n > c.FilesPerDay || c.OctetsPerDay > 0 && octets > c.OctetsPerDay {
			return 0, 0, &im.Error{Code: idl.CodeRateLimited, Reason: "as much was uploaded today as may be", RetryAfter: time.UnixMilli((day + 1) * dayMs).Sub(now)}
		}
		return n, octets, p.store.put(ctx, tx, f)
	})
	if err != nil {
		return nil, refusal(ctx, err)
	}
	p.counts.tickets.Add(1)
	return &filepb.FileUploadReply{FileId: f.id, Method: way.method, Url: way.url, Headers: way.headers, ExpiresMs: expires.UnixMilli()}, nil
}

const dayMs = 24 * 60 * 60 * 1000

func at(t time.Time) sql.NullInt64 { return sql.NullInt64{Int64: t.UnixMilli(), Valid: true} }

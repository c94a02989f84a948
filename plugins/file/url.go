package file

import (
	"context"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/files"
	"freeim/idl/kitex_gen/filepb"
)

const mostURLs = 50 // in a request

// urls gives addresses to whoever knows the IDs: of what something refers to, and of one's own.
func (p *File) urls(ctx context.Context, call *plugin.Call, req *filepb.FileURLRequest) (*filepb.FileURLReply, error) {
	if len(req.FileIds) < 1 || len(req.FileIds) > mostURLs {
		return nil, im.Invalid("file_ids", "must be 1-%d, are %d", mostURLs, len(req.FileIds))
	}
	for _, id := range req.FileIds {
		if !files.IsID(id) {
			return nil, im.Invalid("file_ids", "must be IDs of files")
		}
	}
	found, err := p.store.byIDs(ctx, p.store.db, req.FileIds)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	from, until := p.readable()
	rep := &filepb.FileURLReply{}
	for _, id := range req.FileIds {
		f := found[id]
		if f == nil || f.state != ready || f.refs == 0 && f.owner != call.User {
			continue
		}
		delete(found, id) // each once
		link, err := p.objects.link(ctx, f, from, until)
		if err != nil {
			p.counts.failed.Add(1)
			return nil, plugin.Stored(ctx, err)
		}
		rep.Files = append(rep.Files, &filepb.FileURL{File: shown(f), Url: link, ExpiresMs: until.UnixMilli()})
	}
	return rep, nil
}

// readable is from when until when a URL that is given now holds: the same for half of URLTime, so
// that caches know it again.
func (p *File) readable() (from, until time.Time) {
	from = p.host.Now().Truncate(p.config.URLTime / 2).Truncate(time.Second)
	return from, from.Add(p.config.URLTime.Truncate(time.Second))
}

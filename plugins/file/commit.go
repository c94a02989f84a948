package file

import (
	"context"
	"database/sql"
	"errors"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/files"
	"freeim/idl/kitex_gen/filepb"
)

// commit makes a file ready that has come.
func (p *File) commit(ctx context.Context, call *plugin.Call, req *filepb.FileCommitRequest) (*filepb.FileCommitReply, error) {
	f, err := p.own(ctx, call.User, req.FileId)
	if err != nil {
		return nil, err
	}
	if f.state == waiting {
		if err := p.arrived(ctx, f); err != nil {
			return nil, err
		}
		if f, err = p.makeReady(ctx, f); err != nil {
			return nil, refusal(ctx, err)
		}
	}
	return &filepb.FileCommitReply{File: mine(f)}, nil
}

// own gives a file of the user's that does not go.
func (p *File) own(ctx context.Context, u im.UserID, id string) (*file, error) {
	if !files.IsID(id) {
		return nil, im.Invalid("file_id", "must be the ID of a file")
	}
	f, err := p.store.file(ctx, p.store.db, id)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if f == nil || f.owner != u || f.state == going {
		return nil, notFound("file_id")
	}
	return f, nil
}

// arrived refuses a file whose octets are not there.
func (p *File) arrived(ctx context.Context, f *file) error {
	err := p.objects.check(ctx, f)
	if errors.Is(err, errAbsent) {
		return &im.Error{Code: idl.CodeNotFound, Field: "file_id", Reason: "it was not uploaded as the ticket says"}
	}
	if err != nil {
		p.counts.failed.Add(1)
		return plugin.Stored(ctx, err)
	}
	return nil
}

// makeReady makes a file ready, unless it goes: who deletes it has claimed it before he touches its octets.
func (p *File) makeReady(ctx context.Context, f *file) (is *file, err error) {
	first := false
	err = p.store.tx(ctx, func(tx *sql.Tx) error {
		n, err := exec(ctx, tx, "make a file ready", "UPDATE file_files SET state = 1, due_ms = ? WHERE id = ? AND state = 0",
			p.host.Now().Add(p.config.KeepUnused).UnixMilli(), f.id)
		if err != nil {
			return err
		}
		first = n == 1
		is, err = p.store.file(ctx, tx, f.id)
		if err == nil && (is == nil || is.state != ready) {
			err = notFound("file_id")
		}
		return err
	})
	if err == nil && first {
		p.counts.committed.Add(1)
		p.counts.octets.Add(f.size)
	}
	return is, err
}

// shown is a file as everybody sees it who knows its ID.
func shown(f *file) *filepb.File {
	return &filepb.File{Id: f.id, Name: f.name, Size: f.size, Type: f.kind, Sha256: f.sha256, TimeMs: f.madeMs}
}

// mine is a file as its owner sees it.
func mine(f *file) *filepb.File {
	m := shown(f)
	m.Used = f.refs > 0
	return m
}

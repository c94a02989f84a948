package file

import (
	"context"
	"database/sql"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/filepb"
)

// remove deletes one of the caller's files, unless something refers to it. Nobody finds it from then
// on; its octets go with the next round of the collector.
func (p *File) remove(ctx context.Context, call *plugin.Call, req *filepb.FileDeleteRequest) (*filepb.FileDeleteReply, error) {
	if _, err := p.own(ctx, call.User, req.FileId); err != nil { // another's is not locked
		return nil, err
	}
	err := p.store.tx(ctx, func(tx *sql.Tx) error {
		n, err := exec(ctx, tx, "delete a file", "UPDATE file_files SET state = 2, due_ms = ? WHERE id = ? AND state < 2 AND refs = 0", p.host.Now().UnixMilli(), req.FileId)
		if err != nil || n == 1 {
			return err
		}
		f, err := p.store.file(ctx, tx, req.FileId)
		if err != nil {
			return err
		}
		if f == nil || f.state == going {
			return notFound("file_id")
		}
		return &im.Error{Code: idl.CodeConflict, Field: "file_id", Reason: "a message, a moment or a profile refers to it"}
	})
	if err != nil {
		return nil, refusal(ctx, err)
	}
	p.awake()
	return &filepb.FileDeleteReply{}, nil
}

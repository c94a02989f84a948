package file

import (
	"context"
	"math"
	"strconv"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/files"
	"freeim/idl/kitex_gen/filepb"
)

// list gives a page of the caller's files that are ready, the newest first.
func (p *File) list(ctx context.Context, call *plugin.Call, req *filepb.FileListRequest) (*filepb.FileListReply, error) {
	limit, err := plugin.PageLimit(req.Limit, 50, 100)
	if err != nil {
		return nil, err
	}
	made, id, err := place(req.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := p.store.files(ctx, p.store.db, ownFiles, int64(call.User), made, made, id, limit+1)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	rep := &filepb.FileListReply{}
	if rep.HasMore = len(found) > limit; rep.HasMore {
		found = found[:limit]
	}
	for _, f := range found {
		rep.Files = append(rep.Files, mine(f))
		rep.Cursor = strconv.FormatInt(f.madeMs, 10) + "." + f.id
	}
	return rep, nil
}

// place is where a cursor stands in the list: a place and nothing else, so that somebody else's shows nothing.
func place(cursor string) (madeMs int64, id string, err error) {
	if cursor == "" {
		return math.MaxInt64, "", nil
	}
	made, id, two := strings.Cut(cursor, ".")
	madeMs, err = strconv.ParseInt(made, 10, 64)
	if err != nil || !two || !files.IsID(id) {
		return 0, "", im.Invalid("cursor", "must be the cursor of a page")
	}
	return madeMs, id, nil
}

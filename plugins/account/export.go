package account

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

const (
	exportPart    = 16 << 10 // octets of JSON in one part
	exportParts   = 4096     // of one plugin: 64 MiB
	exportTime    = 30 * time.Second
	exportsAtOnce = 2 // of a core: one may be large, and is in memory whole
)

// export gives a copy of all that is kept of the caller: first what there is of it, then
// part by part. The copy is made once and kept for a while, so that its parts fit.
func (p *Account) export(ctx context.Context, call *plugin.Call, req *accountpb.ExportRequest) (*accountpb.ExportReply, error) {
	if req.Plugin != "" {
		text, err := p.store.exported(ctx, call.User, req.MadeMs, req.Plugin, req.Part)
		if err != nil {
			return nil, refusalOf(ctx, err)
		}
		return &accountpb.ExportReply{MadeMs: req.MadeMs, Json: text}, nil
	}
	if req.MadeMs != 0 || req.Part != 0 {
		return nil, im.Invalid("plugin", "must be one of the contents")
	}
	now := p.host.Now()
	madeMs, contents, err := p.store.contents(ctx, call.User, now.Add(-p.config.ExportEvery).UnixMilli())
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if madeMs == 0 {
		select {
		case p.exporting <- struct{}{}:
			defer func() { <-p.exporting }()
		default:
			return nil, im.Unavailable(retryAfter, nil)
		}
		if wait := p.exports.Take(ctx, accountKey(call.User.String())); wait > 0 {
			return nil, limited(wait, "copies")
		}
		madeMs = now.UnixMilli()
		if contents, err = p.makeExport(ctx, call.User, madeMs); err != nil {
			return nil, refusalOf(ctx, err)
		}
	}
	return &accountpb.ExportReply{MadeMs: madeMs, Contents: contents}, nil
}

// makeExport asks every plugin and files what it gives.
func (p *Account) makeExport(ctx context.Context, u im.UserID, madeMs int64) (contents []*accountpb.ExportContent, err error) {
	for _, h := range p.holdings.list() {
		kept, err := h.Export(ctx, u)
		if err != nil {
			return nil, fmt.Errorf("export of %s: %w", h.plugin, err)
		}
		text, err := json.Marshal(kept)
		if err != nil {
			return nil, fmt.Errorf("write what %s keeps: %w", h.plugin, err)
		}
		parts := cutText(string(text), exportPart)
		if len(parts) > exportParts {
			return nil, im.Errorf(idl.CodeLimitExceeded, "what %s keeps is over %d MiB: ask the operator for it", h.plugin, exportPart*exportParts>>20)
		}
		if err := p.store.fileExport(ctx, u, madeMs, h.plugin, parts); err != nil {
			return nil, err
		}
		contents = append(contents, &accountpb.ExportContent{Plugin: h.plugin, Parts: int32(len(parts)), Octets: int64(len(text))})
	}
	list, err := json.Marshal(contents)
	if err != nil {
		return nil, fmt.Errorf("write the contents of a copy: %w", err)
	}
	return contents, p.store.fileExport(ctx, u, madeMs, "", []string{string(list)})
}

// cutText cuts a text into pieces of at most n octets, between characters.
func cutText(text string, n int) (parts []string) {
	for len(text) > n {
		end := n
		for !utf8.RuneStart(text[end]) {
			end--
		}
		parts, text = append(parts, text[:end]), text[end:]
	}
	return append(parts, text)
}

// kept are this plugin's own holdings: what is erased of them comes last, see erase.
type kept struct{ *Account }

// ownExport is what this plugin keeps of a person.
type ownExport struct {
	UserID      int64          `json:"user_id"`
	Account     string         `json:"account"`
	CreatedMs   int64          `json:"created_ms"`
	Handle      string         `json:"handle,omitempty"`
	Nickname    string         `json:"nickname"`
	Avatar      string         `json:"avatar,omitempty"`
	Gender      int32          `json:"gender,omitempty"`
	Birthday    string         `json:"birthday,omitempty"`
	Signature   string         `json:"signature,omitempty"`
	City        string         `json:"city,omitempty"`
	Language    string         `json:"language,omitempty"`
	FoundBy     []string       `json:"found_by"`
	HasPassword bool           `json:"has_password"`
	External    []exportName   `json:"external,omitempty"`
	Devices     []exportDevice `json:"devices"`
}

// exportName is who one is to an issuer.
type exportName struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// exportDevice is a device that is signed in; its tokens are secrets.
type exportDevice struct {
	ID           string `json:"id"`
	Type         string `json:"type"`
	Name         string `json:"name"`
	Client       string `json:"client,omitempty"`
	Address      string `json:"address"`
	SignedInMs   int64  `json:"signed_in_ms"`
	LastSeenMs   int64  `json:"last_seen_ms"`
	PushProvider string `json:"push_provider,omitempty"`
}

// Export implements plugin.Holdings.
func (k kept) Export(ctx context.Context, u im.UserID) (any, error) {
	one, err := k.store.profile(ctx, k.store.db, u)
	if err != nil {
		return nil, err
	}
	hash, err := k.store.password(ctx, k.store.db, u)
	if err != nil {
		return nil, err
	}
	devices, err := k.store.devices(ctx, u)
	if err != nil {
		return nil, err
	}
	out := ownExport{
		UserID: int64(u), Account: one.name, CreatedMs: one.madeMs, Handle: one.handle, Nickname: one.nickname, Avatar: one.avatar,
		Gender: int32(one.gender), Birthday: one.birthday, Signature: one.signature, City: one.city, Language: one.language,
		FoundBy: []string{}, HasPassword: hash != noPassword, Devices: []exportDevice{},
	}
	names, err := k.store.identities(ctx, u)
	if err != nil {
		return nil, err
	}
	for _, one := range names {
		out.External = append(out.External, exportName{one.issuer, one.subject})
	}
	for i, by := range []string{"handle", "account", "nickname"} {
		if one.foundBy&(1<<i) != 0 {
			out.FoundBy = append(out.FoundBy, by)
		}
	}
	for _, d := range devices {
		out.Devices = append(out.Devices, exportDevice{string(d.id), idl.DeviceTypeName(d.deviceType), d.name, d.client, d.address,
			d.signedInMs, d.lastSeenMs, d.pushProvider})
	}
	return out, nil
}

// Erase implements plugin.Holdings.
func (kept) Erase(context.Context, im.UserID) error { return nil }

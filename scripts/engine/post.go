package engine

import (
	"slices"

	lua "github.com/yuin/gopher-lua"
)

const maxPost = 16 << 10 // octets of a post's body

// postSymbols is im.http.post.
func postSymbols() []symbol {
	return []symbol{
		{name: "im.http.post", in: inHook, fn: (*vm).post, args: []param{{"endpoint", "string", "a name in the server's configuration, core.rules.http; in tests any"}, {"body", "table<string, any>", "16 KiB as JSON at most"}},
			doc:     "Posts JSON to a URL that the operator has named, after everything and aside. Nobody waits for it, and its answer is not seen; what an endpoint does not take in time is lost and counted. An effect, as im.emit.",
			example: `im.http.post("audit", {user = c.user, what = "link.seen"})`},
	}
}

// post is im.http.post(endpoint, body).
func (v *vm) post(L *lua.LState) int {
	e := Effect{Kind: "post", Endpoint: L.CheckString(1)}
	opts := v.b.opts
	if opts.trying == nil && opts.Endpoints != nil && !slices.Contains(opts.Endpoints, e.Endpoint) {
		L.RaiseError("im.http.post: the configuration names no endpoint %q in core.rules.http", clip(e.Endpoint, 64))
	}
	if !hookName.MatchString(e.Endpoint) || len(e.Endpoint) > 64 {
		L.ArgError(1, `an endpoint's name is of a-z, 0-9, ".", "_" and "-", 64 at most`)
	}
	e.Data = v.jsonWithin(L, "im.http.post", L.Get(2), maxPost)
	v.effect(L, e)
	return 0
}

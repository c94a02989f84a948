package api

import (
	"net/http"
	"reflect"
	"sync"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
	"freeim/idl/openapi"
)

// described is the description of the actions that there are, made when it is asked for
// and kept while they are the same.
type described struct {
	actions func() []session.ActionInfo

	mu   sync.Mutex // guards the fields below
	of   []session.ActionInfo
	made openapi.Document
}

// describe answers with the OpenAPI document, or with a page of it for people.
func (h *Handler) describe(out http.ResponseWriter, in *http.Request, name string) {
	if in.Method != http.MethodGet && in.Method != http.MethodHead {
		out.Header().Set("Allow", "GET, HEAD")
		h.refuse(out, idl.CodecJSON, http.StatusMethodNotAllowed, &wirepb.Error{Code: idl.CodeUnknownAction, Message: "this is read by GET"})
		return
	}
	if answer := h.hub.Look(session.VisitorOf(in.Context())); answer.Refused != nil {
		h.answer(out, idl.CodecJSON, 0, answer)
		return
	}
	document, no := h.document()
	switch {
	case no != nil:
		h.refuse(out, idl.CodecJSON, 0, no)
	case name == "":
		out.Header().Set("Content-Type", "text/html; charset=utf-8")
		out.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		_, _ = out.Write(document.Page) // the client has gone
	default:
		write(out, idl.CodecJSON, http.StatusOK, document.JSON)
	}
}

func (d *described) document() (openapi.Document, *wirepb.Error) {
	var now []session.ActionInfo
	if d.actions != nil {
		now = d.actions()
	}
	if len(now) == 0 {
		no := busy()
		no.Message = "no core was reached yet"
		return openapi.Document{}, no
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if reflect.DeepEqual(now, d.of) {
		return d.made, nil
	}
	var shown []openapi.Action
	for _, a := range now {
		if !a.NeedsSession {
			shown = append(shown, openapi.Action{Number: a.Action, Name: a.Name, Open: a.Open, MaxBody: a.MaxBody, Rate: a.Rate, Per: a.Per, Request: a.Request, Reply: a.Reply})
		}
	}
	made, err := openapi.Describe(shown)
	if err != nil {
		return openapi.Document{}, &wirepb.Error{Code: idl.CodeInternal, Message: "the description could not be made"}
	}
	d.of, d.made = now, made
	return made, nil
}

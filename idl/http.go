package idl

import (
	"embed"
	"io/fs"
	"net/http"
)

// This file is what the protocol is over HTTP: README.md, HTTP.

// HTTPStatus is the status with which a refusal is answered over HTTP: the one table.
func HTTPStatus(c Code) int {
	switch c {
	case CodeInvalidArgument, CodeMalformedBody:
		return http.StatusBadRequest
	case CodeUnauthenticated, CodeBadCredentials:
		return http.StatusUnauthorized
	case CodePermissionDenied, CodeRejected:
		return http.StatusForbidden
	case CodeNotFound, CodeUnknownAction:
		return http.StatusNotFound
	case CodeAlreadyExists, CodeConflict, CodeLimitExceeded:
		return http.StatusConflict
	case CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeRateLimited:
		return http.StatusTooManyRequests
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	case CodeDeadlineExceeded:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

//go:embed *.proto
var protos embed.FS

// Protos are the .proto files beside this one.
func Protos() fs.FS { return protos }

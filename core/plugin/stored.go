package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
	"freeim/idl"
)

// storeRetry is the advice to a client while a store cannot answer.
const storeRetry = time.Second

// Stored is the refusal that a client sees for an error of a store: "not now".
// That it is also when the call's own time, which is ctx's, ended while a store was
// asked: the limits of several stores may be more in sum than the call has. Three
// errors are something else: the end of a call whose caller has gone, a client ID that was
// used for another message, and what is stored but cannot be read, which no waiting mends.
func Stored(ctx context.Context, err error) error {
	if ended := ctx.Err(); errors.Is(ended, context.Canceled) {
		return errors.Join(ended, err)
	}
	if errors.Is(err, timeline.ErrConflict) {
		return &im.Error{Code: idl.CodeConflict, Field: "client_id", Reason: "used before for another message"}
	}
	if errors.Is(err, timeline.ErrCorrupt) {
		return fmt.Errorf("read a store: %w", err)
	}
	return im.Unavailable(storeRetry, err)
}

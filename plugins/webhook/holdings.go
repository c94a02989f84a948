package webhook

import (
	"context"

	"freeim/core/im"
	"freeim/idl"
)

// holdings is what the plugin keeps of people: a plugin.Holdings. What was told of them is in the feeds, as messages are.
type holdings struct{ onlineStore }

// exported is how somebody is online.
type exported struct {
	SinceMs int64       `json:"online_since_ms"`
	Device  im.DeviceID `json:"device_id"`
	Kind    string      `json:"device_type"`
}

// Export implements plugin.Holdings.
func (h holdings) Export(ctx context.Context, u im.UserID) (any, error) {
	rows, err := h.people(ctx, []im.UserID{u})
	if err != nil {
		return nil, err
	}
	all := []exported{}
	for _, one := range rows {
		all = append(all, exported{one.sinceMs, one.device, idl.DeviceTypeName(one.kind)})
	}
	return map[string][]exported{"online": all}, nil
}

// Erase implements plugin.Holdings: nobody is told that he went.
func (h holdings) Erase(ctx context.Context, u im.UserID) error { return h.erase(ctx, u) }

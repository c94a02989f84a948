package social

import (
	"context"
	"database/sql"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/socialpb"
)

// maxQuestion is the longest question in characters. Source: idl/social.proto.
const maxQuestion = 200

// settings gives what the caller lets others do.
func (p *Social) settings(ctx context.Context, call *plugin.Call, _ *socialpb.SettingsRequest) (*socialpb.SettingsReply, error) {
	me, err := p.store.person(ctx, p.store.db, call.User)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	return &socialpb.SettingsReply{Settings: p.wireSettings(&me)}, nil
}

func (p *Social) wireSettings(of *person) *socialpb.Settings {
	return &socialpb.Settings{Strangers: of.strangers.or(p.config.Strangers), Apply: of.apply, Question: of.question, HideLastSeen: of.hideSeen}
}

func validateSettings(_ *plugin.Call, req *socialpb.UpdateSettingsRequest) error {
	if len(req.Fields) == 0 {
		return im.Invalid("fields", "must name what to set")
	}
	for _, f := range req.Fields {
		if !slices.Contains([]string{"strangers", "apply", "question", "hide_last_seen"}, f) {
			return im.Invalid("fields", "%.40q is none of strangers, apply, question, hide_last_seen", f)
		}
	}
	if req.Apply < socialpb.WhoMayApply_WHO_MAY_APPLY_EVERYBODY || req.Apply > socialpb.WhoMayApply_WHO_MAY_APPLY_NOBODY {
		return im.Invalid("apply", "%d is not known", req.Apply)
	}
	return text("question", &req.Question, 0, maxQuestion)
}

// updateSettings sets the fields that are named.
func (p *Social) updateSettings(ctx context.Context, call *plugin.Call, req *socialpb.UpdateSettingsRequest) (*socialpb.UpdateSettingsReply, error) {
	rep := &socialpb.UpdateSettingsReply{}
	err := p.change(ctx, func(_ *sql.Tx, people []*person) ([]plugin.Event, error) {
		me := people[0]
		was := *me
		for _, f := range req.Fields {
			switch f {
			case "strangers":
				me.strangers = chosen(req.Strangers)
			case "apply":
				me.apply = req.Apply
			case "question":
				me.question = req.Question
			case "hide_last_seen":
				me.hideSeen = req.HideLastSeen
			}
		}
		if me.apply == socialpb.WhoMayApply_WHO_MAY_APPLY_WITH_ANSWER && me.question == "" {
			return nil, im.Invalid("question", "must have 1-%d characters", maxQuestion)
		}
		rep.Settings = p.wireSettings(me)
		if *me == was {
			return nil, nil
		}
		return []plugin.Event{event(me.user, "settings", settingsData{rep.Settings.Strangers, int32(me.apply), me.question, me.hideSeen}, me.user)}, nil
	}, call.User)
	return rep, err
}

// settingsData is that of an event about settings, with the names of idl/social.proto.
type settingsData struct {
	Strangers    bool   `json:"strangers"`
	Apply        int32  `json:"apply"`
	Question     string `json:"question"`
	HideLastSeen bool   `json:"hide_last_seen"`
}

package command

import (
	"context"
	"os"

	"freeim/conf"
	"freeim/core/hooktool"
	"freeim/core/plugin"
	"freeim/core/server"
)

// hooksName is the command that is a tool of its own.
const hooksName = "hooks"

// hooks runs the rules' tool. Of the configuration it needs the sections core,
// plugins and admin.
func (r *run) hooks(ctx context.Context, args []string) int {
	return hooktool.Run(ctx, hooktool.Options{Program: r.Program + " " + hooksName, Args: args, Plugins: r.Plugins,
		Site: r.site, In: r.In, Out: r.Out, Err: r.Err})
}

// site reads what the rules' tool needs of the configuration.
func (r *run) site() (hooktool.Site, error) {
	defaults := server.DefaultConfig()
	c := struct {
		Core    *server.Config `yaml:"core"`
		Admin   conf.Admin     `yaml:"admin"`
		Plugins map[string]any `yaml:"plugins"`
	}{Core: &defaults, Admin: conf.DefaultAdmin(), Plugins: plugin.Configs(r.Plugins)}
	if err := conf.LoadPart(r.Config, os.LookupEnv, &c); err != nil {
		return hooktool.Site{}, err
	}
	key, err := c.Admin.Secret()
	if err != nil {
		return hooktool.Site{}, err
	}
	return hooktool.Site{File: r.Config, Admin: c.Admin.Listen, Key: key,
		Engine: c.Core.RuleOptions()}, nil
}

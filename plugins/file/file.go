// Package file is the plugin for what people upload: it gives tickets for it, checks that it came,
// keeps it as long as messages, moments or profiles refer to it, and deletes it then. The octets
// themselves go past it, between the client and the edge or a store that speaks S3. Who may see the
// message that holds a file is for others to decide. core/server runs it.
package file

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"mime"
	"net/url"
	"strings"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/files"
	"freeim/idl/kitex_gen/filepb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config is the plugin's section of the configuration.
type Config struct {
	// Store is "disk", a directory that the edges serve, or "s3". Default disk.
	Store string `yaml:"store"`
	// Dir is that directory; edges on other machines share it. Default data/files.
	Dir string `yaml:"dir"`
	// Key signs the URLs that edges serve: the same as theirs, 32 octets at least; empty: the one in
	// the file "key" in Dir, which is made when there is none.
	Key string `yaml:"key"`
	// PublicURL is where clients reach the edges' HTTP ports, as "https://chat.example"; empty: URLs
	// begin with "/", and the client puts its server's address before them.
	PublicURL string `yaml:"public_url"`
	S3        S3     `yaml:"s3"`
	// MaxSize is how many octets a file may have. Default 209,715,200.
	MaxSize int64 `yaml:"max_size"`
	// Types are those that may be uploaded; the first that fits holds. Default: pictures and sound up
	// to 20 MiB, films up to 200, all else up to 100.
	Types []Type `yaml:"types"`
	// FilesPerDay and OctetsPerDay bound what one person has tickets for on a day (UTC). 0: no bound.
	// Defaults 500 and 2 GiB.
	FilesPerDay  int64 `yaml:"files_per_day"`
	OctetsPerDay int64 `yaml:"octets_per_day"`
	// TicketTime is how long an upload may be begun. Default 1 h.
	TicketTime time.Duration `yaml:"ticket_time"`
	// URLTime is how long one can be read by a URL, at least half of it; 5 m or more. Default 2 h.
	URLTime time.Duration `yaml:"url_time"`
	// KeepUnused is how long a file stays to which nothing refers. Default 24 h.
	KeepUnused time.Duration `yaml:"keep_unused"`
}

// Type is a kind of files that may be uploaded.
type Type struct {
	// Type is a MIME type, as "image/png", or "image/*", or "*/*".
	Type    string `yaml:"type"`
	MaxSize int64  `yaml:"max_size"` // octets
}

// The values of Config.Store.
const (
	onDisk = "disk"
	onS3   = "s3"
)

// File is the plugin. Its methods are safe for concurrent use after Provision.
type File struct {
	config Config

	// Static after Provision.
	host    plugin.Host
	store   *store
	objects objects
	wake    chan struct{} // of length 1: files are to be deleted
	counts  counts
}

// New makes the plugin with the default configuration.
func New() *File {
	return &File{config: Config{Store: onDisk, Dir: "data/files", S3: S3{Region: "us-east-1", Prefix: "files/"}, MaxSize: 200 << 20,
		Types:       []Type{{"image/*", 20 << 20}, {"audio/*", 20 << 20}, {"video/*", 200 << 20}, {"*/*", 100 << 20}},
		FilesPerDay: 500, OctetsPerDay: 2 << 30, TicketTime: time.Hour, URLTime: 2 * time.Hour, KeepUnused: 24 * time.Hour}}
}

// Info implements plugin.Plugin.
func (p *File) Info() plugin.Info {
	return plugin.Info{Name: "file", Version: "1.0", Needs: []string{plugin.ServiceHoldings}, Provides: []string{plugin.ServiceFiles}}
}

// Config implements plugin.Configurer.
func (p *File) Config() any { return &p.config }

// Migrations implements plugin.Migrator.
func (p *File) Migrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// mostSize bounds a file: what S3 takes in one piece.
const mostSize = 5 << 30

// Validate implements plugin.Validator.
func (p *File) Validate() error {
	c := p.config
	checks := []struct {
		ok   bool
		key  string
		rule string
	}{
		{c.Store == onDisk || c.Store == onS3, "store", "must be disk or s3"},
		{c.Dir != "" || c.Store != onDisk, "dir", "must name a directory"},
		{c.Key == "" || len(c.Key) >= files.LeastKey, "key", "must have 32 octets or more"},
		{c.PublicURL == "" || isHTTP(c.PublicURL), "public_url", "must be as https://chat.example, without a path"},
		{c.MaxSize >= 1 && c.MaxSize <= mostSize, "max_size", "must be 1-5368709120"},
		{len(c.Types) > 0, "types", "must name the types that may be uploaded"},
		{c.FilesPerDay >= 0, "files_per_day", "must be 0 (no bound) or more"},
		{c.OctetsPerDay >= 0, "octets_per_day", "must be 0 (no bound) or more"},
		{c.TicketTime >= time.Minute && c.TicketTime <= 7*24*time.Hour, "ticket_time", "must be 1m to 168h"},
		{c.URLTime >= 5*time.Minute && c.URLTime <= 7*24*time.Hour, "url_time", "must be 5m to 168h"},
		{c.KeepUnused >= time.Minute, "keep_unused", "must be 1m or more"},
	}
	for _, t := range c.Types {
		checks = append(checks, struct {
			ok   bool
			key  string
			rule string
		}{isPattern(t.Type) && t.MaxSize >= 1 && t.MaxSize <= mostSize, "types", `must be as {type: "image/*", max_size: 1000000}`})
	}
	for _, check := range checks {
		if !check.ok {
			return im.Invalid("file."+check.key, "%s", check.rule)
		}
	}
	return nil
}

// isHTTP reports whether text is where a web server is, and no path there.
func isHTTP(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && u.Path == "" && u.RawQuery == "" && u.Fragment == ""
}

func isPattern(text string) bool {
	main, sub, ok := strings.Cut(text, "/")
	return ok && (text == "*/*" || sub == "*" && isMIME(main+"/x") || isMIME(text))
}

// isMIME reports whether text is a MIME type in lower case, without parameters.
func isMIME(text string) bool {
	kind, parameters, err := mime.ParseMediaType(text)
	main, sub, two := strings.Cut(text, "/")
	return err == nil && kind == text && len(parameters) == 0 && two && main != "" && sub != "" && len(text) <= 100 && !strings.Contains(text, "*")
}

// Provision implements plugin.Provisioner.
func (p *File) Provision(_ context.Context, h plugin.Host) error {
	p.host = h
	p.store = &store{db: h.DB(), tx: h.Tx}
	p.wake = make(chan struct{}, 1)
	of, err := plugin.Need[plugin.HoldingsOf](h, plugin.ServiceHoldings)
	if err != nil {
		return err
	}
	p.objects = &disk{home: &files.Home{Dir: p.config.Dir, Given: p.config.Key}, public: p.config.PublicURL}
	if p.config.Store == onS3 {
		in, err := newS3(p.config.S3, h.Now)
		if err != nil {
			return err
		}
		p.objects = in
	}
	of.Hold("file", holdings{p})
	h.Provide(plugin.ServiceFiles, references{p})
	return nil
}

// Start implements plugin.Starter.
func (p *File) Start(context.Context) error {
	p.host.Go("unused files", p.runCollector)
	return nil
}

// Stop implements plugin.Stopper.
func (p *File) Stop(context.Context) error {
	if p.objects == nil {
		return nil
	}
	return p.objects.close()
}

// Register implements plugin.Plugin.
func (p *File) Register(r *plugin.Registrar) {
	plugin.Handle(r, idl.ActionUploadFile, "upload", p.upload, plugin.Validate[filepb.FileUploadRequest, filepb.FileUploadReply](p.validateUpload))
	plugin.Handle(r, idl.ActionCommitFile, "commit", p.commit)
	plugin.Handle(r, idl.ActionFileURL, "url", p.urls)
	plugin.Handle(r, idl.ActionListFiles, "list", p.list)
	plugin.Handle(r, idl.ActionDeleteFile, "delete", p.remove)
}

// notFound is the refusal for a file that is not there, or not the caller's: the same.
func notFound(field string) error {
	return &im.Error{Code: idl.CodeNotFound, Field: field, Reason: "no such file of yours"}
}

// refusal is err as the client sees it.
func refusal(ctx context.Context, err error) error {
	if _, is := errors.AsType[*im.Error](err); is || err == nil {
		return err
	}
	return plugin.Stored(ctx, err)
}

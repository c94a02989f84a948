package conf

import (
	"errors"
	"io"
	"log/slog"
)

// Log is the section of a process's log, the same in edge and core.
type Log struct {
	// Level is the least that is written: debug, info, warn or error.
	Level slog.Level `yaml:"level"`
	// Format is how a line is written.
	Format LogFormat `yaml:"format"`
}

// LogFormat is "text", for people, or "json", for collectors.
type LogFormat string

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *LogFormat) UnmarshalText(text []byte) error {
	if *f = LogFormat(text); *f != "text" && *f != "json" {
		return errors.New("not text or json")
	}
	return nil
}

// DefaultLog writes info and above as text.
func DefaultLog() Log { return Log{Level: slog.LevelInfo, Format: "text"} }

// Logger is a logger to w as the section says.
func (l Log) Logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: l.Level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// Admin is the section of a process's administrative port: health, figures,
// profiles.
type Admin struct {
	// Listen is the port's address; empty: there is none.
	Listen string `yaml:"listen"`
	// AllowRemote lets Listen be an address that other machines reach.
	AllowRemote bool `yaml:"allow_remote"`
}

// DefaultAdmin listens on this machine alone.
func DefaultAdmin() Admin { return Admin{Listen: "127.0.0.1:9090"} }

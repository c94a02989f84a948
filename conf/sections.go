package conf

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
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
	// Key is what whoever asks must show; empty: none, which only an address of
	// this machine alone may have.
	Key string `yaml:"key"`
	// KeyFile is a file with the key, instead of Key; white space around it does
	// not count.
	KeyFile string `yaml:"key_file"`
}

// DefaultAdmin listens on this machine alone.
func DefaultAdmin() Admin { return Admin{Listen: "127.0.0.1:9090"} }

// Secret is the key, from the file if one is named; empty: none.
func (a Admin) Secret() (string, error) {
	if a.KeyFile == "" {
		return a.Key, nil
	}
	if a.Key != "" {
		return "", errors.New("admin.key and admin.key_file are both set: one is enough")
	}
	text, err := os.ReadFile(a.KeyFile)
	if err != nil {
		return "", fmt.Errorf("read admin.key_file: %w", err)
	}
	key := strings.TrimSpace(string(text))
	if key == "" {
		return "", fmt.Errorf("admin.key_file %s is empty", a.KeyFile)
	}
	return key, nil
}

package conf_test

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freeim/conf"
)

func TestSize(t *testing.T) {
	tests := []struct {
		text string
		want conf.Size
		back string
	}{
		{"0", 0, "0"},
		{"512", 512, "512"},
		{"1023", 1023, "1023"},
		{"1024", 1024, "1KiB"},
		{"64KiB", 64 << 10, "64KiB"},
		{"1536KiB", 1536 << 10, "1536KiB"},
		{"2048KiB", 2 << 20, "2MiB"},
		{"16MiB", 16 << 20, "16MiB"},
		{"2048GiB", 2048 << 30, "2048GiB"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			var got conf.Size
			if err := got.UnmarshalText([]byte(tt.text)); err != nil || got != tt.want || got.String() != tt.back {
				t.Errorf("got %d, %s and %v, want %d, %s", got, got, err, tt.want, tt.back)
			}
		})
	}
}

func TestSizeRefuses(t *testing.T) {
	for _, text := range []string{"", "KiB", "-1", "+1", "1.5KiB", "64KB", "64K", "64kib", "64 KiB", "1TiB", "1KiBKiB",
		"0x10", "1_000", "9223372036854775808", "8589934592GiB", "1KiB\n"} {
		got := conf.Size(7)
		if err := got.UnmarshalText([]byte(text)); err == nil || got != 7 {
			t.Errorf("%q: got %d and %v, want an error", text, got, err)
		}
	}
}

// FuzzSize holds that a size is written as it can be read.
func FuzzSize(f *testing.F) {
	f.Add("64KiB")
	f.Add("8589934592GiB")
	f.Fuzz(func(t *testing.T, text string) {
		var size, again conf.Size
		if size.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(size.String())); err != nil || again != size || size < 0 {
			t.Errorf("%q: got %d, written %s, read %d and %v", text, size, size, again, err)
		}
	})
}

func TestLogger(t *testing.T) {
	tests := []struct {
		name string
		log  conf.Log
		want string
	}{
		{"default", conf.DefaultLog(), "level=INFO msg=hi n=1"},
		{"json", conf.Log{Level: slog.LevelInfo, Format: "json"}, `"level":"INFO","msg":"hi","n":1`},
		{"warn", conf.Log{Level: slog.LevelWarn, Format: "text"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			tt.log.Logger(&out).Info("hi", "n", 1)
			if !strings.Contains(out.String(), tt.want) || (tt.want == "") != (out.Len() == 0) {
				t.Errorf("got %q, want %q", out.String(), tt.want)
			}
		})
	}
}

func TestDefaultAdminIsForThisMachineAlone(t *testing.T) {
	if got := conf.DefaultAdmin(); !strings.HasPrefix(got.Listen, "127.0.0.1:") || got.Key != "" {
		t.Errorf("got %+v, want a loopback address", got)
	}
}

// FuzzParse holds that no file and no variable makes Parse panic, and that each
// fault names where it is.
func FuzzParse(f *testing.F) {
	f.Add("edge:\n  tcp: x\n  peers: [{name: n}]\n", "FREEIM_EDGE_PORTS=[1, 2]")
	f.Add("edge: &a {tcp: *a, <<: *a}", "FREEIM_EDGE_LABELS={a: *b}")
	f.Add("? [a]\n: {b: 1}\n---\n", "FREEIM_CORE_LISTEN=x")
	f.Add("plugins: {chat: {max_text: !!binary aGk=}}", "FREEIM_PLUGINS_CHAT_MAX_TEXT=1e3")
	f.Add("%YAML 1.1\n--- !custom {edge: ~}", "FREEIM_")
	f.Fuzz(func(t *testing.T, file, variable string) {
		c := defaults()
		err := conf.Parse("f.yaml", []byte(file), []string{variable}, &c)
		if err == nil {
			return
		}
		if first := err.Error(); !strings.HasPrefix(first, "f.yaml:") && !strings.HasPrefix(first, conf.Prefix) {
			t.Errorf("got %q, want it to name its source", first)
		}
	})
}

func TestAdminSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("  from the file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		admin conf.Admin
		want  string
		ok    bool
	}{
		{"none", conf.Admin{}, "", true},
		{"a key", conf.Admin{Key: "a key"}, "a key", true},
		{"a file", conf.Admin{KeyFile: file}, "from the file", true},
		{"both", conf.Admin{Key: "a key", KeyFile: file}, "", false},
		{"no such file", conf.Admin{KeyFile: file + "x"}, "", false},
		{"an empty file", conf.Admin{KeyFile: empty}, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got, err := row.admin.Secret(); got != row.want || (err == nil) != row.ok {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

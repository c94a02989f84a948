package account_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

func TestConformance(t *testing.T) {
	plugintest.Conform(t, func() plugin.Plugin { return account.New() })
}

func TestConfigurationIsChecked(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*account.Config)
		field  string
	}{
		{"memory below OWASP's", func(c *account.Config) { c.PasswordMemoryKiB = 19<<10 - 1 }, "account.password_memory_kib"},
		{"memory beyond reason", func(c *account.Config) { c.PasswordMemoryKiB = 1<<20 + 1 }, "account.password_memory_kib"},
		{"one pass", func(c *account.Config) { c.PasswordPasses = 1 }, "account.password_passes"},
		{"no hash at all", func(c *account.Config) { c.HashesAtOnce = 0 }, "account.hashes_at_once"},
		{"negative line", func(c *account.Config) { c.HashesWaiting = -1 }, "account.hashes_waiting"},
		{"no failure allowed", func(c *account.Config) { c.FailuresPerMinute = 0 }, "account.failures_per_minute"},
		{"negative sign-ups", func(c *account.Config) { c.SignUpsPerMinute = -1 }, "account.sign_ups_per_minute"},
		{"negative changes", func(c *account.Config) { c.ProfileChangesPerHour = -1 }, "account.profile_changes_per_hour"},
		{"negative searches", func(c *account.Config) { c.SearchesPerMinute = -1 }, "account.searches_per_minute"},
		{"handles that change back in time", func(c *account.Config) { c.HandleEvery = -1 }, "account.handle_every"},
		{"handles kept for ever", func(c *account.Config) { c.HandleReserved = 1 << 62 }, "account.handle_reserved"},
		{"negative grace", func(c *account.Config) { c.DeleteGrace = -1 }, "account.delete_grace"},
		{"negative reservation", func(c *account.Config) { c.NameReserved = -1 }, "account.name_reserved"},
		{"copies all the time", func(c *account.Config) { c.ExportEvery = 0 }, "account.export_every"},
		{"an hour of leeway", func(c *account.Config) { c.ExternalLeeway = time.Hour }, "account.external_leeway"},
		{"no device at all", func(c *account.Config) { c.Devices[0].Most = 0 }, "account.devices[0].most"},
		{"tokens of a second", func(c *account.Config) { c.TokenIdle = time.Second }, "account.token_idle"},
		{"negative token life", func(c *account.Config) { c.TokenIdle = -time.Hour }, "account.token_idle"},
		{"no heartbeat", func(c *account.Config) { c.Heartbeat = 0 }, "account.heartbeat"},
		{"tiny bodies", func(c *account.Config) { c.MaxBody = 1 }, "account.max_body"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := account.New()
			test.change(p.Config().(*account.Config))
			_, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{p}})
			refused, ok := errors.AsType[*im.Error](err)
			if !ok || refused.Field != test.field {
				t.Errorf("got %v, want a refusal of %s", err, test.field)
			}
		})
	}
}

// TestMigrationsCutHalfWay runs them again as after a core that was killed before
// it could note their version, which MySQL has committed statement by statement.
func TestMigrationsCutHalfWay(t *testing.T) {
	dir := t.TempDir()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{account.Cheap()}, Dir: dir})
	alice := signUp(t, h, "alice")
	if _, err := h.DB().ExecContext(t.Context(), "DELETE FROM goose_account WHERE version_id > 0"); err != nil {
		t.Fatal(err)
	}
	again := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{account.Cheap()}, Dir: dir})
	if bob := signUp(t, again, "bob"); bob != alice+1 {
		t.Errorf("got user %d after %d: the counter began anew", bob, alice)
	}
}

// TestMigrationOfDevicesCutHalfWay is as after a core that was killed when the old table was
// gone and the new one had not its name.
func TestMigrationOfDevicesCutHalfWay(t *testing.T) {
	dir := t.TempDir()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{account.Cheap()}, Dir: dir})
	signUp(t, h, "alice")
	secret := token(t, h, "alice", "phone", idl.DeviceMobile)
	for _, query := range []string{
		"ALTER TABLE account_devices RENAME TO account_devices_new",
		"DELETE FROM goose_account WHERE version_id > 2",
	} {
		if _, err := h.DB().ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	again := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{account.Cheap()}, Dir: dir})
	if _, _, err := auth(again, secret); err != nil {
		t.Errorf("the token from before: %v", err)
	}
}

// codecs are both, for tests that run over each.
var codecs = []idl.Codec{idl.CodecJSON, idl.CodecProtobuf}

const password = "correct horse"

// start runs the plugin with cheap hashes.
func start(t *testing.T, changes ...func(*account.Config)) *plugintest.Host {
	t.Helper()
	return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{account.Cheap(changes...)}})
}

// signUp makes the account and gives its user ID.
func signUp(t *testing.T, h *plugintest.Host, name string) im.UserID {
	t.Helper()
	var rep accountpb.SignUpReply
	req := &accountpb.SignUpRequest{Account: name, Password: password}
	if err := h.Connect(idl.CodecJSON).Call(idl.ActionSignUp, req, &rep); err != nil {
		t.Fatalf("sign up %s: %v", name, err)
	}
	return im.UserID(rep.UserId)
}

// signIn signs a device in on a connection of its own.
func signIn(h *plugintest.Host, name, device string, kind idl.DeviceType) (*accountpb.SignInReply, error) {
	rep := &accountpb.SignInReply{}
	req := &accountpb.SignInRequest{Account: name, Password: password, Device: &accountpb.Device{Id: device, Type: kind, Name: device}}
	return rep, h.Connect(idl.CodecJSON).Call(idl.ActionSignIn, req, rep)
}

// token is signIn for one that must succeed.
func token(t *testing.T, h *plugintest.Host, name, device string, kind idl.DeviceType) string {
	t.Helper()
	rep, err := signIn(h, name, device, kind)
	if err != nil {
		t.Fatalf("sign %s in on %s: %v", name, device, err)
	}
	return rep.Token
}

// auth passes Auth on a new connection.
func auth(h *plugintest.Host, token string) (*plugintest.Session, *accountpb.AuthReply, error) {
	s, rep := h.Connect(idl.CodecProtobuf), &accountpb.AuthReply{}
	return s, rep, s.Call(idl.ActionAuth, &accountpb.AuthRequest{Token: token}, rep)
}

// online signs a device in and passes Auth.
func online(t *testing.T, h *plugintest.Host, name, device string, kind idl.DeviceType) *plugintest.Session {
	t.Helper()
	s, _, err := auth(h, token(t, h, name, device, kind))
	if err != nil {
		t.Fatalf("auth of %s on %s: %v", name, device, err)
	}
	return s
}

// wantRefusal fails unless err has the code and the field.
func wantRefusal(t *testing.T, err error, code idl.Code, field string) {
	t.Helper()
	refused, ok := errors.AsType[*im.Error](err)
	if !ok || refused.Code != code || refused.Field != field {
		t.Errorf("got %v, want code %v with field %q", err, code, field)
	}
}

// wantClosed fails unless the session was ended for the reason; 0: is live.
func wantClosed(t *testing.T, name string, s *plugintest.Session, reason idl.CloseReason) {
	t.Helper()
	closed := s.Closed()
	if reason == 0 && closed != nil {
		t.Errorf("session of %s is closed: %v %s", name, closed.Reason, closed.Message)
	}
	if reason != 0 && (closed == nil || closed.Reason != reason) {
		t.Errorf("session of %s: got %v, want it closed with %v", name, closed, reason)
	}
}

// count runs a query that gives one number.
func count(t *testing.T, h *plugintest.Host, query string, args ...any) (n int) {
	t.Helper()
	if err := h.DB().QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDirectoryKnowsWhoExists(t *testing.T) {
	h := start(t)
	alice := signUp(t, h, "alice")
	service, ok := h.Service("account.directory")
	if !ok {
		t.Fatal("service is not provided")
	}
	directory := service.(interface {
		Exists(ctx context.Context, u im.UserID) (bool, error)
		Nickname(ctx context.Context, u im.UserID) (string, bool, error)
		Made(ctx context.Context, u im.UserID) (time.Time, bool, error)
		MadeKnown(u im.UserID) (time.Time, bool)
		MadeOf(ctx context.Context, users []im.UserID) (map[im.UserID]time.Time, error)
		Absent(ctx context.Context, u im.UserID) (bool, error)
	})
	defer func() { // at once, whatever is remembered
		for _, row := range []struct {
			until   int64
			leaving int
			want    bool
		}{{h.Now().UnixMilli() + 1, 0, true}, {h.Now().UnixMilli(), 0, false}, {0, 1, true}, {0, 2, true}} {
			if _, err := h.DB().ExecContext(t.Context(), "DELETE FROM account_states"); err != nil {
				t.Fatal(err)
			}
			_, err := h.DB().ExecContext(t.Context(), "INSERT INTO account_states (user_id, disabled_until_ms, disabled_reason, leaving) VALUES (?, ?, '', ?)", int64(alice), row.until, row.leaving)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := directory.Absent(t.Context(), alice); got != row.want || err != nil {
				t.Errorf("absent with %+v: got %v, %v", row, got, err)
			}
		}
	}()
	if got, err := directory.Absent(t.Context(), alice); got || err != nil {
		t.Errorf("absent: got %v, %v", got, err)
	}
	for range 2 { // the second time from memory
		for u, want := range map[im.UserID]bool{alice: true, alice + 1: false, 0: false, -1: false} {
			if got, err := directory.Exists(t.Context(), u); err != nil || got != want {
				t.Errorf("Exists(%d): got %v, %v, want %v", u, got, err, want)
			}
			if name, got, err := directory.Nickname(t.Context(), u); err != nil || got != want || want != (name == "alice") {
				t.Errorf("Nickname(%d): got %q, %v, %v, want %v", u, name, got, err, want)
			}
			if at, got, err := directory.Made(t.Context(), u); err != nil || got != want || got && !at.Equal(h.Now()) {
				t.Errorf("Made(%d): got %v, %v, %v, want %v", u, at, got, err, want)
			}
			if all, err := directory.MadeOf(t.Context(), []im.UserID{u, 7}); err != nil || len(all) > 1 || all[u].Equal(h.Now()) != want {
				t.Errorf("MadeOf(%d): got %v, %v, want %v", u, all, err, want)
			}
			if at, got := directory.MadeKnown(u); got != want || got && !at.Equal(h.Now()) {
				t.Errorf("MadeKnown(%d): got %v, %v, want %v", u, at, got, want)
			}
		}
	}
	// Asked for most messages: from memory that takes no more of it.
	if n := testing.AllocsPerRun(100, func() { _, _ = directory.Exists(t.Context(), alice) }); n > 0 {
		t.Errorf("%v allocations to find somebody who is remembered", n)
	}
	bob := signUp(t, h, "bob")
	if got, err := directory.Exists(t.Context(), bob); err != nil || !got {
		t.Errorf("a new person: got %v, %v: a no must not be remembered", got, err)
	}
}

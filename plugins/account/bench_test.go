package account_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

// BenchmarkAuth measures a reconnect storm: so many people at once pass Auth, each
// on a new connection, all through the plugin, its dispatch and its stores.
func BenchmarkAuth(b *testing.B) {
	const people = 20_000
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			h, err := plugintest.Start(b, plugintest.Options{Plugins: []plugin.Plugin{account.Cheap()}})
			if err != nil {
				b.Fatal(err)
			}
			tokens := file(b, h, people)
			next := make(chan string, callers) // so that nobody meets a session of his own
			go func() {
				for i := range b.N {
					next <- tokens[i%people]
				}
				close(next)
			}()
			b.SetParallelism(max(1, callers/2)) // of each processor
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					s := h.Connect(idl.CodecProtobuf)
					if err := s.Call(idl.ActionAuth, &accountpb.AuthRequest{Token: <-next}, nil); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// file files people who are signed in, without hashing passwords, and gives their tokens.
func file(tb testing.TB, h *plugintest.Host, people int) (tokens []string) {
	tb.Helper()
	now := h.Now().UnixMilli()
	err := func() error {
		tx, err := h.DB().BeginTx(tb.Context(), nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		for i := range people {
			token := fmt.Sprintf("%043d", i)
			tokens = append(tokens, token)
			hash := sha256.Sum256([]byte(token))
			if _, err := tx.ExecContext(tb.Context(), "INSERT INTO account_users (id, name, nickname, password, sign_ins, created_ms) VALUES (?, ?, '', '!', 1, ?)",
				100_001+i, fmt.Sprint("person", i), now); err != nil {
				return err
			}
			if _, err := tx.ExecContext(tb.Context(), "INSERT INTO account_devices (user_id, sign_in, device_id, device_type, name, token_hash, signed_in_ms, last_seen_ms) "+
				"VALUES (?, 1, 'phone', 1, '', ?, ?, ?)", 100_001+i, hex.EncodeToString(hash[:]), now, now); err != nil {
				return err
			}
		}
		return tx.Commit()
	}()
	if err != nil {
		tb.Fatal(err)
	}
	return tokens
}

// BenchmarkAdmit measures what one page of sessions costs that an edge lists again, and
// what the same does one by one.
func BenchmarkAdmit(b *testing.B) {
	const people, page = 20_000, 512
	h, err := plugintest.Start(b, plugintest.Options{Plugins: []plugin.Plugin{account.Cheap()}})
	if err != nil {
		b.Fatal(err)
	}
	file(b, h, people)
	service, _ := h.Service("account.admission")
	admission := service.(interface {
		Admit(ctx context.Context, routes []presence.Route) []bool
	})
	for _, at := range []int{1, page} {
		b.Run(fmt.Sprint(at), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				routes := make([]presence.Route, page)
				for n := range routes {
					routes[n] = presence.Route{User: im.UserID(100_001 + (i*page+n)%people), Device: "phone", TokenID: 1}
				}
				for some := range slices.Chunk(routes, at) {
					if in := admission.Admit(b.Context(), some); slices.Contains(in, false) {
						b.Fatal("a session was not let in")
					}
				}
			}
		})
	}
}

// BenchmarkSearch measures pages of 20 out of 200,000 people: by their handles, accounts and
// nicknames, each of which begins as a hundred thousand others or as few.
func BenchmarkSearch(b *testing.B) {
	const people, rows = 200_000, 400
	h, err := plugintest.Start(b, plugintest.Options{Plugins: []plugin.Plugin{account.Cheap(func(c *account.Config) { c.SearchesPerMinute = 0 })}})
	if err != nil {
		b.Fatal(err)
	}
	for from := 0; from < people; from += rows {
		users, profiles := []any{}, []any{}
		for i := from; i < from+rows; i++ {
			id, found := 100_001+i, 7
			if i%10 == 0 {
				found = 0
			}
			users = append(users, id, fmt.Sprintf("account%06d", i), fmt.Sprintf("Nick %06d", i))
			profiles = append(profiles, id, fmt.Sprintf("handle%06d", i), fmt.Sprintf("nick %06d", i), found)
		}
		if _, err := h.DB().ExecContext(b.Context(), "INSERT INTO account_users (id, name, nickname, password, sign_ins, created_ms) VALUES "+
			values("(?,?,?,'!',0,0)", rows), users...); err != nil {
			b.Fatal(err)
		}
		if _, err := h.DB().ExecContext(b.Context(), "INSERT INTO account_profiles (user_id, handle, handle_changed_ms, nickname_key, avatar, gender, birthday, signature, city, language, found_by, hidden) VALUES "+
			values("(?,?,0,?,'',0,'','','','',?,0)", rows), profiles...); err != nil {
			b.Fatal(err)
		}
	}
	s := h.As(100_001, "phone", idl.CodecProtobuf)
	for _, query := range []string{"handle000777", "handle00077", "handle", "account", "nick", "nobody"} {
		b.Run(query, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Call(idl.ActionSearchUsers, &accountpb.SearchRequest{Query: query}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// values are n rows of an INSERT.
func values(row string, n int) string { return row + strings.Repeat(","+row, n-1) }

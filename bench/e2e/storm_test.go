package e2e_test

import (
	"context"
	"crypto/sha256"
	stdsql "database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/core/engines"
	"freeim/core/sql"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// TestReconnectStorm cuts all clients at once by killing both edges: they are back,
// authenticated and synced, and cost the database a few queries each (figure 12).
func TestReconnectStorm(t *testing.T) {
	beside(t)
	ctx, cancel := lasting(t)
	defer cancel()
	mariadb, redis := engines.MariaDB(t), engines.Redis(t)
	dsn, err := mariadb.CreateDatabase(ctx, "freeim")
	if err != nil {
		t.Fatal(err)
	}
	s := startSite(t, cluster.SiteOptions{Edges: 2, Cores: 2, MySQL: dsn, Redis: []string{redis.Addr()}})
	directory, err := sql.Open(sql.Options{Dialect: "mysql", DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer directory.Close()
	n := times(1500, 10_000)
	tokens := enrol(ctx, t, directory, n)
	var connected, ended atomic.Int64
	ways := s.ways()
	sessions := make([]*client.Session, n)
	for i, token := range tokens {
		o := ways[i%len(ways)]()
		o.Token, o.AnswerTimeout, o.ConnectTimeout = token, 0, 0 // as applications have them
		o.Handler = client.Handler{
			Connected: func(context.Context, *accountpb.AuthReply) { connected.Add(1) },
			Ended:     func(context.Context, error) { ended.Add(1) },
		}
		if sessions[i], err = client.Open(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		var all sync.WaitGroup
		for _, session := range sessions {
			all.Go(func() { session.Close() })
		}
		all.Wait()
	}()
	storm := func(what string, want int64) {
		start, asked := time.Now(), questions(ctx, t, directory)
		err := until(ctx, func() (bool, error) { return connected.Load() >= want, nil })
		if err != nil || ended.Load() > 0 {
			t.Fatalf("%d of %d clients are connected %v after %s, %d gave up: %v", connected.Load(), want, time.Since(start), what, ended.Load(), err)
		}
		took := time.Since(start)
		for _, session := range sessions { // answered after its sync, since answers come in order
			for err := errors.New("not asked yet"); err != nil; { // as clients do: again when that is advised
				if _, err = session.Devices(ctx); err != nil {
					if retryAfter(err) <= 0 {
						t.Fatal(err)
					}
					<-time.After(retryAfter(err))
				}
			}
		}
		each := float64(questions(ctx, t, directory)-asked)/float64(n) - 1 // the one of Devices
		t.Logf("%d clients connected %v after %s, with %.1f queries each", n, took.Round(time.Millisecond), what, each)
		if each > 5 {
			t.Errorf("a client cost %.1f queries, want 5 at most", each)
		}
		if full() && took > 30*time.Second {
			t.Errorf("it took %v, want 30 s at most", took)
		}
	}
	storm("the start", int64(n))
	for round := range times(1, 5) {
		before := connected.Load()
		for _, e := range s.Edges {
			if err := e.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range s.Edges {
			if err := e.Start(ctx); err != nil {
				t.Fatal(err)
			}
		}
		storm(fmt.Sprint("storm ", round+1), before+int64(n))
	}
	s.allRun()
}

// enrolled is the ID of the first account that enrol makes.
const enrolled = 1_000_000

// enrol writes n accounts with a signed-in phone each into the directory, and
// gives their tokens: signing up would take a minute of hashing a thousand.
func enrol(ctx context.Context, t *testing.T, d *sql.Directory, n int) (tokens []string) {
	t.Helper()
	for i := range n {
		tokens = append(tokens, fmt.Sprintf("storm-%040d", i))
	}
	const batch = 500
	now := time.Now().UnixMilli()
	for at := 0; at < n; at += batch {
		end := min(at+batch, n)
		var users, devices []any
		for i, token := range tokens[at:end] {
			id := enrolled + at + i
			hash := sha256.Sum256([]byte(token))
			users = append(users, id, fmt.Sprint("storm", id), "", "none", 1, now)
			devices = append(devices, id, 1, "phone", idl.DeviceMobile, "", hex.EncodeToString(hash[:]), now, now)
		}
		err := d.Tx(ctx, func(tx *stdsql.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO account_users (id, name, nickname, password, sign_ins, created_ms) VALUES "+rows(end-at, 6), users...)
			if err == nil {
				_, err = tx.ExecContext(ctx, "INSERT INTO account_devices (user_id, sign_in, device_id, device_type, name, token_hash, signed_in_ms, last_seen_ms) VALUES "+
					rows(end-at, 8), devices...)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return tokens
}

// rows are the placeholders of n rows.
func rows(n, columns int) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	return strings.TrimSuffix(strings.Repeat(row+",", n), ",")
}

// questions is how many statements MariaDB was asked so far.
func questions(ctx context.Context, t *testing.T, d *sql.Directory) (n int64) {
	t.Helper()
	var name string
	if err := d.DB().QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'Questions'").Scan(&name, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

package cluster_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"freeim/bench/cluster"
)

// echo is a server that sends everything back.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().String()
}

func proxied(t *testing.T) (*cluster.Proxy, func() *net.TCPConn) {
	p, err := cluster.NewProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, func() *net.TCPConn {
		conn, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(time.Minute))
		return conn.(*net.TCPConn)
	}
}

func there(t *testing.T, conn net.Conn, text string) time.Duration {
	t.Helper()
	start := time.Now()
	got := make([]byte, len(text))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v", got, err)
	}
	return time.Since(start)
}

func TestProxyPassesEverything(t *testing.T) {
	_, dial := proxied(t)
	conn := dial()
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		conn.Write(sent)
		conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d octets came back of %d: %v", len(got), len(sent), err)
	}
}

func TestProxyDelays(t *testing.T) {
	p, dial := proxied(t)
	conn := dial()
	there(t, conn, "quick")
	p.Set(cluster.Weather{Delay: 50 * time.Millisecond, Jitter: time.Millisecond})
	if took := there(t, conn, "slow"); took < 100*time.Millisecond {
		t.Errorf("there and back took %v, want 100 ms at least", took)
	}
	p.Set(cluster.Weather{Loss: 1})
	if took := there(t, conn, "lost"); took < 400*time.Millisecond {
		t.Errorf("there and back took %v, want two retransmissions", took)
	}
	p.Set(cluster.Weather{Rate: 10_000})
	if took := there(t, conn, string(make([]byte, 1000))); took < 200*time.Millisecond {
		t.Errorf("1,000 octets there and back at 10,000 a second took %v", took)
	}
}

func TestProxyKeepsWhatWasSentIntoTheDark(t *testing.T) {
	p, dial := proxied(t)
	conn := dial()
	there(t, conn, "before")
	p.Set(cluster.Weather{Black: true})
	io.WriteString(conn, "kept")
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	got := make([]byte, 4)
	if n, err := conn.Read(got); err == nil {
		t.Errorf("got %q in the dark", got[:n])
	}
	p.Set(cluster.Weather{})
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "kept" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestProxyCutsAndRefuses(t *testing.T) {
	p, dial := proxied(t)
	conn := dial()
	there(t, conn, "before")
	p.Set(cluster.Weather{Refuse: true})
	there(t, conn, "still there")
	p.Cut()
	if _, err := conn.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("got %v, want a reset", err)
	}
	if refused, err := net.Dial("tcp", p.Addr()); err == nil { // accepted, then reset
		if _, err := refused.Read(make([]byte, 1)); err == nil {
			t.Error("a new connection was let through")
		}
		refused.Close()
	}
	p.Set(cluster.Weather{})
	there(t, dial(), "again")
}

package gateway_test

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"freeim/edge/frame"
	"freeim/edge/gateway"
	"freeim/edge/room"
	"freeim/edge/session"
	"freeim/idl"
)

// readers read whatever comes to many sockets, on one goroutine, until they are closed.
type readers struct {
	poll int
	work sync.WaitGroup
}

func newReaders(b *testing.B, fds []int) *readers {
	poll, err := unix.EpollCreate1(0)
	if err != nil {
		b.Fatal(err)
	}
	r := &readers{poll: poll}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			b.Fatal(err)
		}
		if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			b.Fatal(err)
		}
	}
	r.work.Go(r.run)
	return r
}

func (r *readers) run() {
	events, buf := make([]unix.EpollEvent, 256), make([]byte, 256<<10)
	for open := true; open; {
		n, err := unix.EpollWait(r.poll, events, -1)
		if err == unix.EINTR {
			continue
		}
		for _, e := range events[:max(n, 0)] {
			if n, _ := unix.Read(int(e.Fd), buf); n == 0 {
				open = false // the first to end ends them all
			}
		}
	}
}

// members are sockets of sessions that are in one room.
func members(b *testing.B, e *edge, n int, open func(testing.TB, *edge) int, wrap func([]byte) []byte) (fds []int) {
	join := wrap(frame.Append(nil, frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionJoinRoom, Sequence: 2}))
	for range n {
		fd := open(b, e)
		b.Cleanup(func() { unix.Close(fd) })
		exchange(b, fd, join)
		fds = append(fds, fd)
	}
	return fds
}

// BenchmarkRoom is a room's fan-out over real sockets beside the same writes in a bare
// loop ("raw": as many messages joined in one write as the window has). The window is
// how many messages are under way. Processor time is of the whole process: of the
// clients' reading too, which is the same for both.
func BenchmarkRoom(b *testing.B) {
	const n = 1000
	body := bytes.Repeat([]byte("x"), 128)
	for _, row := range []struct {
		name string
		open func(testing.TB, *edge) int
		wrap func([]byte) []byte
	}{
		{"tcp", openTCP, func(p []byte) []byte { return p }},
		{"websocket", openWS, func(p []byte) []byte { return message(2, p) }},
	} {
		for _, window := range []int{1, 4, 32} {
			setup := func(b *testing.B) (*edge, []int) {
				e := newEdge(b, gateway.Options{}, session.Options{})
				return e, members(b, e, n, row.open, row.wrap)
			}
			measure := func(b *testing.B, fds []int, send func()) {
				r := newReaders(b, fds)
				began := processor()
				b.ResetTimer()
				send()
				b.StopTimer()
				deliveries := float64(b.N * n)
				b.ReportMetric(float64(processor()-began)/deliveries, "cpu-ns/delivery")
				b.ReportMetric(deliveries/b.Elapsed().Seconds(), "deliveries/s")
				unix.Shutdown(fds[0], unix.SHUT_RDWR)
				r.work.Wait()
				unix.Close(r.poll)
			}
			if row.name == "tcp" {
				b.Run(fmt.Sprintf("raw/window=%d", window), func(b *testing.B) {
					var fds, far []int
					for range n {
						pair, err := tcpPair(b)
						if err != nil {
							b.Fatal(err)
						}
						fds, far = append(fds, pair[0]), append(far, pair[1])
					}
					block := bytes.Repeat(frame.Append(nil, frame.Frame{Action: idl.ActionRoomMessage, Body: body}), window)
					measure(b, fds, func() {
						for i := 0; i < b.N; i += window {
							for _, fd := range far {
								for {
									if _, err := unix.Write(fd, block); err != unix.EAGAIN {
										break
									}
									runtime.Gosched()
								}
							}
						}
					})
				})
			}
			b.Run(fmt.Sprintf("%s/window=%d", row.name, window), func(b *testing.B) {
				e, fds := setup(b)
				tick := time.NewTicker(50 * time.Microsecond)
				defer tick.Stop()
				measure(b, fds, func() {
					for seq := int64(1); seq <= int64(b.N); seq++ {
						e.hub.Deliver(session.Delivery{Broadcasts: []room.Broadcast{{
							Room: "r_hall", Seq: seq, Action: idl.ActionRoomMessage, Protobuf: body, JSON: body}}})
						for seq-e.hub.Stats().Rooms.Delivered/n >= int64(window) {
							<-tick.C
						}
					}
					for e.hub.Stats().Rooms.Delivered < int64(b.N*n) {
						<-tick.C
					}
				})
				if s := e.hub.Stats().Rooms; s.Missed+s.Lost+s.Sampled > 0 {
					b.Errorf("not all was pushed: %+v", s)
				}
			})
		}
	}
}

// tcpPair is both ends of a connection over the loopback.
func tcpPair(b *testing.B) (pair [2]int, err error) {
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return pair, err
	}
	defer unix.Close(listener)
	if err := unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return pair, err
	}
	if err := unix.Listen(listener, 1); err != nil {
		return pair, err
	}
	at, err := unix.Getsockname(listener)
	if err != nil {
		return pair, err
	}
	if pair[0], err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
		return pair, err
	}
	b.Cleanup(func() { unix.Close(pair[0]) })
	if err := unix.Connect(pair[0], at); err != nil {
		return pair, err
	}
	if pair[1], _, err = unix.Accept(listener); err != nil {
		return pair, err
	}
	b.Cleanup(func() { unix.Close(pair[1]) })
	return pair, unix.SetNonblock(pair[1], true)
}

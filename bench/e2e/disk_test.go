package e2e_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/edge/client"
	"freeim/idl"
)

// disk is a small file system of its own, which can be filled.
type disk struct {
	t   *testing.T
	dir string
}

// mountDisk mounts a disk of so many MiB for the test, which is skipped where
// that is not allowed.
func mountDisk(t *testing.T, size string) *disk {
	t.Helper()
	d := &disk{t, filepath.Join(t.TempDir(), "data")}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=700,size="+size, "tmpfs", d.dir).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: a disk to be filled must be mounted, which is root's: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", d.dir).CombinedOutput(); err != nil {
			t.Errorf("unmount a disk: %v: %s", err, out)
		}
	})
	return d
}

// fill takes what is left, to the last octet, while others write too.
func (d *disk) fill() {
	d.t.Helper()
	f, err := os.Create(filepath.Join(d.dir, "ballast"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatal(err)
	}
}

// clear gives back what fill took.
func (d *disk) clear() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "ballast")); err != nil {
		d.t.Fatal(err)
	}
}

// TestFullDisk: nothing is acknowledged that is not on the disk, whoever sends is
// told to come back, and all goes on by itself when there is room (figure 20).
func TestFullDisk(t *testing.T) {
	t.Run("embedded", fullDiskEmbedded)
	t.Run("MariaDB", fullDiskMariaDB)
}

// refusals are how many sends to a full disk are refused before there is room: each takes as
// long as the store may take to try.
func refusals() int { return times(3, 20) }

func fullDiskEmbedded(t *testing.T) {
	beside(t)
	ctx, cancel := lasting(t)
	defer cancel()
	d := mountDisk(t, "160m")
	s := buildServer(t)
	s.env = append(s.env, "FREEIM_CORE_DATA="+d.dir)
	s.start()
	defer func() { s.kill() }()
	o := client.Options{Address: "tcp://" + s.tcp, Codec: idl.CodecProtobuf}
	people := gather(t, 2, func() client.Options { return o })
	defer people.leave()
	p := dialProbe(ctx, t, o, "prober")
	start, refused := time.Now(), 0
	people.talkWhile(ctx, func() {
		for range times(2, 20) {
			want := people.acked.Load() + 200
			if err := until(ctx, func() (bool, error) { return people.acked.Load() >= want, nil }); err != nil {
				t.Fatal(err)
			}
			d.fill()
			if _, err := signUp(ctx, o, "nobody"); client.CodeOf(err) != idl.CodeUnavailable || retryAfter(err) <= 0 {
				t.Errorf("sign up on a full disk: got %v, retry after %v; want UNAVAILABLE with advice", err, retryAfter(err))
			}
			before := people.acked.Load()
			for range refusals() {
				err := p.send(ctx)
				if client.CodeOf(err) != idl.CodeUnavailable || retryAfter(err) <= 0 {
					t.Fatalf("a send to a full disk: got %v, retry after %v; want UNAVAILABLE with advice", err, retryAfter(err))
				}
				refused++
			}
			if n := people.acked.Load() - before; n > 0 {
				t.Errorf("%d messages were acknowledged with a full disk", n)
			}
			d.clear()
			back := time.Now()
			if err := until(ctx, func() (bool, error) { return people.acked.Load() > before, nil }); err != nil {
				t.Fatalf("nothing is acknowledged with room again: %v", err)
			}
			t.Logf("acknowledged again %v after there was room", time.Since(back).Round(time.Millisecond))
		}
	})
	report := people.audit(ctx)
	if _, err := signUp(ctx, o, "somebody"); err != nil {
		t.Errorf("sign up with room again: %v", err)
	}
	t.Logf("%d sends refused, never later than %v after another; %v", refused, people.gap(start, time.Now()).Round(time.Millisecond), report)
}

// The disk of MariaDB is full: what still fits into its files is committed and
// acknowledged, what does not is refused. MariaDB itself may end of it, and is
// started again as what watches over it would.
func fullDiskMariaDB(t *testing.T) {
	beside(t)
	ctx, cancel := lasting(t)
	defer cancel()
	d := mountDisk(t, "320m")
	o := beginOn(ctx, t, engines.MariaDBWith(t, engines.MariaDBOptions{Dir: filepath.Dir(d.dir)}), false)
	p := o.probe("prober")
	o.suffer(t, func(o *ordeal) {
		stop := func() {}
		defer func() { stop() }()
		for range times(1, 20) {
			o.progress(100)
			stop()
			d.fill()
			answers := p.sendUntil(ctx, func() {
				o.do(p.await(ctx, int64(refusals())))
				d.clear()
				stop = o.watchMariaDB() // on a full disk it does not start, and takes its time to say so
				o.back("MariaDB's disk had room", 10*time.Second)
			})
			o.told("a full disk", answers)
			o.allRun()
		}
	})
}

// watchMariaDB starts MariaDB again whenever it has ended by itself, until stop
// returns: it may end long after its disk was full, in the rollback of a transaction.
func (o *ordeal) watchMariaDB() (stop func()) {
	ctx, cancel := context.WithCancel(o.ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		ended := 0
		for ctx.Err() == nil {
			if o.mariadb.PID() != 0 && !o.mariadb.Ended() { // which takes a moment
				continue
			}
			ended++
			if err := o.mariadb.Restart(ctx); err != nil && ctx.Err() == nil {
				o.t.Errorf("start MariaDB again: %v", err)
				return
			}
		}
		o.t.Logf("MariaDB ended by itself %d times", ended)
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

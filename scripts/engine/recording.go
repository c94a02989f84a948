package engine

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxRecord  = 1 << 20 // octets of one
	diskQueue  = 1024    // that wait to be written; the newest is left out
	diskFile   = 16 << 20
	diskFiles  = 4
	flushEvery = time.Second
)

// WriteRecording writes records as ReadRecording reads them: each is JSON, after
// its length as a varint.
func WriteRecording(w io.Writer, all []*Recorded) error {
	for _, one := range all {
		if err := writeRecord(w, one); err != nil {
			return err
		}
	}
	return nil
}

func writeRecord(w io.Writer, one *Recorded) error {
	data, err := json.Marshal(one)
	if err != nil {
		return fmt.Errorf("encode a record: %w", err)
	}
	if len(data) > maxRecord {
		return fmt.Errorf("a record of %d octets: at most %d", len(data), maxRecord)
	}
	_, err = w.Write(append(binary.AppendUvarint(nil, uint64(len(data))), data...))
	return err
}

// ReadRecording reads what was recorded. With an error it also gives what came
// before it: a file that is being written, or was when the power failed, ends with
// half a record.
func ReadRecording(r io.Reader) (all []*Recorded, err error) {
	in := bufio.NewReader(r)
	for {
		n, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err == nil && n > maxRecord {
			err = fmt.Errorf("%d octets: at most %d", n, maxRecord)
		}
		var data []byte
		if err == nil {
			data = make([]byte, n)
			_, err = io.ReadFull(in, data)
		}
		one := new(Recorded)
		if err == nil {
			err = json.Unmarshal(data, one)
		}
		if err != nil {
			return all, fmt.Errorf("record %d: %w", len(all)+1, err)
		}
		all = append(all, one)
	}
}

// disk writes records to files, one goroutine for all.
type disk struct {
	dir   string
	log   *slog.Logger
	queue chan *Recorded
	stop  chan struct{}
	done  sync.WaitGroup
	left  atomic.Int64 // records left out since the queue was full, or not written

	// Owned by the goroutine.
	file   *os.File // nil: none is open
	out    *bufio.Writer
	size   int64
	failed bool // it was logged
}

func newDisk(dir string, log *slog.Logger) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("scripts: record: %w", err)
	}
	d := &disk{dir: dir, log: log, queue: make(chan *Recorded, diskQueue), stop: make(chan struct{})}
	d.done.Go(d.run)
	return d, nil
}

func (d *disk) offer(one *Recorded) {
	select {
	case d.queue <- one:
	default:
		d.left.Add(1)
	}
}

// close writes what waits.
func (d *disk) close() {
	close(d.stop)
	d.done.Wait()
}

func (d *disk) run() {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case one := <-d.queue:
			d.try(d.write(one))
		case <-ticker.C:
			d.try(d.flush())
		case <-d.stop:
			for len(d.queue) > 0 {
				d.try(d.write(<-d.queue))
			}
			d.try(errors.Join(d.flush(), d.end()))
			return
		}
	}
}

// try logs the first of several failures.
func (d *disk) try(err error) {
	if err == nil {
		return
	}
	d.left.Add(1)
	if !d.failed {
		d.log.Warn("what hooks are asked cannot be recorded", "dir", d.dir, "err", err)
		d.failed = true
	}
}

func (d *disk) write(one *Recorded) error {
	if d.file == nil || d.size >= diskFile {
		if err := errors.Join(d.flush(), d.end(), d.begin()); err != nil {
			return err
		}
	}
	before := d.out.Buffered()
	err := writeRecord(d.out, one)
	d.size += int64(max(d.out.Buffered()-before, 512))
	return err
}

func (d *disk) flush() error {
	if d.file == nil {
		return nil
	}
	err := d.out.Flush()
	if info, statErr := d.file.Stat(); statErr == nil {
		d.size = info.Size()
	}
	if err != nil {
		return errors.Join(err, d.end()) // the rest goes into another file
	}
	d.failed = false
	return nil
}

func (d *disk) end() error {
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file, d.out = nil, nil
	return err
}

// begin opens a new file, and removes the oldest when there are too many.
func (d *disk) begin() error {
	name := filepath.Join(d.dir, fmt.Sprintf("%020d.rec", time.Now().UnixNano()))
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	d.file, d.out, d.size = file, bufio.NewWriterSize(file, 64<<10), 0
	old, err := filepath.Glob(filepath.Join(d.dir, "*.rec"))
	slices.Sort(old)
	for len(old) > diskFiles {
		err = errors.Join(err, os.Remove(old[0]))
		old = old[1:]
	}
	return err
}

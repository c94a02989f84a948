package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Fleet is the worker processes of a measurement, as their parent sees them. Its
// methods but Progress are called by one goroutine. Everything ends with Close, or
// with the parent.
type Fleet struct {
	workers []*worker
}

// worker is one process.
type worker struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	said  chan event // answers; closed by the reader when the process says no more
	errs  strings.Builder
	tasks sync.WaitGroup

	mu       sync.Mutex // guards progress
	progress Progress
}

// StartFleet starts so many processes of program, which calls Work when it is
// started with these arguments.
func StartFleet(workers int, program string, args ...string) (_ *Fleet, err error) {
	f := &Fleet{}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	for range workers {
		w := &worker{cmd: exec.Command(program, args...), said: make(chan event, 4)}
		w.cmd.Stderr = &w.errs
		w.cmd.Env = append(os.Environ(), "GOMAXPROCS=2") // the loop, and the collector beside it
		w.cmd.SysProcAttr = childAttributes()
		if w.in, err = w.cmd.StdinPipe(); err != nil {
			return nil, err
		}
		out, err := w.cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := w.cmd.Start(); err != nil {
			return nil, fmt.Errorf("start a load worker: %w", err)
		}
		f.workers = append(f.workers, w)
		w.tasks.Go(func() { w.listen(out) })
	}
	return f, nil
}

// listen takes what the worker says.
func (w *worker) listen(out io.Reader) {
	defer close(w.said)
	lines := json.NewDecoder(bufio.NewReaderSize(out, 1<<16))
	for {
		var e event
		if lines.Decode(&e) != nil {
			return
		}
		if e.Progress != nil {
			w.mu.Lock()
			w.progress = *e.Progress
			w.mu.Unlock()
		}
		if e.Is != isProgress {
			w.said <- e // a worker says no more than it was asked, and one failure
		}
	}
}

// PIDs are the processes.
func (f *Fleet) PIDs() (all []int) {
	for _, w := range f.workers {
		all = append(all, w.cmd.Process.Pid)
	}
	return all
}

// Progress is where all workers stand together. It is safe for concurrent use.
func (f *Fleet) Progress() (p Progress) {
	for _, w := range f.workers {
		w.mu.Lock()
		p.add(w.progress)
		w.mu.Unlock()
	}
	return p
}

// slack is what an answer may take beyond the worker's own limit.
const slack = 20 * time.Second

// ask gives every worker its command and collects the answers.
func (f *Fleet) ask(ctx context.Context, limit time.Duration, make func(worker int) command) ([]event, error) {
	return f.askInTurn(ctx, limit, len(f.workers), make)
}

// askInTurn is ask with so many workers at a time: when one has answered, the next is
// told.
func (f *Fleet) askInTurn(ctx context.Context, limit time.Duration, atOnce int, make func(worker int) command) ([]event, error) {
	ctx, cancel := context.WithTimeout(ctx, limit+slack)
	defer cancel()
	var answers []event
	for i := range len(f.workers) + atOnce {
		if heard := i - atOnce; heard >= 0 {
			e, err := f.workers[heard].answer(ctx, make(heard).Do)
			if err != nil {
				return nil, fmt.Errorf("load worker %d %w", heard, err)
			}
			answers = append(answers, e)
		}
		if i < len(f.workers) {
			c := make(i)
			c.Limit = limit
			if err := f.workers[i].tell(c); err != nil {
				return nil, fmt.Errorf("tell load worker %d to %s: %w", i, c.Do, err)
			}
		}
	}
	return answers, nil
}

func (w *worker) tell(c command) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if _, err := w.in.Write(append(line, '\n')); err != nil {
		return errors.Join(err, w.failure())
	}
	return nil
}

// answer is what the worker says to a command.
func (w *worker) answer(ctx context.Context, do string) (event, error) {
	select {
	case e, open := <-w.said:
		if !open || e.Is != do {
			return e, fmt.Errorf("did not %s: %s%s", do, e.Failure, w.lastWords(open))
		}
		return e, nil
	case <-ctx.Done():
		return event{}, fmt.Errorf("does not %s: %w", do, ctx.Err())
	}
}

// failure is what the worker said last, if it failed.
func (w *worker) failure() error {
	if e, open := <-w.said; open && e.Failure != "" {
		return errors.New(e.Failure)
	}
	return nil
}

// lastWords is what a process that has ended wrote to its standard error.
func (w *worker) lastWords(open bool) string {
	if open {
		return ""
	}
	_ = w.cmd.Wait()
	return w.errs.String()
}

// Connect gives each worker its plan and waits until every session is ready. So many
// workers connect at once, one after the other; 0: all.
func (f *Fleet) Connect(ctx context.Context, plans []Plan, atOnce int, limit time.Duration) (*Connects, error) {
	if len(plans) != len(f.workers) {
		return nil, fmt.Errorf("%d plans for %d workers", len(plans), len(f.workers))
	}
	if atOnce == 0 {
		atOnce = len(plans)
	}
	answers, err := f.askInTurn(ctx, limit, atOnce, func(i int) command { return command{Do: doPlan, Plan: &plans[i]} })
	return connects(answers), err
}

// Ready waits until every session is ready again.
func (f *Fleet) Ready(ctx context.Context, limit time.Duration) (*Connects, error) {
	answers, err := f.ask(ctx, limit, func(int) command { return command{Do: doReady} })
	return connects(answers), err
}

func connects(answers []event) *Connects {
	all := &Connects{}
	for _, e := range answers {
		if e.Connects != nil {
			all.add(e.Connects)
		}
	}
	return all
}

// Start begins to send; groups that paces names keep to it, instead of to their plan.
func (f *Fleet) Start(ctx context.Context, paces map[string]Pace) error {
	_, err := f.ask(ctx, time.Minute, func(int) command { return command{Do: doStart, Paces: paces} })
	return err
}

// Mark begins to count anew, connects too.
func (f *Fleet) Mark(ctx context.Context) error { return f.tell(ctx, doMark) }

// Break cuts every connection.
func (f *Fleet) Break(ctx context.Context) error { return f.tell(ctx, doBreak) }

func (f *Fleet) tell(ctx context.Context, do string) error {
	_, err := f.ask(ctx, time.Minute, func(int) command { return command{Do: do} })
	return err
}

// Cut gives what was counted since the mark, by group.
func (f *Fleet) Cut(ctx context.Context) ([]Result, error) {
	answers, err := f.ask(ctx, time.Minute, func(int) command { return command{Do: doCut} })
	return sum(answers), err
}

// Finish stops sending, waits for answers and then for deliveries, each as long as
// limit, and gives what all sessions have found since they connected, by group.
func (f *Fleet) Finish(ctx context.Context, limit time.Duration) ([]Result, error) {
	answers, err := f.ask(ctx, limit, func(int) command { return command{Do: doHold} })
	if err != nil {
		return nil, err
	}
	heads := map[string]int64{}
	for _, e := range answers {
		for room, head := range e.Heads {
			heads[room] = max(heads[room], head)
		}
	}
	answers, err = f.ask(ctx, limit, func(int) command { return command{Do: doDrain, Heads: heads} })
	return sum(answers), err
}

// sum adds the results of groups of one name.
func sum(answers []event) (all []Result) {
	places := map[string]int{}
	for i := range answers {
		for j := range answers[i].Results {
			r := &answers[i].Results[j]
			at, known := places[r.Name]
			if !known {
				at = len(all)
				places[r.Name] = at
				all = append(all, Result{})
			}
			all[at].add(r)
		}
	}
	return all
}

// Close ends the workers, and with them all connections.
func (f *Fleet) Close() {
	for _, w := range f.workers {
		_ = w.in.Close() // it ends then
	}
	for _, w := range f.workers {
		kill := time.AfterFunc(slack, func() { _ = w.cmd.Process.Kill() })
		for range w.said {
		}
		w.tasks.Wait()
		_ = w.cmd.Wait() // how it ended does not matter any more
		kill.Stop()
	}
}

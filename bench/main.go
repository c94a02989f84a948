// Command bench runs whole installations on one machine and, later, measures
// them: go run ./bench lists what it can do. It is for people and the Makefile;
// nothing imports it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// command is one thing that bench does.
type command struct {
	name string
	says string
	run  func(ctx context.Context, args []string, out io.Writer) error
}

func commands() []command {
	return []command{
		{"cluster", "edges and cores as processes over MariaDB, a Redis Cluster and etcd, until Ctrl-C", runCluster},
		{"run", "one scenario: connections, messages, rooms, faults; bench run lists them", runScenario},
		{"tour", "all of them at a small size, in five minutes", runTour},
		{"targets", "what the table of targets in bench/README.md speaks of, at its size; half an hour and more", runTargets},
		{"idle", "a million idle sessions, if asked: how many are held, and what they cost", runIdle},
		{"load-worker", "a process of the load; the others start it", runLoadWorker},
		{"cores", "what a message costs each process, with one core and with two", runCores},
		{"report", "the pages of a run, made again from its results", runReport},
		{"compare", "two runs, or two targets of one: better, worse, or no difference seen", runCompare},
		{"table", "the table of targets, with what a run measured", runTable},
		{"limit-server", "the baseline: a server of rooms on raw epoll that does nothing else", runLimitServer},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		for _, c := range commands() {
			if c.name == args[0] {
				return c.run(ctx, args[1:], out)
			}
		}
		fmt.Fprintf(out, "bench does not know %q\n", args[0])
	}
	fmt.Fprintln(out, "usage: go run ./bench COMMAND [-h]")
	for _, c := range commands() {
		fmt.Fprintf(out, "  %-12s %s\n", c.name, c.says)
	}
	if len(args) > 0 {
		return fmt.Errorf("no command %q", args[0])
	}
	return nil
}

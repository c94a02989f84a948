package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"freeim/bench/limit"
)

// runLimitServer serves until ctx ends. Its first line says where, for the process
// that started it.
func runLimitServer(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench limit-server", flag.ContinueOnError)
	flags.SetOutput(out)
	listen := flags.String("listen", "127.0.0.1:0", "IPv4 `address` and port for clients, over TCP; port 0: any")
	mode := flags.String("mode", string(limit.Single), "single: one write for each delivery; joined: one for each member and pass")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	s, err := limit.Listen(limit.Options{Addr: *listen, Mode: limit.Mode(*mode)})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "listening on %s\n", s.Addr())
	counts, err := s.Run(ctx)
	fmt.Fprintln(out, counts)
	return err
}

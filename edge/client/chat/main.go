// Command chat is a chat in a terminal, and the example of how an application
// uses the Go SDK. It signs in, sends the lines that it reads and prints what
// comes. With piped input it exits when the last line is committed, so that
// scripts can send. It keeps no messages.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"freeim/edge/client"
	"freeim/idl"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // a line was refused or not confirmed, or the session ended
	exitUsage  = 2
)

// readyTime bounds the first connection: a script must not hang on a wrong address.
const readyTime = 20 * time.Second

// run is the whole program: messages and their states go to out, all else to errs.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	c, err := parse(args, errs)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(errs, "chat:", err)
		return exitUsage
	}
	if err := talk(ctx, c, in, &screen{out: out, errs: errs}); err != nil {
		fmt.Fprintln(errs, "chat:", plain(err))
		return exitFailed
	}
	return exitOK
}

// config is what the flags say.
type config struct {
	address, account, password string
	signUp                     bool
	to                         string
	codec                      idl.Codec
	text                       bool
	device                     string
	state                      string // file of the cursor; the token is kept beside it
	tls                        *tls.Config
}

const usage = `chat: a chat in the terminal

  chat -account alice -password secret -signup     make an account and sign in
  chat -account alice -password secret -to bob     chat with bob
  echo hi | chat -account alice -password … -to bob    send from a script
  chat -addr tls://im.example:7443 -ca ca.pem …        a server whose authority is not the system's

Lines are sent to the person of -to or /to; /help lists the commands.
The password may also be in the environment as CHAT_PASSWORD.

`

func parse(args []string, errs io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("chat", flag.ContinueOnError)
	f.SetOutput(io.Discard) // run shows the error
	f.StringVar(&c.address, "addr", "tcp://127.0.0.1:7070", "server: tcp://host:port or ws://host:port/ws; tls:// and wss:// under TLS")
	f.StringVar(&c.account, "account", "", "account name")
	f.StringVar(&c.password, "password", "", "password")
	f.BoolVar(&c.signUp, "signup", false, "make the account first")
	f.StringVar(&c.to, "to", "", "account name or user ID of the person to write to")
	codec := f.String("codec", "", "json or protobuf (the default, but with -text)")
	f.BoolVar(&c.text, "text", false, "readable WebSocket text frames (needs ws:// and json)")
	f.StringVar(&c.device, "device", "terminal", "name of this device; stable for an installation")
	f.StringVar(&c.state, "state", "", "file that keeps the place in the inbox, so that old messages are not shown again; the token is kept in FILE.token")
	ca := f.String("ca", "", "PEM file of the authorities that vouch for a tls:// or wss:// server, instead of the system's")
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(errs, usage)
		f.SetOutput(errs)
		f.PrintDefaults()
	}
	if err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("argument %q is not known; messages are read from the input", f.Arg(0))
	}
	if c.account == "" {
		return c, errors.New("-account is needed (chat -h shows how)")
	}
	if c.password == "" {
		c.password = os.Getenv("CHAT_PASSWORD")
	}
	if err := c.setCodec(*codec); err != nil {
		return c, err
	}
	return c, c.setCA(*ca)
}

// setCA has servers believed that an authority of the file vouches for, and no
// others. It refuses an address that would not look at the file.
func (c *config) setCA(path string) error {
	if path == "" {
		return nil
	}
	if !strings.HasPrefix(c.address, "tls://") && !strings.HasPrefix(c.address, "wss://") {
		return fmt.Errorf("-ca is for tls:// and wss://, and -addr is %s", c.address)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("-ca: %s holds no certificate", path)
	}
	c.tls = &tls.Config{RootCAs: pool}
	return nil
}

func (c *config) setCodec(name string) error {
	switch {
	case name == "json", name == "" && c.text:
		c.codec = idl.CodecJSON
	case name == "protobuf", name == "":
		c.codec = idl.CodecProtobuf
	default:
		return fmt.Errorf("-codec %q is not known, want json or protobuf", name)
	}
	return nil
}

func (c *config) options() client.Options {
	return client.Options{Address: c.address, Codec: c.codec, Text: c.text, TLS: c.tls}
}

// plain is err for a person who did not write the program.
func plain(err error) string {
	q, quit := errors.AsType[*client.Quit](err)
	if quit {
		return "the server ended the session: " + reason(q)
	}
	switch client.CodeOf(err) {
	case idl.CodeBadCredentials:
		return "account name or password is wrong"
	case idl.CodeAlreadyExists:
		return "the account name is taken; leave out -signup to sign in"
	case idl.CodeUnauthenticated:
		return "the sign-in is not valid any more; give -password to sign in again"
	}
	if r, ok := errors.AsType[*client.Refusal](err); ok && r.Code == idl.CodeRejected && r.Message != "" {
		return safe(r.Message) // a rule's own words
	}
	return safe(err.Error())
}

func reason(q *client.Quit) string {
	switch q.Reason {
	case idl.CloseKicked:
		return "you signed in on another device of this kind"
	case idl.CloseReplaced:
		return "this device connected a second time"
	case idl.CloseSignedOut:
		return "signed out"
	}
	return safe(q.Error())
}

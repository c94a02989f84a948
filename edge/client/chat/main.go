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
	exitFailed = 1 // a message was refused or not confirmed, a command to turn to somebody failed, or the session ended
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
	kind                       idl.DeviceType
	state                      string // file of the cursor; the token is kept beside it
	tls                        *tls.Config
}

const usage = `chat: a chat in the terminal

  chat -account alice -password secret -signup     make an account and sign in
  chat -account alice -password secret -to bob     chat with bob
  echo hi | chat -account alice -password … -to bob    send from a script
  chat -account alice … -type tablet               alice's second terminal, beside the first
  chat -addr tls://im.example:7443 -ca ca.pem …        a server whose authority is not the system's

Lines are sent to the person of -to or /to; /help lists the commands.
The password may also be in the environment as CHAT_PASSWORD.
A person is signed in on one device of each type: a second terminal with the same
-type signs the first out.

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
	kind := f.String("type", "desktop", "type of this device: desktop, tablet, mobile or web; a person is signed in on one of each")
	f.StringVar(&c.device, "device", "", "ID of this device; stable for an installation (default terminal, with another -type than desktop terminal-TYPE)")
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
	if err := c.setDevice(*kind); err != nil {
		return c, err
	}
	return c, c.setCA(*ca)
}

// setDevice gives each type an ID of its own, so that terminals of two types are
// two devices.
func (c *config) setDevice(kind string) error {
	if c.kind = idl.DeviceTypeNamed(kind); idl.DeviceTypeName(c.kind) != kind || c.kind == 0 {
		return fmt.Errorf("-type %q is not known, want desktop, tablet, mobile or web", kind)
	}
	if c.device == "" {
		c.device = "terminal"
		if kind != "desktop" {
			c.device += "-" + kind
		}
	}
	return nil
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

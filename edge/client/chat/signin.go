package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// open gives a session that has passed Auth: by the token that was kept, else
// by the password.
func open(ctx context.Context, c config, h client.Handler) (*client.Session, error) {
	token, err := c.keptToken()
	if err != nil {
		return nil, err
	}
	if token != "" && !c.signUp {
		s, err := c.start(ctx, token, h)
		if client.CodeOf(err) != idl.CodeUnauthenticated || c.password == "" {
			return s, err
		}
	}
	if token, err = c.signIn(ctx); err != nil {
		return nil, err
	}
	return c.start(ctx, token, h)
}

// start opens the session and waits until it is connected.
func (c *config) start(ctx context.Context, token string, h client.Handler) (*client.Session, error) {
	o := c.options()
	o.Token, o.Handler = token, h
	if c.state != "" {
		o.Store = client.FileStore{Path: c.state}
	}
	s, err := client.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if err := s.Ready(wait); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// signIn trades the password for a token and keeps that, if there is a state file.
func (c *config) signIn(ctx context.Context) (token string, err error) {
	if c.password == "" {
		return "", errors.New("-password is needed to sign in (or CHAT_PASSWORD in the environment)")
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	conn, err := client.Dial(ctx, c.options())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if c.signUp {
		if _, err := conn.SignUp(ctx, c.account, c.password, ""); err != nil {
			return "", err
		}
	}
	device := &accountpb.Device{Id: c.device, Type: c.kind, Name: c.device}
	in, err := conn.SignIn(ctx, c.account, c.password, device)
	if err != nil {
		return "", err
	}
	return in.Token, c.keepToken(in.Token)
}

func (c *config) tokenFile() string { return c.state + ".token" }

// keptToken is the token of this account and device in the state file, if any.
func (c *config) keptToken() (string, error) {
	if c.state == "" {
		return "", nil
	}
	b, err := os.ReadFile(c.tokenFile())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	token, ok := strings.CutPrefix(string(b), c.owner())
	if !ok {
		return "", nil // of another account or device
	}
	return strings.TrimSpace(token), nil
}

func (c *config) keepToken(token string) error {
	if c.state == "" {
		return nil
	}
	return os.WriteFile(c.tokenFile(), []byte(c.owner()+token+"\n"), 0o600)
}

// dropToken forgets the token after a sign-out.
func (c *config) dropToken() error {
	if c.state == "" {
		return nil
	}
	return os.Remove(c.tokenFile())
}

// owner is what the token file says of whom the token is.
func (c *config) owner() string { return fmt.Sprintf("%s %s %s\n", c.address, c.account, c.device) }

package webhook

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"time"

	"freeim/core/im"
)

// Endpoint is a program that is told.
type Endpoint struct {
	// Name is what its position is kept under: one that is renamed begins anew.
	Name string `yaml:"name"`
	URL  string `yaml:"url"`
	// SecretFiles hold what deliveries are signed with, a line of 16 octets or more each: one, or
	// the new and the old one while the receiver learns the new.
	SecretFiles []string `yaml:"secret_files"`
	// Events are names, families ("group.*"), or "*".
	Events []string `yaml:"events"`
	// Push has it be told of offline pushes, and of nothing else: then there are no Events.
	Push *Push `yaml:"push"`
	// Private lets the host be one of a private network or this machine, and the URL be http.
	Private bool `yaml:"private"`
	// StopOn are HTTP statuses that stop deliveries until an operator says otherwise. None:
	// 410.
	StopOn []int `yaml:"stop_on"`
	// Timeout is as in Config. 0: that one.
	Timeout time.Duration `yaml:"timeout"`
}

const (
	mostPatterns = 100
	leastSecret  = 16 // octets
	mostSecret   = 1024
)

func validEndpoints(all []Endpoint, known catalogue) error {
	names := map[string]bool{}
	for i, e := range all {
		if err := e.validate(fmt.Sprintf("webhook.endpoints[%d]", i), known); err != nil {
			return err
		}
		if names[e.Name] {
			return im.Invalid("webhook.endpoints", "two are named %s", e.Name)
		}
		names[e.Name] = true
	}
	return nil
}

func (e *Endpoint) validate(key string, known catalogue) error {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`).MatchString(e.Name) {
		return im.Invalid(key+".name", "must be 1-64 of a-z 0-9 _ -")
	}
	if err := e.validURL(key); err != nil {
		return err
	}
	if n := len(e.SecretFiles); n < 1 || n > 2 {
		return im.Invalid(key+".secret_files", "must be one file, or two while the secret changes")
	}
	if e.Push != nil {
		if len(e.Events) > 0 {
			return im.Invalid(key+".events", "must be empty: it is told of offline pushes")
		}
		if err := e.Push.validate(key + ".push"); err != nil {
			return err
		}
	} else if n := len(e.Events); n < 1 || n > mostPatterns {
		return im.Invalid(key+".events", "must be 1-%d names, families (\"group.*\") or \"*\"", mostPatterns)
	}
	for _, pattern := range e.Events {
		if err := known.check(pattern); err != nil {
			return im.Invalid(key+".events", "%v", err)
		}
	}
	for _, status := range e.StopOn {
		if status < 300 || status > 599 {
			return im.Invalid(key+".stop_on", "%d is no status of a failure", status)
		}
	}
	if e.Timeout != 0 && (e.Timeout < 100*time.Millisecond || e.Timeout > time.Minute) {
		return im.Invalid(key+".timeout", "must be 100ms-1m, or 0 for webhook.timeout")
	}
	return nil
}

// validURL never repeats what may be a password.
func (e *Endpoint) validURL(key string) error {
	u, err := url.Parse(e.URL)
	switch {
	case err != nil || u.Host == "" || u.Fragment != "" || u.Opaque != "":
		return im.Invalid(key+".url", "must be https://HOST/PATH")
	case u.User != nil:
		return im.Invalid(key+".url", "must not hold a user or a password: deliveries are signed")
	case u.Scheme == "http" && !e.Private:
		return im.Invalid(key+".url", "must be https, or private must be true")
	case u.Scheme != "http" && u.Scheme != "https":
		return im.Invalid(key+".url", "must be https")
	}
	return nil
}

// secrets reads the files.
func (e *Endpoint) secrets() (all [][]byte, err error) {
	for _, name := range e.SecretFiles {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("webhook %s: the secret: %w", e.Name, err)
		}
		secret := bytes.TrimRight(text, "\r\n")
		if n := len(secret); n < leastSecret || n > mostSecret {
			return nil, fmt.Errorf("webhook %s: the secret in %s has %d octets, must have %d-%d", e.Name, name, n, leastSecret, mostSecret)
		}
		all = append(all, secret)
	}
	return all, nil
}

func (e *Endpoint) stopsOn(status int) bool {
	if len(e.StopOn) == 0 {
		return status == 410
	}
	return slices.Contains(e.StopOn, status)
}

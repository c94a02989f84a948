package server

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"freeim/core/hooks"
)

// Endpoint is one of core.rules.http: where scripts may post to.
type Endpoint struct {
	// URL is what is posted to, http or https. When it is a secret, URLFile names the
	// file that it is in instead.
	URL     string `yaml:"url"`
	URLFile string `yaml:"url_file"`
	// Timeout is of one try, its answer included. 0: 5 s.
	Timeout time.Duration `yaml:"timeout"`
	// Headers go with every post; of HeaderFiles and HeaderEnv each value is in the
	// file, or the variable of the environment, that is named.
	Headers     map[string]string `yaml:"headers"`
	HeaderFiles map[string]string `yaml:"header_files"`
	HeaderEnv   map[string]string `yaml:"header_env"`
	// Idempotent says that the endpoint takes what comes twice under one Idempotency-Key
	// for one: then a post is tried again also if it may have arrived.
	Idempotent bool `yaml:"idempotent"`
}

// maxEndpoints bounds core.rules.http: each has a queue and workers of its own.
const maxEndpoints = 16

var (
	endpointName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)
	headerName   = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
)

func (r *Rules) endpointNames() []string {
	return slices.AppendSeq([]string{}, maps.Keys(r.HTTP))
}

// validateEndpoints checks what does not need the files.
func (r *Rules) validateEndpoints() error {
	if len(r.HTTP) > maxEndpoints {
		return fmt.Errorf("core.rules.http names %d endpoints: %d at most", len(r.HTTP), maxEndpoints)
	}
	for name, e := range r.HTTP {
		at := "core.rules.http." + name
		switch {
		case !endpointName.MatchString(name):
			return fmt.Errorf("%s: an endpoint is named by a-z, 0-9, \".\", \"_\" and \"-\", a letter first", at)
		case (e.URL == "") == (e.URLFile == ""):
			return fmt.Errorf("%s: give url or url_file", at)
		case e.Timeout < 0 || e.Timeout > time.Minute:
			return fmt.Errorf("%s.timeout is %v: 1m at most", at, e.Timeout)
		}
		seen := map[string]bool{}
		for _, headers := range []map[string]string{e.Headers, e.HeaderFiles, e.HeaderEnv} {
			for header := range headers {
				key := http.CanonicalHeaderKey(header)
				if !headerName.MatchString(header) || seen[key] || slices.Contains([]string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Idempotency-Key"}, key) {
					return fmt.Errorf("%s: the header %q is given twice, or is none that can be set", at, header)
				}
				seen[key] = true
			}
		}
	}
	return nil
}

// endpoints reads the secrets. No error shows one.
func (r *Rules) endpoints() (map[string]hooks.Endpoint, error) {
	all := map[string]hooks.Endpoint{}
	for name, e := range r.HTTP {
		to, err := e.read()
		if err != nil {
			return nil, fmt.Errorf("core.rules.http.%s: %w", name, err)
		}
		all[name] = to
	}
	return all, nil
}

func (e *Endpoint) read() (to hooks.Endpoint, err error) {
	to = hooks.Endpoint{URL: e.URL, Header: http.Header{}, Timeout: e.Timeout, Idempotent: e.Idempotent}
	if e.URLFile != "" {
		if to.URL, err = secret(e.URLFile); err != nil {
			return to, err
		}
	}
	if u, err := url.Parse(to.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return to, fmt.Errorf("the URL is none of http:// or https://")
	}
	for name, value := range e.Headers {
		to.Header.Set(name, value)
	}
	for name, path := range e.HeaderFiles {
		value, err := secret(path)
		if err != nil {
			return to, err
		}
		to.Header.Set(name, value)
	}
	for name, variable := range e.HeaderEnv {
		value, ok := os.LookupEnv(variable)
		if !ok {
			return to, fmt.Errorf("the variable %s is not set", variable)
		}
		to.Header.Set(name, value)
	}
	for name, values := range to.Header {
		if strings.ContainsFunc(values[0], func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return to, fmt.Errorf("the header %s has a control character", name)
		}
	}
	return to, nil
}

// secret is what a file holds, without the line's end.
func secret(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(text)), nil
}

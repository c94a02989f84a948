package file

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"freeim/conf/roots"
	"freeim/core/im"
	"freeim/idl/files"
	"freeim/idl/kitex_gen/filepb"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// S3 is a store that speaks S3, of a cloud's or one's own.
type S3 struct {
	// Endpoint is where it is, as "https://s3.eu-central-1.amazonaws.com".
	Endpoint string `yaml:"endpoint"`
	// PublicEndpoint is where clients reach it, if that is elsewhere.
	PublicEndpoint string `yaml:"public_endpoint"`
	Region         string `yaml:"region"` // default us-east-1
	Bucket         string `yaml:"bucket"` // it must exist
	// Prefix begins the names of all files in the bucket. No other installation may have the same:
	// what is below it and not known here is deleted. Default files/.
	Prefix    string `yaml:"prefix"`
	AccessKey string `yaml:"access_key"`
	// SecretKey is its secret, or SecretFile the file that it is in.
	SecretKey  string `yaml:"secret_key"`
	SecretFile string `yaml:"secret_file"`
	// VirtualHost has the bucket be a part of the host's name, not of the path.
	VirtualHost bool `yaml:"virtual_host"`
	// CAFile holds the certificates (PEM) of who signs that of a private endpoint; empty: the system's.
	CAFile string `yaml:"ca_file"`
}

// Origin is where clients send files and read them, as "https://s3.example"; empty: at the edges.
func (c *Config) Origin() string {
	at, err := url.Parse(cmp.Or(c.S3.PublicEndpoint, c.S3.Endpoint))
	if c.Store != onS3 || err != nil || at.Host == "" {
		return ""
	}
	if c.S3.VirtualHost {
		at.Host = c.S3.Bucket + "." + at.Host
	}
	return at.Scheme + "://" + at.Host
}

func (c *S3) validate() error {
	checks := []struct {
		ok   bool
		key  string
		rule string
	}{
		{isHTTP(c.Endpoint), "endpoint", "must be as https://s3.example, without a path"},
		{c.PublicEndpoint == "" || isHTTP(c.PublicEndpoint), "public_endpoint", "must be as https://s3.example, without a path"},
		{c.Region != "", "region", "must be named"},
		{c.Bucket != "", "bucket", "must be named"},
		{c.AccessKey != "", "access_key", "must be given"},
		{(c.SecretKey == "") != (c.SecretFile == ""), "secret_key", "must be given, or secret_file"},
		{!strings.HasPrefix(c.Prefix, "/") && !strings.Contains(c.Prefix, ".."), "prefix", "must be as files/"},
	}
	for _, check := range checks {
		if !check.ok {
			return im.Invalid("file.s3."+check.key, "%s", check.rule)
		}
	}
	return nil
}

// s3Time bounds what the store may take to begin an answer.
const s3Time = 10 * time.Second

// bucket is a bucket of such a store.
type bucket struct {
	name, prefix string
	client       *minio.Client
	public       *minio.Client // signs URLs for clients, and asks nothing
	transport    *http.Transport
	now          func() time.Time
	sign         func(text string, at time.Time) string // by Signature Version 4
	scope        func(at time.Time) string              // the key's name, and what it is for
}

// newS3 prepares the store; nothing is asked of it yet.
func newS3(c S3, now func() time.Time) (*bucket, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	secret := c.SecretKey
	if c.SecretFile != "" {
		text, err := os.ReadFile(c.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("read file.s3.secret_file: %w", err)
		}
		secret = strings.TrimSpace(string(text))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = s3Time
	if c.CAFile != "" {
		pool, err := roots.Read(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("file.s3.ca_file: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	b := &bucket{name: c.Bucket, prefix: c.Prefix, transport: transport, now: now,
		sign: func(text string, at time.Time) string {
			return signer.PostPresignSignatureV4(text, at, secret, c.Region)
		},
		scope: func(at time.Time) string {
			return signer.GetCredential(c.AccessKey, c.Region, at, signer.ServiceTypeS3)
		}}
	var err error
	if b.client, err = c.client(c.Endpoint, secret, transport); err != nil {
		return nil, err
	}
	b.public = b.client
	if c.PublicEndpoint != "" {
		b.public, err = c.client(c.PublicEndpoint, secret, transport)
	}
	return b, err
}

// client is one for an endpoint. With a region it never asks for the bucket's.
func (c *S3) client(endpoint, secret string, transport *http.Transport) (*minio.Client, error) {
	at, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("file.s3: %w", err)
	}
	lookup := minio.BucketLookupPath
	if c.VirtualHost {
		lookup = minio.BucketLookupDNS
	}
	client, err := minio.New(at.Host, &minio.Options{Creds: credentials.NewStaticV4(c.AccessKey, secret, ""), Secure: at.Scheme == "https",
		Transport: transport, Region: c.Region, BucketLookup: lookup, MaxRetries: 3})
	if err != nil {
		return nil, fmt.Errorf("file.s3: %w", err)
	}
	return client, nil
}

// checksum is the header in which S3 gets and gives a SHA-256, in base64.
const checksum = "X-Amz-Checksum-Sha256"

// ticket is a URL that holds for these octets alone: length, type and hash are signed, and the store
// refuses others. So is it that they are not encoded: a store says of them later what it was told.
func (b *bucket) ticket(ctx context.Context, f *file, until time.Time) (t ticket, err error) {
	hash, err := hex.DecodeString(f.sha256)
	if err != nil {
		return t, err
	}
	signed := http.Header{}
	signed.Set("Content-Type", f.kind)
	signed.Set(checksum, base64.StdEncoding.EncodeToString(hash))
	t.method = http.MethodPut
	signed.Set("Content-Encoding", "identity")
	for _, name := range []string{"Content-Type", "Content-Encoding", checksum} {
		t.headers = append(t.headers, &filepb.FileHeader{Name: name, Value: signed.Get(name)})
	}
	signed.Set("Content-Length", strconv.FormatInt(f.size, 10)) // every client sends it, and a browser lets nobody set it
	u, err := b.public.PresignHeader(ctx, t.method, b.name, b.prefix+f.id, until.Sub(b.now()), nil, signed)
	if err != nil {
		return t, fmt.Errorf("sign a ticket: %w", err)
	}
	t.url = u.String()
	return t, nil
}

// link has the store say what an edge would say of the type and the name.
func (b *bucket) link(ctx context.Context, f *file, from, until time.Time) (string, error) {
	said := url.Values{}
	said.Set("response-content-type", files.Served(f.kind))
	said.Set("response-content-disposition", files.Disposition(f.kind, f.name))
	said.Set("response-cache-control", "private, immutable, max-age=86400")
	u, err := b.public.PresignedGetObject(ctx, b.name, b.prefix+f.id, until.Sub(from), said)
	if err != nil {
		return "", fmt.Errorf("sign a URL: %w", err)
	}
	return b.dated(u, from), nil
}

// dated is a URL to read by as if it were signed at a time, which minio-go takes from the clock: so it is the
// same for a while, whichever core gives it, and caches know it again.
func (b *bucket) dated(u *url.URL, at time.Time) string {
	at = at.UTC()
	date, credential := at.Format("20060102T150405Z"), b.scope(at)
	_, scope, _ := strings.Cut(credential, "/")
	q := u.Query()
	q.Del("X-Amz-Signature")
	q.Set("X-Amz-Date", date)
	q.Set("X-Amz-Credential", credential)
	query := strings.ReplaceAll(q.Encode(), "+", "%20")
	request := sha256.Sum256([]byte(strings.Join([]string{http.MethodGet, s3utils.EncodePath(u.Path), query, "host:" + u.Host, "", "host", "UNSIGNED-PAYLOAD"}, "\n")))
	text := strings.Join([]string{"AWS4-HMAC-SHA256", date, scope, hex.EncodeToString(request[:])}, "\n")
	u.RawQuery = query + "&X-Amz-Signature=" + b.sign(text, at)
	return u.String()
}

// errNoChecksum says that a store does not keep the hashes that it was sent, and so may not have looked at them.
var errNoChecksum = errors.New("the store gives no SHA-256 (x-amz-checksum-sha256): it cannot be used")

func (b *bucket) check(ctx context.Context, f *file) error {
	at, err := b.client.StatObject(ctx, b.name, b.prefix+f.id, minio.StatObjectOptions{Checksum: true})
	if err != nil {
		if minio.ToErrorResponse(err).StatusCode == http.StatusNotFound {
			return errAbsent
		}
		return fmt.Errorf("look at a file: %w", err)
	}
	if at.ChecksumSHA256 == "" {
		return errNoChecksum
	}
	hash, err := base64.StdEncoding.DecodeString(at.ChecksumSHA256)
	if err != nil || hex.EncodeToString(hash) != f.sha256 || at.Size != f.size {
		return errAbsent
	}
	return nil
}

func (b *bucket) remove(ctx context.Context, id string) error {
	err := b.client.RemoveObject(ctx, b.name, b.prefix+id, minio.RemoveObjectOptions{})
	if err != nil && minio.ToErrorResponse(err).StatusCode != http.StatusNotFound {
		return fmt.Errorf("delete a file: %w", err)
	}
	return nil
}

func (b *bucket) walk(ctx context.Context, before time.Time, fn func(context.Context, []string) ([]string, error)) (deleted int, err error) {
	var ids []string
	for at := range b.client.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix, Recursive: true}) {
		if at.Err != nil {
			return deleted, fmt.Errorf("list files: %w", at.Err)
		}
		if id := strings.TrimPrefix(at.Key, b.prefix); files.IsID(id) && at.LastModified.Before(before) {
			ids = append(ids, id)
		}
		if len(ids) == walkBatch {
			n, err := sift(ctx, b, ids, fn)
			if deleted += n; err != nil {
				return deleted, err
			}
			ids = nil
		}
	}
	n, err := sift(ctx, b, ids, fn)
	return deleted + n, err
}

func (b *bucket) close() error {
	b.transport.CloseIdleConnections()
	return nil
}

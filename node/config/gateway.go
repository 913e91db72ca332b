package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// GatewayFormat is the version of the gateway's configuration that this build reads.
const GatewayFormat = 1

// MaxGatewayUsers bounds the users of a gateway: each has connections of its own to every replica.
const MaxGatewayUsers = 256

// Anonymous is the name of those who show no token, which no user has.
const Anonymous = "anonymous"

// Gateway is how a gateway serves a cluster to programs that speak HTTP.
type Gateway struct {
	// Format is GatewayFormat.
	Format int `yaml:"format"`
	// Listen is the address to listen on, "host:port".
	Listen string `yaml:"listen"`
	// TLS has the files of a certificate and its key; both empty: HTTP without TLS.
	TLS GatewayTLS `yaml:"tls"`
	// AllowAnonymous serves whoever shows no token, with the key of the cluster's directory. A gateway without users
	// does so by itself if it listens on a loopback address.
	AllowAnonymous bool `yaml:"allow_anonymous"`
	// AllowPlainHTTP lets a gateway without TLS listen on an address that is not loopback.
	AllowPlainHTTP bool `yaml:"allow_plain_http"`
	// Users are those who have a token.
	Users []GatewayUser `yaml:"users"`
	// Log says what is logged. At the level debug each request is; tokens never are.
	Log Log `yaml:"log"`
	// Limits bound what the gateway uses.
	Limits GatewayLimits `yaml:"limits"`
}

// GatewayTLS names the files of a certificate, relative to the file that names them unless absolute.
type GatewayTLS struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// GatewayUser is somebody who shows a token.
type GatewayUser struct {
	// Name is for logs and metrics, in the form of a member's name.
	Name string `yaml:"name"`
	// Token is the digest of the token; the file cannot give the token itself away.
	Token TokenDigest `yaml:"token_sha256"`
	// Key is the file of the key with which the user's operations are signed, relative to the file that names it unless
	// absolute. Empty: the key of the cluster's directory, which such users share.
	Key string `yaml:"key"`
	// PassphraseFile has the passphrase of the key, if that is encrypted.
	PassphraseFile string `yaml:"passphrase_file"`
	// Rate is how many requests a second the user may make; 0: as GatewayLimits say.
	Rate int `yaml:"rate"`
	// Operator lets the user read the metrics, which count the requests of each account.
	Operator bool `yaml:"operator"`
}

// GatewayLimits bound what a gateway uses.
type GatewayLimits struct {
	// Connections bounds those that are open, Requests those that are being served, Watches the watches, which are not counted
	// among them. Each user has a share of them: half if nobody else wants any.
	Connections int `yaml:"connections"`
	Requests    int `yaml:"requests"`
	Watches     int `yaml:"watches"`
	// Rate is how many requests a second each user may make, for a second at once; 0: any number.
	Rate int `yaml:"rate"`
	// Header and Body bound the head of a request, and a body in JSON. Memory bounds all bodies and answers that are held.
	Header Bytes `yaml:"header"`
	Body   Bytes `yaml:"body"`
	Memory Bytes `yaml:"memory"`
	// HeaderTime is how long the head of a request may take, BodyTime a body in JSON or the next part of a file, WriteTime
	// an answer or the next part of a file. IdleTime is how long a connection may wait for a request.
	HeaderTime Duration `yaml:"header_time"`
	BodyTime   Duration `yaml:"body_time"`
	WriteTime  Duration `yaml:"write_time"`
	IdleTime   Duration `yaml:"idle_time"`
	// CallTime bounds a call to the cluster, unless a request asks for another time, at most MaxCallTime.
	CallTime    Duration `yaml:"call_time"`
	MaxCallTime Duration `yaml:"max_call_time"`
	// RepeatTime is how long a request with an Idempotency-Key may be repeated, unless it says until when.
	RepeatTime Duration `yaml:"repeat_time"`
	// StopTime is how long requests may take to end when the gateway ends.
	StopTime Duration `yaml:"stop_time"`
}

// DefaultGateway returns the defaults that docs/configuration.md lists.
func DefaultGateway() *Gateway {
	const second = Duration(time.Second)
	return &Gateway{
		Format: GatewayFormat, Listen: "127.0.0.1:8470", Log: Log{Level: "info", Format: "text"},
		Limits: GatewayLimits{Connections: 4096, Requests: 4096, Watches: 512, Header: 16 << 10, Body: 2 << 20, Memory: 256 << 20,
			HeaderTime: 5 * second, BodyTime: 10 * second, WriteTime: 30 * second, IdleTime: 60 * second,
			CallTime: 10 * second, MaxCallTime: 60 * second, RepeatTime: 300 * second, StopTime: 10 * second},
	}
}

// ReadGateway reads and validates the configuration in a file. What it leaves out takes its default.
func ReadGateway(path string) (*Gateway, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	g := DefaultGateway()
	g.Format = 0 // must be stated, so that a later format is not misread
	if err := decode(path, data, g); err != nil {
		return nil, err
	}
	if err := g.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, oneLine(err))
	}
	return g, nil
}

// Anonymous tells whether those are served who show no token.
func (g *Gateway) Anonymous() bool {
	return g.AllowAnonymous || len(g.Users) == 0
}

// Loopback tells whether the gateway listens for this machine alone.
func (g *Gateway) Loopback() bool {
	host, _, err := net.SplitHostPort(g.Listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// Validate says what is wrong with g, all at once.
func (g *Gateway) Validate() error {
	if g.Format != GatewayFormat {
		return fmt.Errorf("format: %d, this build reads format %d", g.Format, GatewayFormat)
	}
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if err := checkListen(g.Listen); err != nil {
		errs = append(errs, err)
	} else if open, clear := len(g.Users) == 0 && !g.AllowAnonymous, g.TLS.Certificate == "" && !g.AllowPlainHTTP; open && clear && !g.Loopback() {
		bad(false, "listen: whoever reaches %s could call the cluster, and values would travel in clear: list users and set tls in a config, see docs/gateway.md", g.Listen)
	} else if !g.Loopback() {
		bad(!open, "listen: whoever reaches %s could call the cluster: list users, or set allow_anonymous", g.Listen)
		bad(!clear, "listen: without TLS tokens and values would travel in clear to %s: set tls, or allow_plain_http behind a proxy that adds it", g.Listen)
	}
	bad((g.TLS.Certificate == "") == (g.TLS.Key == ""), "tls: a certificate and its key go together")
	bad(len(g.Users) <= MaxGatewayUsers, "users: %d, at most %d are possible", len(g.Users), MaxGatewayUsers)
	errs = append(errs, g.Log.validate()...)
	names, tokens := map[string]bool{}, map[TokenDigest]bool{}
	for i, u := range g.Users {
		bad(nameText.MatchString(u.Name), "users[%d].name: %q is not 1 to 63 lower-case letters, digits and inner hyphens", i, u.Name)
		bad(u.Token != TokenDigest{}, "users[%d].token_sha256: the digest of a token is needed: gateway token makes one", i)
		bad(u.Name != Anonymous, "users[%d].name: %s are those without a token", i, Anonymous)
		bad(!names[u.Name], "users[%d].name: %q stands twice", i, u.Name)
		bad(!tokens[u.Token], "users[%d].token_sha256: another user has the same token", i)
		bad(u.Key != "" || u.PassphraseFile == "", "users[%d].passphrase_file: there is no key that it is for", i)
		bad(u.Rate >= 0 && u.Rate <= maxRate, "users[%d].rate: %d is not within 0 and %d", i, u.Rate, maxRate)
		names[u.Name], tokens[u.Token] = true, true
	}
	return errors.Join(append(errs, g.Limits.validate()...)...)
}

const maxRate = 1_000_000

func (l *GatewayLimits) validate() (errs []error) {
	for _, v := range []struct {
		name      string
		v         int64
		min, max  int64
		byteSizes bool
	}{
		{"connections", int64(l.Connections), 1, 1 << 20, false},
		{"requests", int64(l.Requests), 1, 1 << 20, false},
		{"watches", int64(l.Watches), 1, 1 << 20, false},
		{"rate", int64(l.Rate), 0, maxRate, false},
		{"header", int64(l.Header), 4 << 10, 1 << 20, true},
		{"body", int64(l.Body), 4 << 10, 16 << 20, true},
		{"memory", int64(l.Memory), 16 << 20, 1 << 40, true},
	} {
		switch {
		case v.v >= v.min && v.v <= v.max:
		case v.byteSizes:
			errs = append(errs, fmt.Errorf("limits.%s: %s is not within %s and %s", v.name, Bytes(v.v), Bytes(v.min), Bytes(v.max)))
		default:
			errs = append(errs, fmt.Errorf("limits.%s: %d is not within %d and %d", v.name, v.v, v.min, v.max))
		}
	}
	const least, most = Duration(10 * time.Millisecond), Duration(24 * time.Hour)
	for _, v := range []struct {
		name string
		v    Duration
	}{{"header_time", l.HeaderTime}, {"body_time", l.BodyTime}, {"write_time", l.WriteTime}, {"idle_time", l.IdleTime},
		{"call_time", l.CallTime}, {"max_call_time", l.MaxCallTime}, {"repeat_time", l.RepeatTime}, {"stop_time", l.StopTime}} {
		if v.v < least || v.v > most {
			errs = append(errs, fmt.Errorf("limits.%s: %s is not within %s and %s", v.name, v.v, least, most))
		}
	}
	if l.CallTime > l.MaxCallTime {
		errs = append(errs, fmt.Errorf("limits.call_time: %s is more than max_call_time, %s", l.CallTime, l.MaxCallTime))
	}
	return errs
}

// checkListen wants host:port; a host that is left out stands for all addresses of the machine.
func checkListen(s string) error {
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("listen: %q is not host:port, such as 127.0.0.1:8470", s)
	}
	if host == "" {
		s = "all" + s
	}
	if strings.HasSuffix(s, ":0") { // a free port, which CheckAddress does not know
		return nil
	}
	if err := CheckAddress(s); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

// TokenDigest is the SHA-256 of a token, as 64 hex digits in a file.
type TokenDigest [sha256.Size]byte

// DigestToken returns the digest of a token.
func DigestToken(token string) TokenDigest { return sha256.Sum256([]byte(token)) }

// String returns 64 hex digits.
func (d TokenDigest) String() string { return hex.EncodeToString(d[:]) }

// UnmarshalYAML accepts 64 hex digits.
func (d *TokenDigest) UnmarshalYAML(n *yaml.Node) error {
	b, err := hex.DecodeString(n.Value)
	if err != nil || len(b) != len(d) {
		return scalarError(n, "the digest of a token is 64 hex digits: gateway token makes one")
	}
	copy(d[:], b)
	return nil
}

// MarshalYAML returns 64 hex digits, quoted.
func (d TokenDigest) MarshalYAML() (any, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: d.String()}, nil
}

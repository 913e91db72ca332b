package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/baluarte-bft/baluarte/crypto"
)

// Key is a public key in a file: 64 hex digits.
type Key struct{ crypto.PublicKey }

// UnmarshalYAML accepts what [crypto.ParsePublicKey] accepts.
func (k *Key) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return scalarError(n, "a key is 64 hex digits")
	}
	p, err := crypto.ParsePublicKey(n.Value)
	if err != nil {
		return scalarError(n, "%s", strings.TrimPrefix(err.Error(), "crypto: "))
	}
	k.PublicKey = p
	return nil
}

// MarshalYAML returns 64 hex digits. They are quoted, because a key of decimal
// digits only would read as a number.
func (k Key) MarshalYAML() (any, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: k.String()}, nil
}

// Duration is a time in a file, written with its unit: 300ms, 1s, 2m. It is
// never negative.
type Duration time.Duration

// UnmarshalYAML accepts what [time.ParseDuration] accepts, but nothing negative.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil || v < 0 {
		return scalarError(n, "%q is not a time with its unit, such as 300ms or 2s", n.Value)
	}
	*d = Duration(v)
	return nil
}

// MarshalYAML returns the time with its unit.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }

// String returns the time with its unit, without zero parts: 1m, not 1m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Bytes is a size in a file: a whole number, alone or with one of the units KiB,
// MiB and GiB, which are powers of 1,024.
type Bytes int64

var bytesText = regexp.MustCompile(`^(\d{1,15}) ?(KiB|MiB|GiB)?$`)

var byteUnits = []struct {
	name  string
	shift uint
}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}}

// ParseBytes reads a size such as 4096, 64MiB or "2 GiB".
func ParseBytes(s string) (Bytes, error) {
	m := bytesText.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is not a size in bytes, such as 4096, 512KiB or 2GiB", s)
	}
	v, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, err
	}
	for _, u := range byteUnits {
		if u.name == m[2] {
			if v > 1<<62>>u.shift {
				return 0, fmt.Errorf("%q is too large", s)
			}
			v <<= u.shift
		}
	}
	return Bytes(v), nil
}

// UnmarshalYAML accepts what [ParseBytes] accepts.
func (b *Bytes) UnmarshalYAML(n *yaml.Node) error {
	v, err := ParseBytes(n.Value)
	if err != nil {
		return scalarError(n, "%s", err)
	}
	*b = v
	return nil
}

// MarshalYAML returns the size as [Bytes.String] does.
func (b Bytes) MarshalYAML() (any, error) {
	if s := b.String(); strings.HasSuffix(s, "B") {
		return s, nil
	}
	return int64(b), nil
}

// String returns the size in the largest unit that holds it without a fraction.
func (b Bytes) String() string {
	for _, u := range byteUnits {
		if b != 0 && b%(1<<u.shift) == 0 {
			return fmt.Sprintf("%d%s", b>>u.shift, u.name)
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

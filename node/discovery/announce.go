package discovery

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/libp2p/zeroconf/v2"

	"github.com/baluarte-bft/baluarte/crypto"
)

const (
	service = "_baluarte._tcp"
	domain  = "local"
	// format is the version of what is announced.
	format = "1"
	// maxAddresses bounds the addresses in one announcement, maxText a text of it, which DNS bounds too.
	maxAddresses = 4
	maxText      = 255
)

// Announcement is what a replica says of itself, and a client hears. Heard, nothing in it is proven.
type Announcement struct {
	// Name is what the cluster is found by.
	Name string
	// Cluster is the cluster id, Key the replica's public key, Member its name.
	Cluster crypto.Digest
	Key     crypto.PublicKey
	Member  string
	// Addresses are where the replica is reached, "host:port"; at most 4 are announced.
	Addresses []string
}

// Announcer answers those who look for a name, until it is closed.
type Announcer struct{ server *zeroconf.Server }

// Announce begins to answer. It fails if no interface takes multicast.
func Announce(a Announcement) (*Announcer, error) {
	text, err := a.encode()
	if err != nil {
		return nil, err
	}
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("discovery: no randomness: %w", err)
	}
	// A name that nobody else has: two replicas, or a replica and a stranger, must not be taken for one.
	instance := fmt.Sprintf("%s-%s-%s", a.Name, a.Member, hex.EncodeToString(random[:]))
	instance = instance[max(0, len(instance)-63):] // of a label of DNS
	port, ips := a.port()
	server, err := zeroconf.RegisterProxy(instance, service, domain, port, "baluarte-"+hex.EncodeToString(random[:]), ips, text, nil)
	if err != nil {
		return nil, fmt.Errorf("discovery: announcing %s: %w; an interface with multicast is needed", a.Name, err)
	}
	return &Announcer{server}, nil
}

// Close takes the announcement back.
func (a *Announcer) Close() { a.server.Shutdown() }

// port is that of the first address, and its IP address; the loopback's if it has a name instead. Other programs look at
// these, ours at the text.
func (a *Announcement) port() (port int, ips []string) {
	port, ips = 1, []string{"127.0.0.1"}
	if host, p, err := net.SplitHostPort(a.Addresses[0]); err == nil {
		if n, err := strconv.Atoi(p); err == nil && n > 0 {
			port = n
		}
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
			ips = []string{host}
		}
	}
	return port, ips
}

// encode makes the texts of the record.
func (a *Announcement) encode() ([]string, error) {
	if a.Name == "" || a.Member == "" || a.Cluster.IsZero() || len(a.Addresses) == 0 {
		return nil, errors.New("discovery: a name, a cluster, a member and its addresses are needed")
	}
	text := []string{"baluarte=" + format, "name=" + a.Name, "cluster=" + a.Cluster.String(), "member=" + a.Member, "key=" + a.Key.String()}
	for _, addr := range a.Addresses[:min(len(a.Addresses), maxAddresses)] {
		text = append(text, "addr="+addr)
	}
	for _, s := range text {
		if len(s) > maxText {
			return nil, fmt.Errorf("discovery: %q is longer than %d bytes", s, maxText)
		}
	}
	return text, nil
}

// decode reads the texts of a record; false if they are not ours.
func decode(text []string) (a Announcement, ok bool) {
	seen := ""
	for _, s := range text {
		k, v, _ := strings.Cut(s, "=")
		var err error
		switch k {
		case "baluarte":
			seen = v
		case "name":
			a.Name = v
		case "member":
			a.Member = v
		case "cluster":
			a.Cluster, err = crypto.ParseDigest(v)
		case "key":
			a.Key, err = crypto.ParsePublicKey(v)
		case "addr":
			if _, _, err = net.SplitHostPort(v); err == nil && len(a.Addresses) < maxAddresses {
				a.Addresses = append(a.Addresses, v)
			}
		}
		if err != nil {
			return Announcement{}, false
		}
	}
	return a, seen == format && printable(a.Name) && printable(a.Member) && !a.Cluster.IsZero() && a.Key != (crypto.PublicKey{}) && len(a.Addresses) > 0
}

// printable: what strangers announce is shown on terminals.
func printable(s string) bool {
	for _, r := range s {
		if r < '!' || r > '~' {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// Browse passes on what is announced until ctx ends, each announcement once. It fails if no interface takes multicast.
func Browse(ctx context.Context, each func(Announcement)) error {
	var err error
	// An interface may have multicast for one of the two only.
	for _, traffic := range []zeroconf.IPType{zeroconf.IPv4AndIPv6, zeroconf.IPv4, zeroconf.IPv6} {
		if err = browse(ctx, traffic, each); err == nil || ctx.Err() != nil {
			return nil
		}
	}
	return fmt.Errorf("discovery: %w; an interface with multicast is needed", err)
}

func browse(ctx context.Context, traffic zeroconf.IPType, each func(Announcement)) error {
	entries, ended, done := make(chan *zeroconf.ServiceEntry), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case e := <-entries:
				if e == nil { // closed
					return
				}
				if a, ok := decode(e.Text); ok {
					each(a)
				}
			case <-ended: // it was never used
				return
			}
		}
	}()
	err := zeroconf.Browse(ctx, service, domain, entries, zeroconf.SelectIPTraffic(traffic))
	close(ended)
	<-done
	return err
}

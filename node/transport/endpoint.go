package transport

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	logging "github.com/ipfs/go-log/v2"
	ic "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multistream"

	"github.com/baluarte-bft/baluarte/crypto"
)

var log = logging.Logger("baluarte/transport")

// Member is one replica of the cluster; its index in a slice of members is its
// replica ID.
type Member struct {
	// Key is the member's Ed25519 public key.
	Key crypto.PublicKey
	// Addrs are where it listens, tried in order: "host:port", or a multiaddr
	// such as /ip4/192.0.2.1/tcp/7000 or /dns/host/tcp/7000.
	Addrs []string
}

// endpoint is one identity on the network: what a Server and a Client share.
type endpoint struct {
	cluster   crypto.Digest
	version   uint16 // other than protocolVersion in tests only
	limits    Limits
	upgrader  transport.Upgrader
	tcp       *tcp.TcpTransport
	protocols *multistream.MultistreamMuxer[protocol.ID]
	wg        sync.WaitGroup // everything that outlives a call
}

// newEndpoint builds the part of libp2p that is used.
func newEndpoint(key *crypto.PrivateKey, cluster crypto.Digest, limits Limits) (*endpoint, error) {
	seed := key.Seed()
	sk, err := ic.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		return nil, fmt.Errorf("transport: key: %w", err)
	}
	muxers := []upgrader.StreamMuxer{{ID: singleStream, Muxer: singleMuxer{}}}
	secure, err := libp2ptls.New(libp2ptls.ID, sk, muxers)
	if err != nil {
		return nil, fmt.Errorf("transport: TLS identity: %w", err)
	}
	// libp2p's resource manager and gater are left out: the door bounds inbound
	// connections, knowing members from strangers, and each has one stream.
	up, err := upgrader.New([]sec.SecureTransport{secure}, muxers, nil, nil, nil,
		upgrader.WithAcceptTimeout(limits.HandshakeTimeout))
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	// Dialling from the listening port would make two replicas that dial each
	// other at once collide on one pair of ports.
	tpt, err := tcp.NewTCPTransport(up, nil, nil, tcp.DisableReuseport(), tcp.WithConnectionTimeout(limits.DialTimeout))
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	return &endpoint{cluster: cluster, version: protocolVersion, limits: limits,
		upgrader: up, tcp: tpt, protocols: protocols()}, nil
}

// closeLater closes a connection in the background: libp2p's close may wait
// for seconds to tell a silent peer.
func (e *endpoint) closeLater(c io.Closer) {
	e.wg.Go(func() { _ = c.Close() })
}

// closeOn closes c when ctx ends. The caller must call release, which ends this and returns
// false if c was closed.
func (e *endpoint) closeOn(ctx context.Context, c io.Closer) (release func() bool) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		e.closeLater(c)
	})
	return func() bool {
		if stop() {
			return true
		}
		<-done // so that nothing starts once the caller has gone
		return false
	}
}

// peerID is libp2p's name for a key.
func peerID(key crypto.PublicKey) (peer.ID, error) {
	pk, err := ic.UnmarshalEd25519PublicKey(key[:])
	if err != nil {
		return "", err
	}
	return peer.IDFromPublicKey(pk)
}

// remoteKey returns the key at the other end, if it is one that proves anything.
func remoteKey(c network.ConnSecurity) (key crypto.PublicKey, err error) {
	pk := c.RemotePublicKey()
	if pk == nil || pk.Type() != ic.Ed25519 {
		return key, errors.New("not an Ed25519 identity")
	}
	raw, err := pk.Raw()
	if err != nil || len(raw) != len(key) {
		return key, errors.New("unreadable identity")
	}
	copy(key[:], raw)
	return key, key.Check()
}

// address is a place to dial or to listen on.
type address struct {
	network string // "ip", "ip4" or "ip6", for look-ups
	host    string
	port    uint16
}

// parseAddress understands "host:port" and multiaddrs of IP or DNS and TCP.
func parseAddress(s string) (address, error) {
	if !strings.HasPrefix(s, "/") {
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			return address{}, fmt.Errorf("transport: address %q: %w", s, err)
		}
		p, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return address{}, fmt.Errorf("transport: address %q: bad port", s)
		}
		return address{network: "ip", host: host, port: uint16(p)}, nil
	}
	m, err := ma.NewMultiaddr(s)
	if err != nil {
		return address{}, fmt.Errorf("transport: address %q: %w", s, err)
	}
	families := map[int]string{ma.P_IP4: "ip4", ma.P_IP6: "ip6", ma.P_DNS: "ip", ma.P_DNS4: "ip4", ma.P_DNS6: "ip6"}
	if len(m) != 2 || families[m[0].Code()] == "" || m[1].Code() != ma.P_TCP {
		return address{}, fmt.Errorf("transport: address %q: want /ip4, /ip6 or /dns and /tcp", s)
	}
	p, err := strconv.ParseUint(m[1].Value(), 10, 16)
	if err != nil {
		return address{}, fmt.Errorf("transport: address %q: bad port", s)
	}
	return address{network: families[m[0].Code()], host: m[0].Value(), port: uint16(p)}, nil
}

func (a address) String() string { return net.JoinHostPort(a.host, strconv.Itoa(int(a.port))) }

// maxResolved bounds the addresses tried behind one host name.
const maxResolved = 8

// resolve returns the IP addresses of a, without a look-up if it is one.
func (a address) resolve(ctx context.Context) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(a.host); err == nil {
		return []netip.Addr{ip}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, a.network, a.host)
	if err != nil {
		return nil, err
	}
	return ips[:min(len(ips), maxResolved)], nil
}

// dial connects to a member at the first of its addresses that answers.
func (e *endpoint) dial(ctx context.Context, addrs []address, id peer.ID) (transport.CapableConn, error) {
	var errs []error
	for _, a := range addrs {
		ips, err := a.resolve(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, ip := range ips {
			conn, err := e.dialIP(ctx, netip.AddrPortFrom(ip.Unmap(), a.port), id)
			if err == nil {
				return conn, nil
			}
			errs = append(errs, err)
			if ctx.Err() != nil {
				return nil, errors.Join(errs...)
			}
		}
	}
	return nil, errors.Join(errs...)
}

func (e *endpoint) dialIP(ctx context.Context, to netip.AddrPort, id peer.ID) (transport.CapableConn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.limits.DialTimeout)
	defer cancel()
	addr, err := manet.FromNetAddr(net.TCPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	conn, err := e.tcp.Dial(ctx, addr, id)
	var mismatch sec.ErrPeerIDMismatch
	if errors.As(err, &mismatch) {
		return nil, fmt.Errorf("%w: %v", ErrWrongIdentity, to)
	}
	return conn, err
}

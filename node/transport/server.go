package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/transport"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/time/rate"

	"github.com/baluarte-bft/baluarte/crypto"
)

// Handler receives what arrives at a Server. Calls for one peer or one client
// come one at a time and in order, those for different ones concurrently.
// A call that blocks is back-pressure on that peer or client alone, and delays Close.
type Handler interface {
	// FromPeer gets a frame of another member, on its reader goroutine. The
	// frame belongs to the handler.
	FromPeer(peer int, frame []byte)
	// FromClient gets a frame of a client, on its reader goroutine. The frame
	// belongs to the handler.
	FromClient(c *ClientConn, frame []byte)
	// PeerState tells whether frames sent to a peer now travel. It says
	// nothing of the other direction, which has a connection of its own.
	PeerState(peer int, up bool)
	// ClientGone is called once for each client connection that had been
	// accepted, after its last FromClient.
	ClientGone(c *ClientConn)
}

// ServerConfig says who a Server is and whom it serves. Key, Members, Listen
// and Handler are required.
type ServerConfig struct {
	Key     *crypto.PrivateKey // of Members[Self]
	Self    int
	Cluster crypto.Digest
	Members []Member
	// Listen are the addresses to listen on, as in Member; port 0 takes a free
	// one, an empty host all interfaces.
	Listen []string
	// AdmitClient, if not nil, decides which clients are served; its error is
	// the reason that a refused one is told. It is called concurrently.
	AdmitClient func(crypto.PublicKey) error
	Handler     Handler
	Limits      Limits
}

// Server is the transport of one replica. Its methods are safe for concurrent use.
type Server struct {
	cfg       ServerConfig
	ep        *endpoint
	door      *door
	keys      map[crypto.PublicKey]int
	links     []*link // nil for Self
	inbound   []*inbound
	listeners []transport.Listener
	addrs     []string
	ctx       context.Context
	cancel    context.CancelFunc
	talk      *rate.Limiter // of the log
	muted     atomic.Int64  // lines not logged

	clientSent, clientGot traffic

	mu      sync.Mutex
	closed  bool
	conns   map[transport.CapableConn]struct{} // all inbound ones
	clients map[crypto.PublicKey][]*ClientConn // oldest first
	count   int                                // of client connections
}

// Listen opens the listening addresses, starts connecting to the other members
// and returns. It fails on a wrong configuration or an address in use.
func Listen(cfg ServerConfig) (*Server, error) {
	if cfg.Key == nil || cfg.Handler == nil || len(cfg.Listen) == 0 {
		return nil, errors.New("transport: a server needs Key, Handler and Listen")
	}
	if cfg.Self < 0 || cfg.Self >= len(cfg.Members) || cfg.Members[cfg.Self].Key != cfg.Key.Public() {
		return nil, fmt.Errorf("transport: the key is not that of member %d", cfg.Self)
	}
	s, err := newServer(cfg, protocolVersion)
	if err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		_ = s.Close()
		return nil, err
	}
	s.connect()
	return s, nil
}

// connect starts dialling the other members.
func (s *Server) connect() {
	for _, l := range s.links {
		if l != nil {
			s.ep.wg.Go(func() { l.run(s.ctx) })
		}
	}
}

func newServer(cfg ServerConfig, version uint16) (*Server, error) {
	limits, err := cfg.Limits.complete()
	if err != nil {
		return nil, err
	}
	cfg.Limits = limits
	keys, err := memberKeys(cfg.Members)
	if err != nil {
		return nil, err
	}
	ep, err := newEndpoint(cfg.Key, cfg.Cluster, limits)
	if err != nil {
		return nil, err
	}
	ep.version = version
	s := &Server{
		cfg: cfg, ep: ep, keys: keys,
		door:    newDoor(limits, cfg.Members),
		talk:    rate.NewLimiter(1, 10),
		conns:   make(map[transport.CapableConn]struct{}),
		clients: make(map[crypto.PublicKey][]*ClientConn),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for i, m := range cfg.Members {
		s.inbound = append(s.inbound, &inbound{token: make(chan struct{}, 1)})
		if i == cfg.Self {
			s.links = append(s.links, nil)
			continue
		}
		l, err := newLink(ep, i, m, replicaProtocol)
		if err != nil {
			return nil, err
		}
		l.onState = func(up bool, err error) { s.peerState(l, up) }
		s.links = append(s.links, l)
	}
	return s, nil
}

// peerState passes on changes only: a failed attempt is none.
func (s *Server) peerState(l *link, up bool) {
	if l.told.Swap(up) != up {
		s.cfg.Handler.PeerState(l.replica, up)
	}
}

func (s *Server) listen() error {
	for _, at := range s.cfg.Listen {
		a, err := parseAddress(at)
		if err != nil {
			return err
		}
		nl, err := net.Listen("tcp"+a.network[2:], net.JoinHostPort(a.host, strconv.Itoa(int(a.port))))
		if err != nil {
			return fmt.Errorf("transport: %w", err)
		}
		ml, err := manet.WrapNetListener(nl)
		if err != nil {
			return errors.Join(fmt.Errorf("transport: %w", err), nl.Close())
		}
		l := s.ep.upgrader.UpgradeGatedMaListener(s.ep.tcp, &gatedListener{Listener: ml, door: s.door})
		s.listeners = append(s.listeners, l)
		s.addrs = append(s.addrs, nl.Addr().String())
		log.Infow("listening", "address", nl.Addr().String())
		s.ep.wg.Go(func() { s.accept(l) })
	}
	return nil
}

func (s *Server) accept(l transport.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if s.ctx.Err() == nil {
				log.Errorw("no longer listening", "address", l.Addr().String(), "error", err)
			}
			return
		}
		s.ep.wg.Go(func() { s.serve(conn) })
	}
}

// Send queues a frame for another member and never blocks. It returns false,
// and the frame is dropped and counted, if the queue is full, if the peer has not
// been connected for longer than Limits.HoldTimeout, if there is no such other
// member, or if the frame is empty or longer than Limits.MaxFrameBytes. True
// promises no delivery. The frame must not be changed afterwards.
func (s *Server) Send(peer int, frame []byte) bool {
	if peer < 0 || peer >= len(s.links) || s.links[peer] == nil {
		return false
	}
	return s.links[peer].send(frame)
}

// Broadcast sends a frame to all other members, as Send does. They share the frame.
func (s *Server) Broadcast(frame []byte) {
	for _, l := range s.links {
		if l != nil {
			l.send(frame)
		}
	}
}

// PeerStats is what passed between this replica and another since the start.
type PeerStats struct {
	// Connected: frames can be sent; Inbound: frames can arrive.
	Connected, Inbound bool
	// Connections counts how often the peer was connected.
	Connections uint64
	// Bytes include the length prefixes.
	BytesIn, BytesOut   uint64
	FramesIn, FramesOut uint64
	// Dropped counts frames that Send refused or gave up.
	Dropped uint64
	// QueueFrames and QueueBytes wait to be written.
	QueueFrames, QueueBytes int
	// LastError is why the peer is not connected.
	LastError error
}

// Stats is a snapshot of a Server.
type Stats struct {
	// Peers are by replica ID; the one of this replica stays zero.
	Peers []PeerStats
	// Clients counts client connections.
	Clients                         int
	ClientBytesIn, ClientBytesOut   uint64
	ClientFramesIn, ClientFramesOut uint64
	// Handshakes counts inbound connections that have not finished their hello.
	Handshakes int
	// Refused counts inbound connections closed for their number or rate.
	Refused uint64
}

// Stats returns the counters as they stand; they are not read at one instant.
func (s *Server) Stats() Stats {
	st := Stats{
		Peers:         make([]PeerStats, len(s.links)),
		ClientBytesIn: s.clientGot.bytes.Load(), ClientBytesOut: s.clientSent.bytes.Load(),
		ClientFramesIn: s.clientGot.frames.Load(), ClientFramesOut: s.clientSent.frames.Load(),
	}
	s.mu.Lock()
	st.Clients = s.count
	s.mu.Unlock()
	st.Handshakes, st.Refused = s.door.counts()
	for i, l := range s.links {
		if l == nil {
			continue
		}
		in, p := s.inbound[i], &st.Peers[i]
		p.Connected, p.LastError = l.state()
		p.Inbound = in.connected()
		p.Connections = l.connected.Load()
		p.BytesIn, p.FramesIn = in.got.bytes.Load(), in.got.frames.Load()
		p.BytesOut, p.FramesOut = l.sent.bytes.Load(), l.sent.frames.Load()
		p.QueueFrames, p.QueueBytes, p.Dropped = l.queue.usage()
	}
	return st
}

// Addrs returns the addresses listened on, as "host:port".
func (s *Server) Addrs() []string { return append([]string(nil), s.addrs...) }

// Close stops listening and ends all connections; what is queued is lost. It
// returns when no handler runs any more, so it must not be called from one,
// and a handler that blocks delays it.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	conns := make([]transport.CapableConn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	s.cancel()
	var errs []error
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() { _ = c.Close() })
	}
	for _, l := range s.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	wg.Wait()
	s.ep.wg.Wait()
	return errors.Join(errs...)
}

// warnw and infow log what others cause, together at most about once a second.
func (s *Server) warnw(msg string, keysAndValues ...any) {
	s.logLimited(log.Warnw, msg, keysAndValues)
}

func (s *Server) infow(msg string, keysAndValues ...any) {
	s.logLimited(log.Infow, msg, keysAndValues)
}

func (s *Server) logLimited(logw func(string, ...any), msg string, keysAndValues []any) {
	if !s.talk.Allow() {
		s.muted.Add(1)
		return
	}
	if n := s.muted.Swap(0); n > 0 {
		keysAndValues = append(keysAndValues, "suppressed", n)
	}
	logw(msg, keysAndValues...)
}

package transport

import (
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/transport"

	"github.com/baluarte-bft/baluarte/crypto"
)

// peerReadBytes is the read buffer of a stream between replicas.
const peerReadBytes = 64 << 10

// inbound is the accepting end of the stream from one other member. At most
// one connection is current; a newer one supersedes it, since the member dials
// again only when it has given up the older.
type inbound struct {
	got   traffic
	token chan struct{} // of capacity 1; who holds it may call FromPeer

	mu      sync.Mutex
	current *inboundConn
}

type inboundConn struct {
	conn       transport.CapableConn
	superseded chan struct{}
}

func (in *inbound) connected() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.current != nil
}

// enter makes c current and returns the one before it.
func (in *inbound) enter(c *inboundConn) (before *inboundConn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	before, in.current = in.current, c
	if before != nil {
		close(before.superseded)
	}
	return before
}

func (in *inbound) leave(c *inboundConn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.current == c {
		in.current = nil
	}
}

// track registers an inbound connection, unless the server is closing.
func (s *Server) track(conn transport.CapableConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *Server) untrack(conn transport.CapableConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// serve handles one inbound connection from the end of its TLS handshake to
// its own end.
func (s *Server) serve(conn transport.CapableConn) {
	defer conn.Close()
	if !s.track(conn) {
		return
	}
	defer s.untrack(conn)
	// The stream to come has no deadline yet; the timer stands for one.
	opening := time.AfterFunc(s.cfg.Limits.HelloTimeout, func() { _ = conn.Close() })
	st, err := conn.AcceptStream()
	if !opening.Stop() && err == nil {
		err = errors.New("no stream in time")
	}
	if err != nil {
		log.Debugw("connection ended before its hello", "remote", conn.RemoteMultiaddr(), "error", err)
		return
	}
	prefix, err := s.ep.hearHello(st)
	if err == nil {
		err = s.dispatch(conn, st, prefix)
	}
	var refusal *Refusal
	if errors.As(err, &refusal) {
		s.warnw("connection refused", "remote", conn.RemoteMultiaddr(), "as", path.Base(prefix), "error", refusal)
		err = s.ep.answerHello(st, refusal)
	}
	if err != nil {
		log.Debugw("hello failed", "remote", conn.RemoteMultiaddr(), "error", err)
	}
}

// dispatch serves a connection whose hello is well-formed, until it ends. It
// returns a *Refusal if the connection is not wanted.
func (s *Server) dispatch(conn transport.CapableConn, st network.MuxedStream, prefix string) error {
	key, err := remoteKey(conn)
	if err != nil {
		return &Refusal{Err: ErrNotAdmitted, Reason: err.Error()}
	}
	if prefix == clientProtocol {
		return s.serveClient(conn, st, key)
	}
	replica, ok := s.keys[key]
	switch {
	case !ok:
		return &Refusal{Err: ErrNotAdmitted, Reason: "this key is not a member of the cluster"}
	case replica == s.cfg.Self:
		return &Refusal{Err: ErrNotAdmitted, Reason: fmt.Sprintf("this is replica %d itself: two processes share one key", replica)}
	}
	if err := s.ep.answerHello(st, nil); err != nil {
		return err
	}
	s.settle(conn, replica, true)
	s.links[replica].kick()
	s.serveReplica(conn, st, replica)
	return nil
}

// settle tells the door that the handshake is over.
func (s *Server) settle(conn transport.CapableConn, replica int, isMember bool) {
	if t, ok := conn.Scope().(*ticket); ok {
		s.door.leaveHandshake(t, replica, isMember)
	}
}

// serveReplica reads what a member sends until the stream ends.
func (s *Server) serveReplica(conn transport.CapableConn, st network.MuxedStream, replica int) {
	in := s.inbound[replica]
	me := &inboundConn{conn: conn, superseded: make(chan struct{})}
	if before := in.enter(me); before != nil {
		s.ep.closeLater(before.conn)
	}
	defer in.leave(me)
	// The reader before may still be in the handler: wait, so that a peer's frames are never
	// handled concurrently.
	select {
	case in.token <- struct{}{}:
	case <-me.superseded:
		return
	case <-s.ctx.Done():
		return
	}
	defer func() { <-in.token }()
	s.infow("replica connected", "replica", replica, "remote", conn.RemoteMultiaddr())
	ended, none := make(chan struct{}), newQueue(0, 0)
	defer none.nudge()
	defer close(ended)
	s.ep.wg.Go(func() {
		// The frames go one way; the other way this end shows that it lives. Should it fail, so will the reader.
		w := newFrameWriter(st, s.cfg.Limits.WriteTimeout, signBytes, new(traffic))
		_ = w.run(none, s.cfg.Limits.KeepAlive, ended)
	})
	r := newFrameReader(st, peerReadBytes, s.cfg.Limits.MaxFrameBytes, &s.cfg.Limits, &in.got)
	for {
		frame, err := r.next()
		if err != nil {
			s.logEnd(err, s.infow, "replica disconnected", "replica", replica, "remote", conn.RemoteMultiaddr())
			return
		}
		s.cfg.Handler.FromPeer(replica, frame)
	}
}

// logEnd logs the end of an accepted stream. A violation is worth a warning; all other ends are
// what happens when the other side goes, and are no errors.
func (s *Server) logEnd(end error, logw func(string, ...any), msg string, keysAndValues ...any) {
	if errors.Is(end, ErrFrame) || errors.Is(end, io.ErrUnexpectedEOF) {
		s.warnw("stream closed: invalid frame", append(keysAndValues, "error", end)...)
		return
	}
	logw(msg, append(keysAndValues, "reason", end)...)
}

// admitClient decides about a client and takes a place for it. The oldest
// connection of a key that has too many gives way, whose place is free at once.
func (s *Server) admitClient(c *ClientConn) (evicted *ClientConn, err error) {
	if admit := s.cfg.AdmitClient; admit != nil {
		if err := admit(c.key); err != nil {
			return nil, &Refusal{Err: ErrNotAdmitted, Reason: err.Error()}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := s.clients[c.key]
	if len(conns) >= s.cfg.Limits.MaxConnsPerKey {
		evicted = conns[0]
		s.removeClient(evicted)
	} else if s.count >= s.cfg.Limits.MaxClients {
		return nil, &Refusal{Err: ErrBusy, Reason: fmt.Sprintf("%d clients are connected already", s.count)}
	}
	s.clients[c.key] = append(s.clients[c.key], c)
	s.count++
	return evicted, nil
}

// removeClient gives back a client's place, if it still has one. Called with the lock held.
func (s *Server) removeClient(c *ClientConn) {
	conns := s.clients[c.key]
	for i, other := range conns {
		if other != c {
			continue
		}
		s.count--
		if len(conns) == 1 {
			delete(s.clients, c.key)
			return
		}
		s.clients[c.key] = append(conns[:i:i], conns[i+1:]...)
		return
	}
}

// serveClient admits a client, or refuses it by a *Refusal, and serves it
// until its stream ends.
func (s *Server) serveClient(conn transport.CapableConn, st network.MuxedStream, key crypto.PublicKey) error {
	c := newClientConn(s, conn, st, key)
	evicted, err := s.admitClient(c)
	if err != nil {
		return err
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.removeClient(c)
	}()
	if evicted != nil {
		evicted.Close("a newer connection of the same client takes the place")
	}
	if err := s.ep.answerHello(st, nil); err != nil {
		return err
	}
	s.settle(conn, 0, false)
	log.Debugw("client connected", "client", key.Fingerprint(), "remote", conn.RemoteMultiaddr())
	c.serve()
	return nil
}

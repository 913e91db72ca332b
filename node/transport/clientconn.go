package transport

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/transport"

	"github.com/baluarte-bft/baluarte/crypto"
)

// ClientConn is one connection of a client to a Server. A client key may have
// several. Its methods are safe for concurrent use.
type ClientConn struct {
	s     *Server
	conn  transport.CapableConn
	st    network.MuxedStream
	key   crypto.PublicKey
	queue *queue
	value atomic.Value // of box

	close   sync.Once
	closing chan struct{}
	reason  string        // set before closing is closed
	gone    bool          // likewise: the client went, and was not sent away
	drained chan struct{} // closed when the reader has ended
}

// box gives all values in an atomic.Value one type.
type box struct{ v any }

func newClientConn(s *Server, conn transport.CapableConn, st network.MuxedStream, key crypto.PublicKey) *ClientConn {
	return &ClientConn{s: s, conn: conn, st: st, key: key,
		queue:   newQueue(s.cfg.Limits.ClientQueueBytes, s.cfg.Limits.ClientQueueFrames),
		closing: make(chan struct{}), drained: make(chan struct{})}
}

// Key returns the client's public key, which the channel is bound to.
func (c *ClientConn) Key() crypto.PublicKey { return c.key }

// RemoteAddr returns the client's address, for logs.
func (c *ClientConn) RemoteAddr() string { return c.conn.RemoteMultiaddr().String() }

// SetValue keeps a value of the handler's with the connection.
func (c *ClientConn) SetValue(v any) { c.value.Store(box{v}) }

// Value returns what SetValue last kept, or nil.
func (c *ClientConn) Value() any {
	b, _ := c.value.Load().(box)
	return b.v
}

// Send queues a frame for the client and never blocks. It returns false, and
// the frame is dropped, if the queue is full, the connection has ended, or the frame
// is empty or longer than Limits.MaxFrameBytes. True promises no delivery. The frame
// must not be changed afterwards.
func (c *ClientConn) Send(frame []byte) bool {
	if len(frame) == 0 || len(frame) > c.s.cfg.Limits.MaxFrameBytes {
		c.queue.reject()
		log.Errorw("frame to client refused: bad length", "bytes", len(frame))
		return false
	}
	return c.queue.push(frame)
}

// Dropped returns how many frames Send dropped.
func (c *ClientConn) Dropped() uint64 {
	_, _, dropped := c.queue.usage()
	return dropped
}

// Close ends the connection in the background. The client is told the reason,
// of which it keeps at most 256 bytes, if it reads within a second; frames still queued are lost.
func (c *ClientConn) Close(reason string) { c.shut(reason, false) }

func (c *ClientConn) shut(reason string, gone bool) {
	c.close.Do(func() {
		c.reason, c.gone = reason, gone
		c.queue.close()
		close(c.closing)
		c.queue.nudge()
	})
}

// serve reads and writes until the stream ends.
func (c *ClientConn) serve() {
	limits := c.s.cfg.Limits
	written := make(chan struct{})
	c.s.ep.wg.Go(func() {
		defer close(written)
		c.write(limits)
	})
	r := newFrameReader(c.st, clientReadBytes, limits.MaxClientFrameBytes, &limits, &c.s.clientGot)
	for {
		frame, err := r.next()
		if err != nil {
			c.end(err)
			break
		}
		select {
		case <-c.closing: // nothing more reaches the handler, but the stream is drained
			continue
		default:
		}
		c.s.cfg.Handler.FromClient(c, frame)
	}
	close(c.drained)
	<-written
	c.s.cfg.Handler.ClientGone(c)
}

// end closes the connection after a failed read. A client that broke the
// framing is told so, and what it still sends is drained meanwhile.
func (c *ClientConn) end(err error) {
	select {
	case <-c.closing:
		logw := c.s.infow
		if c.gone {
			logw = log.Debugw
		}
		logw("client connection closed", "client", c.key.Fingerprint(), "reason", c.reason)
		return
	default:
	}
	c.s.logEnd(err, log.Debugw, "client disconnected", "client", c.key.Fingerprint(), "remote", c.conn.RemoteMultiaddr())
	c.Close(err.Error())
	if errors.Is(err, ErrFrame) {
		drain(c.st)
	}
}

// write sends what is queued until the connection is closed, and then says why.
func (c *ClientConn) write(limits Limits) {
	defer c.s.ep.closeLater(c.conn)
	w := newFrameWriter(c.st, limits.WriteTimeout, clientFlushBytes, &c.s.clientSent)
	if err := w.run(c.queue, limits.KeepAlive, c.closing); err != nil {
		var t interface{ Timeout() bool }
		c.shut("write: "+err.Error(), !errors.As(err, &t) || !t.Timeout())
		return
	}
	w.timeout, w.deadline = time.Second, time.Time{}
	if err := w.goodbye(printable(c.reason)); err != nil {
		return
	}
	// Closing at once could overtake the reason. The reader goes on, and sees the end.
	if err := c.st.CloseWrite(); err != nil {
		return
	}
	select {
	case <-c.drained:
	case <-time.After(time.Second):
	}
}

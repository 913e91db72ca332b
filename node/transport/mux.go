package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// singleStream is libp2p's name for a connection that carries one stream and no more.
const singleStream = "/baluarte/single/1"

// errCut: the other end is gone without closing, as when its process was killed.
var errCut = errors.New("cut off")

// singleMuxer stands where libp2p has a stream muxer. Each of our connections carries one stream, so there is
// nothing to multiplex: bytes go to TLS and come from it on the goroutines that write and read frames. A general
// muxer has a goroutine and a queue of its own for each direction, which is more work than the rest of what a
// small frame costs.
type singleMuxer struct{}

// NewConn makes the stream of a connection: the dialling side opens it, the other one accepts it.
func (singleMuxer) NewConn(nc net.Conn, isServer bool, _ network.PeerScope) (network.MuxedConn, error) {
	return &singleConn{nc: nc, accepts: isServer, gone: make(chan struct{})}, nil
}

// singleConn is a connection of one stream.
type singleConn struct {
	nc      net.Conn
	accepts bool
	once    sync.Once
	gone    chan struct{} // closed by Close

	mu   sync.Mutex
	used bool // the stream has been handed out
}

// Close ends the connection and its stream.
func (c *singleConn) Close() error {
	c.once.Do(func() { close(c.gone) })
	return c.nc.Close()
}

// CloseWithError is Close: there is nowhere to write the code.
func (c *singleConn) CloseWithError(network.ConnErrorCode) error { return c.Close() }

// IsClosed tells whether Close was called.
func (c *singleConn) IsClosed() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

func (c *singleConn) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	free := !c.used
	c.used = true
	return free
}

var errOneStream = errors.New("transport: the connection has one stream, which the dialling side opens once")

// OpenStream returns the stream, once, at the dialling side.
func (c *singleConn) OpenStream(context.Context) (network.MuxedStream, error) {
	if c.accepts || !c.take() {
		return nil, errOneStream
	}
	return &stream{Conn: c.nc, conn: c}, nil
}

// AcceptStream returns the stream, once, at the accepting side. After that it waits for the end of the connection.
func (c *singleConn) AcceptStream() (network.MuxedStream, error) {
	if c.accepts && c.take() {
		return &stream{Conn: c.nc, conn: c}, nil
	}
	<-c.gone
	return nil, net.ErrClosed
}

// As finds no other type.
func (*singleConn) As(any) bool { return false }

// stream is the one stream of a connection. Ending it ends the connection.
type stream struct {
	net.Conn
	conn *singleConn
}

// Read reads what has arrived. The end is io.EOF only if the other side has closed.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if err == io.ErrUnexpectedEOF {
		err = errCut
	}
	return n, err
}

func (s *stream) Close() error { return s.conn.Close() }

// CloseWrite tells the other side that nothing more comes.
func (s *stream) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return s.Close()
}

// CloseRead lets reads fail from now on.
func (s *stream) CloseRead() error { return s.SetReadDeadline(time.Unix(1, 0)) }

func (s *stream) Reset() error { return s.conn.Close() }

// ResetWithError is Reset: there is nowhere to write the code.
func (s *stream) ResetWithError(network.StreamErrorCode) error { return s.Reset() }

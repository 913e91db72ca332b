package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// fairListener closes at once the connections of a source that has more than its share. Those of users are counted as theirs
// from their first request on, so that users at one address, such as that of a proxy, have shares of their own.
type fairListener struct {
	net.Listener
	shares  *shares
	refused func()
}

// Accept waits for a connection within the share of its source.
func (l *fairListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		h := holder{source(c.RemoteAddr().String())}
		if l.shares.take(h, 1) == nil {
			return &sharedConn{Conn: c, shares: l.shares, holder: h}, nil
		}
		l.refused()
		c.Close()
	}
}

// sharedConn is a connection that is counted.
type sharedConn struct {
	net.Conn
	shares *shares

	mu     sync.Mutex
	holder holder // nil once it is closed
}

// Close closes the connection and gives its place back.
func (c *sharedConn) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holder != nil {
		c.shares.give(c.holder, 1)
		c.holder = nil
	}
	return err
}

// isOf has the connection count for an account from now on. The error says that the account has its share already.
func (c *sharedConn) isOf(a *account) *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holder == nil || c.holder[0] == a.Name {
		return nil
	}
	to := holder{a.Name}
	err := c.shares.move(c.holder, to, 1)
	if err == nil {
		c.holder = to
	}
	return err
}

type connKey struct{}

// withConn has the requests on a connection know it.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// countConnection has the connection of a user's request count as the user's. One that is too much is closed with the answer.
func (g *Gateway) countConnection(c *call, a *account) error {
	conn, ok := c.r.Context().Value(connKey{}).(*sharedConn)
	if !ok || a == g.anonymous {
		return nil
	}
	if err := conn.isOf(a); err != nil {
		c.w.Header().Set("Connection", "close")
		return err
	}
	return nil
}

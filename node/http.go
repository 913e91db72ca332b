package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	httpTimeout  = 5 * time.Second
	httpMaxConns = 64
)

// httpServer serves metrics and health. It has no authentication, so it belongs on loopback.
type httpServer struct {
	listener net.Listener
	server   *http.Server
	done     chan struct{}
	serving  bool
}

func listenHTTP(addr string) (*httpServer, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w (metrics and health: http in config.yaml)", portInUse(addr, err))
	}
	return &httpServer{listener: l, done: make(chan struct{})}, nil
}

func (h *httpServer) addr() string { return h.listener.Addr().String() }

func (h *httpServer) serve(n *Node) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: httpTimeout}))
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(n.statusJSON(), '\n')) // the other end may be gone
	})
	// Healthy: the process turns. Restarting it would help if it did not.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if now := n.now(); now-n.lastBeat() > unresponsiveAfter {
			http.Error(w, "the core is stuck", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	// Ready: it takes part. A replica that waits for its peers is healthy and not ready.
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s := n.Status(); s.State != StateActive {
			http.Error(w, s.State+": "+s.Why, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	h.server = &http.Server{Handler: mux, ReadTimeout: httpTimeout, ReadHeaderTimeout: httpTimeout,
		WriteTimeout: 2 * httpTimeout, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	h.serving = true
	go func() {
		defer close(h.done)
		if err := h.server.Serve(&limitListener{Listener: h.listener, slots: make(chan struct{}, httpMaxConns)}); !errors.Is(err, http.ErrServerClosed) {
			log.Errorf("metrics and health are not served any more: %v", err)
		}
	}()
}

func (h *httpServer) close() error {
	if !h.serving {
		return h.listener.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := h.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = h.server.Close()
	}
	<-h.done
	return err
}

// limitListener closes connections beyond a number at once.
type limitListener struct {
	net.Listener
	slots chan struct{}
}

// Accept waits for a connection within the limit.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &limitConn{Conn: c, slots: l.slots}, nil
		default:
			_ = c.Close() // refused
		}
	}
}

type limitConn struct {
	net.Conn
	slots chan struct{}
	once  onceFlag
}

// Close gives the place back, once.
func (c *limitConn) Close() error {
	if c.once.first() {
		<-c.slots
	}
	return c.Conn.Close()
}

// Package proxy passes TCP connections on with a delay, as a longer line would: what is under way does
// not hold up what follows it, so that the delay alone grows and the throughput does not shrink,
// until as many bytes are under way as a bound allows. It can also lose or hold what one side sends.
//
// It knows nothing of what the bytes mean. Replicas that talk through it keep their TLS from end to end.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultBufferBytes is Config.BufferBytes if that is 0: 200 ms of 160 MB/s.
	DefaultBufferBytes = 32 << 20
	// readBytes is the most that one read takes, and entryBytes what a waiting piece costs beside its bytes.
	readBytes  = 64 << 10
	entryBytes = 64
	// dialTimeout bounds the connecting to the target.
	dialTimeout = 5 * time.Second
	// closeLinger is how long the end of a connection may take to reach the other side.
	closeLinger = time.Second
)

// Delays are those of one link: Forward of what its dialling side sends, Back of what comes in return.
// Both must not be negative.
type Delays struct{ Forward, Back time.Duration }

// Config says what a Proxy connects.
type Config struct {
	// Listen is the address to listen on; empty means a free port of the loopback address.
	Listen string
	// Target is the address to which connections are passed on.
	Target string
	// Delays are those at the beginning.
	Delays Delays
	// BufferBytes bounds what is under way in each direction of each connection; beyond it the proxy reads
	// no further, which is back-pressure. 0 means DefaultBufferBytes.
	BufferBytes int
}

// Proxy passes on the connections to one address. Its methods may be called by any goroutine.
type Proxy struct {
	listener net.Listener
	target   string
	buffer   int
	// Nanoseconds.
	forward, back atomic.Int64
	bytes         [2]atomic.Uint64
	read          [2]atomic.Uint64
	loses         [2]atomic.Bool
	holds         [2]atomic.Pointer[chan struct{}] // closed when nothing is held any more

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  map[*net.TCPConn]*atomic.Bool // whether bytes of it were lost
	closed bool
}

// Listen starts a proxy. The error says why the address cannot be listened on, or that c has no target
// or a negative bound.
func Listen(c Config) (*Proxy, error) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.BufferBytes == 0 {
		c.BufferBytes = DefaultBufferBytes
	}
	switch {
	case c.Target == "":
		return nil, errors.New("proxy: no target: name the address to pass connections on to")
	case c.BufferBytes < 0 || c.Delays.Forward < 0 || c.Delays.Back < 0:
		return nil, errors.New("proxy: buffer and delays must not be negative")
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{listener: l, target: c.Target, buffer: c.BufferBytes, conns: map[*net.TCPConn]*atomic.Bool{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.SetDelays(c.Delays)
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is the address that the proxy listens on.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetDelays changes the delays of what is read from now on, of all connections. Bytes never overtake
// others: after a shorter delay was set, they wait for those before them.
func (p *Proxy) SetDelays(d Delays) {
	p.forward.Store(int64(max(0, d.Forward)))
	p.back.Store(int64(max(0, d.Back)))
}

// Lose has all bytes lost, from now on, that would leave towards the target, or back: of all connections, as if that
// direction of the line were dead. A TCP connection does not survive the loss of bytes: those that it has hit are reset
// once nothing is lost any more.
func (p *Proxy) Lose(forward, back bool) {
	p.loses[0].Store(forward)
	p.loses[1].Store(back)
	if forward || back {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, lost := range p.conns {
		if lost.Load() {
			reset(c)
		}
	}
}

// Hold has all bytes wait, from now on, that would leave towards the target, or back, until nothing is held any more.
// What one side sent before it ended arrives then all the same.
func (p *Proxy) Hold(forward, back bool) {
	for i, hold := range []bool{forward, back} {
		var gate *chan struct{}
		if hold {
			c := make(chan struct{})
			gate = &c
		}
		if old := p.holds[i].Swap(gate); old != nil {
			close(*old)
		}
	}
}

// UnderWay is the number of bytes that were read and have not left, towards the target and back.
func (p *Proxy) UnderWay() (forward, back uint64) {
	return p.read[0].Load() - p.bytes[0].Load(), p.read[1].Load() - p.bytes[1].Load()
}

// open waits until nothing is held in a direction, or fails when the connection ends before.
func (p *Proxy) open(ctx context.Context, direction int) error {
	for {
		gate := p.holds[direction].Load()
		if gate == nil {
			return nil
		}
		select {
		case <-*gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Passed is the number of bytes that have left towards the target, and back, those that were lost included.
func (p *Proxy) Passed() (forward, back uint64) { return p.bytes[0].Load(), p.bytes[1].Load() }

// Close ends listening and all connections; what is under way is lost. It returns once all has ended.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		reset(c)
	}
	p.mu.Unlock()
	p.wg.Wait()
	return err
}

// reset ends a connection at once, in such a way that the other side hears of it.
func reset(c *net.TCPConn) {
	// Errors mean that it has ended.
	_ = c.SetLinger(0)
	_ = c.Close()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			if p.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Such as too many open files, which ends.
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-p.ctx.Done():
				return
			}
		}
		p.wg.Go(func() { p.serve(c.(*net.TCPConn)) })
	}
}

// keep has Close end the connection; false if the proxy has closed.
func (p *Proxy) keep(c *net.TCPConn, lost *atomic.Bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		reset(c)
		return false
	}
	p.conns[c] = lost
	return true
}

func (p *Proxy) forget(c *net.TCPConn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// serve passes on one connection until both directions have ended, or one has failed.
func (p *Proxy) serve(from *net.TCPConn) {
	lost := new(atomic.Bool)
	if !p.keep(from, lost) {
		return
	}
	defer p.forget(from)
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		// As if nobody listened: the dialling side learns it at once.
		reset(from)
		return
	}
	to := c.(*net.TCPConn)
	if !p.keep(to, lost) {
		reset(from)
		return
	}
	defer p.forget(to)
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	var both sync.WaitGroup
	broken := func() {
		cancel() // nor does the other direction wait any longer
		reset(from)
		reset(to)
	}
	both.Go(func() { p.pump(ctx, to, from, &p.forward, &p.read[0], p.passing(ctx, 0, to, lost), broken) })
	both.Go(func() { p.pump(ctx, from, to, &p.back, &p.read[1], p.passing(ctx, 1, from, lost), broken) })
	both.Wait()
	// Both ends have been told in order.
	_ = from.SetLinger(int(closeLinger.Seconds()))
	_ = from.Close()
	_ = to.SetLinger(int(closeLinger.Seconds()))
	_ = to.Close()
}

var errLost = errors.New("proxy: bytes before these were lost")

// passing returns the function that writes in one direction of a connection, or loses.
func (p *Proxy) passing(ctx context.Context, direction int, to *net.TCPConn, lost *atomic.Bool) func([]byte) error {
	hole := false
	return func(b []byte) error {
		if err := p.open(ctx, direction); err != nil {
			return err
		}
		if p.loses[direction].Load() {
			hole = true
			lost.Store(true)
			p.bytes[direction].Add(uint64(len(b)))
			return nil
		}
		if hole {
			return errLost
		}
		n, err := to.Write(b)
		p.bytes[direction].Add(uint64(n))
		return err
	}
}

// pump passes one direction on until its end, which it passes on too.
func (p *Proxy) pump(ctx context.Context, to, from *net.TCPConn, delay *atomic.Int64, read *atomic.Uint64, write func([]byte) error, broken func()) {
	line := newLine(p.buffer)
	var reader sync.WaitGroup
	reader.Go(func() {
		buf := make([]byte, readBytes)
		for {
			n, err := from.Read(buf)
			read.Add(uint64(n))
			if n > 0 && !line.put(buf[:n], time.Now().Add(time.Duration(delay.Load()))) {
				return
			}
			if err != nil {
				line.end(isEnd(err), time.Now().Add(time.Duration(delay.Load())))
				return
			}
		}
	})
	whole := line.drain(ctx.Done(), write)
	if !whole || to.CloseWrite() != nil {
		line.stop()
		broken()
	}
	reader.Wait()
}

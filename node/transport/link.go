package transport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"

	"github.com/baluarte-bft/baluarte/crypto"
)

// link is the dialling end of one long-lived stream to one replica: it dials,
// says hello, writes what is queued, and starts again whenever that ends.
type link struct {
	ep      *endpoint
	replica int
	id      peer.ID
	addrs   []address
	prefix  string // of the protocol
	queue   *queue
	maxOut  int // longest frame to send, bytes
	flush   int // bytes gathered for one write

	// onState is told of every change, and of every attempt that failed in
	// another way than the one before it. onFrame gets what arrives; nil means
	// that nothing may. Both run on the link's goroutines, one at a time each.
	onState func(up bool, err error)
	onFrame func(frame []byte)

	told       atomic.Bool // the state last passed on by the server
	sent, got  traffic
	connected  atomic.Uint64 // times
	kicked     chan struct{} // of capacity 1
	mu         sync.Mutex
	up         bool
	lastErr    error
	hold       *time.Timer        // shuts the queue while down
	dialSince  time.Time          // of the attempt under way
	dialCancel context.CancelFunc // nil between attempts
}

func newLink(ep *endpoint, replica int, m Member, prefix string) (*link, error) {
	id, err := peerID(m.Key)
	if err != nil {
		return nil, fmt.Errorf("transport: key of replica %d: %w", replica, err)
	}
	l := &link{ep: ep, replica: replica, id: id, prefix: prefix, kicked: make(chan struct{}, 1), lastErr: ErrNotConnected}
	for _, s := range m.Addrs {
		a, err := parseAddress(s)
		if err != nil {
			return nil, fmt.Errorf("replica %d: %w", replica, err)
		}
		l.addrs = append(l.addrs, a)
	}
	if len(l.addrs) == 0 {
		return nil, fmt.Errorf("transport: replica %d has no address", replica)
	}
	if prefix == replicaProtocol {
		l.queue = newQueue(ep.limits.PeerQueueBytes, ep.limits.PeerQueueFrames)
		l.maxOut, l.flush = ep.limits.MaxFrameBytes, peerFlushBytes
	} else {
		l.queue = newQueue(ep.limits.ClientQueueBytes, ep.limits.ClientQueueFrames)
		l.maxOut, l.flush = ep.limits.MaxClientFrameBytes, clientFlushBytes
	}
	return l, nil
}

// send queues a frame. A length that the other end would refuse is refused here.
func (l *link) send(frame []byte) bool {
	if len(frame) == 0 || len(frame) > l.maxOut {
		l.queue.reject()
		log.Errorw("frame to replica refused: bad length", "replica", l.replica, "bytes", len(frame), "max", l.maxOut)
		return false
	}
	return l.queue.push(frame)
}

// kickGap is the least time between two attempts when the replica itself is heard of.
const kickGap = 50 * time.Millisecond

// run keeps the link up until ctx ends.
func (l *link) run(ctx context.Context) {
	l.holdQueue()
	defer l.stopQueue()
	wait := l.ep.limits.ReconnectMin
	for {
		began := time.Now()
		lived, err := l.session(ctx)
		if ctx.Err() != nil {
			l.down(ErrClosed)
			return
		}
		l.down(err)
		if lived >= l.ep.limits.ReconnectMax {
			wait = l.ep.limits.ReconnectMin
		}
		select {
		case <-time.After(wait/2 + rand.N(wait/2+1)):
			wait = min(2*wait, l.ep.limits.ReconnectMax)
		case <-l.kicked:
			// It is back. Still no dial at the mere rate of its dials.
			wait = l.ep.limits.ReconnectMin
			select {
			case <-time.After(time.Until(began.Add(kickGap))):
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
	}
}

// kick makes a link that is down redial at once: its replica was heard of.
// An attempt that has been hanging is started over.
func (l *link) kick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up {
		return
	}
	if l.dialCancel != nil {
		if time.Since(l.dialSince) < 500*time.Millisecond {
			return
		}
		l.dialCancel()
	}
	select {
	case l.kicked <- struct{}{}:
	default:
	}
}

// session is one connection: from dialling to its end. It returns how long it
// lived after the hello, and why it ended.
func (l *link) session(ctx context.Context) (lived time.Duration, err error) {
	conn, st, err := l.connect(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	l.setUp()
	var readErr error
	broken := make(chan struct{})
	l.ep.wg.Go(func() {
		readErr = l.read(st)
		close(broken)
		l.queue.nudge()
	})
	defer l.ep.closeOn(ctx, conn)()
	w := newFrameWriter(st, l.ep.limits.WriteTimeout, l.flush, &l.sent)
	err = w.run(l.queue, l.ep.limits.KeepAlive, broken)
	l.ep.closeLater(conn)
	<-broken
	if err == nil || isRefusal(readErr) {
		err = readErr
	}
	if !isRefusal(err) {
		err = fmt.Errorf("connection lost: %w", err)
	}
	return time.Since(began), err
}

// connect dials and says hello.
func (l *link) connect(ctx context.Context) (transport.CapableConn, network.MuxedStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	l.dialSince, l.dialCancel = time.Now(), cancel
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dialCancel = nil
	}()
	conn, err := l.ep.dial(ctx, l.addrs, l.id)
	if err != nil {
		return nil, nil, err
	}
	keep := l.ep.closeOn(ctx, conn)
	st, err := conn.OpenStream(ctx)
	if err == nil {
		err = sayHello(st, l.prefix, l.ep.version, l.ep.cluster, l.ep.limits.HelloTimeout)
	}
	if !keep() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		l.ep.closeLater(conn)
		return nil, nil, err
	}
	return conn, st, nil
}

// signBytes is the read buffer of a stream on which only signs of life arrive.
const signBytes = 64

// read passes on what arrives until the stream ends; it never returns nil.
func (l *link) read(st network.MuxedStream) error {
	if l.onFrame == nil {
		_, err := newFrameReader(st, signBytes, 0, &l.ep.limits, &l.got).next()
		return err
	}
	r := newFrameReader(st, clientReadBytes, l.ep.limits.MaxFrameBytes, &l.ep.limits, &l.got)
	r.goodbye = true
	for {
		frame, err := r.next()
		if err != nil {
			return err
		}
		l.onFrame(frame)
	}
}

// holdQueue keeps what is queued for HoldTimeout more, unless the link comes up.
func (l *link) holdQueue() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = time.AfterFunc(l.ep.limits.HoldTimeout, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.up {
			l.queue.close()
		}
	})
}

// stopQueue drops what is queued, for good.
func (l *link) stopQueue() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold.Stop()
	l.queue.close()
}

func (l *link) setUp() {
	l.mu.Lock()
	l.up, l.lastErr = true, nil
	l.hold.Stop()
	l.queue.open()
	select { // a kick that came too late
	case <-l.kicked:
	default:
	}
	l.mu.Unlock()
	l.connected.Add(1)
	log.Infow("connected to replica", "replica", l.replica, "protocol", protocolID(l.prefix, l.ep.version))
	l.onState(true, nil)
}

// down records why the link is down, and tells if that is news.
func (l *link) down(err error) {
	l.mu.Lock()
	was, news := l.up, l.lastErr == nil || l.lastErr.Error() != err.Error()
	l.up, l.lastErr = false, err
	l.mu.Unlock()
	if was {
		l.holdQueue()
	}
	if was || news {
		logw := log.Infow
		if errors.Is(err, ErrClosed) { // of one's own will
			logw = log.Debugw
		}
		logw("not connected to replica", "replica", l.replica, "protocol", protocolID(l.prefix, l.ep.version), "was", was, "error", err)
		l.onState(false, err)
	}
}

// state returns whether the link is up, and why not.
func (l *link) state() (up bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up, l.lastErr
}

// memberKeys maps the keys of the members to replica IDs.
func memberKeys(members []Member) (map[crypto.PublicKey]int, error) {
	keys := make(map[crypto.PublicKey]int)
	for i, m := range members {
		if _, dup := keys[m.Key]; dup {
			return nil, fmt.Errorf("transport: two members have the key of replica %d", i)
		}
		if _, err := peerID(m.Key); err != nil {
			return nil, fmt.Errorf("transport: key of replica %d: %w", i, err)
		}
		keys[m.Key] = i
	}
	return keys, nil
}

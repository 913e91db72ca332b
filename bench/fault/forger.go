package fault

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/transport"
)

const (
	// forgedBundles is how many different bundles a Forger sends in turn. Those that are refused are
	// forgotten, so that they cost as much when they come again.
	forgedBundles = 4096
	// forgedFor is how long a session that they would open could be opened.
	forgedFor = 30 * time.Second
	// fullPause is how long a Forger waits while no replica takes more.
	fullPause = time.Millisecond
	// forgerQueueFrames bounds what waits in the Forger itself for one replica.
	forgerQueueFrames = 512
)

// Forger is a client that sends bundles of the right form with signatures that do not hold, to all replicas on its own
// channels, as fast as they take them. It connects again whenever it is cut off. Finding out costs a replica a
// whole verification: the signature is one that holds for other bytes.
type Forger struct {
	net    *transport.Client
	n      int
	frames [][]byte
	sent   atomic.Uint64
	cut    atomic.Uint64

	mu     sync.Mutex
	up     []bool
	reason string
}

// NewForger makes a Forger with a new key, which connects at once and sends nothing before Run. The service
// is one that the cluster hosts.
func NewForger(m *config.Manifest, service string) (*Forger, error) {
	key, err := crypto.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	f := &Forger{n: len(m.Members), frames: forge(m.ID(), key, service), up: make([]bool, len(m.Members))}
	members := make([]transport.Member, f.n)
	for i, x := range m.Members {
		members[i] = transport.Member{Key: x.Key.PublicKey, Addrs: x.Addresses}
	}
	f.net, err = transport.Dial(transport.ClientConfig{Key: key, Cluster: m.ID(), Members: members, State: f.state,
		Receive: func(int, []byte) {}, Limits: transport.Limits{ClientQueueFrames: forgerQueueFrames, ReconnectMax: 500 * time.Millisecond}})
	return f, err
}

// forge makes the frames.
func forge(cluster crypto.Digest, key *crypto.PrivateKey, service string) [][]byte {
	b := bft.Bundle{Client: key.Public(), First: 1, AnsweredBelow: 1, NotAfter: bft.Time(time.Now().Add(forgedFor).UnixNano()),
		Ops: [][]byte{exec.EncodeOp(service, false, nil)}}
	b.Signature = key.Sign(bft.RequestSigningBytes(cluster, []byte("another payload")))
	frames := make([][]byte, forgedBundles)
	for i := range frames {
		binary.LittleEndian.PutUint64(b.Nonce[:], uint64(i)+1)
		b.Payload = bft.EncodeBundle(&b)
		frames[i] = bft.RequestFrame(&b, bft.Everyone)
	}
	return frames
}

func (f *Forger) state(replica int, up bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.up[replica] && !up {
		f.cut.Add(1)
		if err != nil {
			f.reason = fmt.Sprintf("replica %d: %v", replica, err)
		}
	}
	f.up[replica] = up
}

// Run sends until ctx ends.
func (f *Forger) Run(ctx context.Context) {
	next := make([]int, f.n)
	for ctx.Err() == nil {
		taken := false
		for i := range next {
			if f.net.Send(i, f.frames[next[i]]) {
				next[i] = (next[i] + 1) % len(f.frames)
				f.sent.Add(1)
				taken = true
			}
		}
		if !taken {
			select {
			case <-time.After(fullPause):
			case <-ctx.Done():
			}
		}
	}
}

// Sent is the number of bundles that were handed to connections, each replica counted apart.
func (f *Forger) Sent() uint64 { return f.sent.Load() }

// CutOff is how often a replica ended a connection, and why the last time.
func (f *Forger) CutOff() (times uint64, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cut.Load(), f.reason
}

// Connected is the number of replicas that the Forger is connected to.
func (f *Forger) Connected() int {
	n := 0
	for _, up := range f.net.Connected() {
		if up {
			n++
		}
	}
	return n
}

// Why is why replica i is not connected; nil if it is.
func (f *Forger) Why(i int) error {
	if i < 0 || i >= f.n {
		return errors.New("fault: no such replica")
	}
	return f.net.LastError(i)
}

// Close ends all connections.
func (f *Forger) Close() { f.net.Close() }

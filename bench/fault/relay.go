package fault

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// heldBytes bounds the pre-prepares for one member that a Relay holds back.
const heldBytes = 64 << 20

// loopback is where a Relay listens.
const loopback = "127.0.0.1:0"

// RelayConfig says between whom a Relay stands.
type RelayConfig struct {
	// Cluster is the id of the cluster.
	Cluster crypto.Digest
	// Self is the index of the replica whose pre-prepares are held back.
	Self int
	// Keys are those of all members: the Relay takes the place of each.
	Keys []*crypto.PrivateKey
	// Addrs are the addresses at which the members listen.
	Addrs [][]string
	// Delay is how long each pre-prepare is held back.
	Delay *Delay
}

// Relay stands between one replica and the other members, on the connections on which that replica sends. For each
// of the others it listens with that member's identity, and passes what comes on to the member itself
// with the replica's: at once, or after the delay if it is a pre-prepare, so that these arrive late and in order
// and all else as ever. Held back are those of all views; what is within a new-view is not.
//
// What the members send to the replica does not pass here, as each direction has a connection of its own.
// Towards the replica every member seems connected: what cannot be passed on is dropped here.
type Relay struct {
	delay   *Delay
	peers   []*relayPeer // nil for the replica itself
	forward *transport.Server
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	held    atomic.Uint64
	passed  atomic.Uint64
}

// relayPeer is the Relay in the place of one member.
type relayPeer struct {
	relay  *Relay
	id     int
	server *transport.Server
	held   chan heldFrame
	size   atomic.Int64 // bytes of held
	room   chan struct{}
}

type heldFrame struct {
	frame []byte
	due   time.Time
}

// NewRelay starts a relay. The caller closes it.
func NewRelay(c RelayConfig) (*Relay, error) {
	if c.Self < 0 || c.Self >= len(c.Keys) || len(c.Addrs) != len(c.Keys) || c.Delay == nil {
		return nil, errors.New("fault: a relay needs the key and addresses of every member, and a delay")
	}
	r := &Relay{delay: c.Delay, peers: make([]*relayPeer, len(c.Keys))}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	limits := transport.Limits{MaxFrameBytes: bft.MaxFrameBytes, ClientQueueBytes: 2 * bft.MaxFrameBytes}
	members := make([]transport.Member, len(c.Keys))
	for i := range members {
		members[i] = transport.Member{Key: c.Keys[i].Public(), Addrs: c.Addrs[i]}
	}
	var err error
	r.forward, err = transport.Listen(transport.ServerConfig{Key: c.Keys[c.Self], Self: c.Self, Cluster: c.Cluster, Members: members,
		Listen: []string{loopback}, AdmitClient: nobody, Handler: silent{}, Limits: limits})
	if err != nil {
		return nil, err
	}
	for i := range members {
		if i == c.Self {
			continue
		}
		p := &relayPeer{relay: r, id: i, held: make(chan heldFrame, 1<<12), room: make(chan struct{}, 1)}
		// A server dials its members. This one knows of one only, and finds in its place the relay's other end.
		pair := []transport.Member{members[i], {Key: members[c.Self].Key, Addrs: r.forward.Addrs()}}
		p.server, err = transport.Listen(transport.ServerConfig{Key: c.Keys[i], Self: 0, Cluster: c.Cluster, Members: pair,
			Listen: []string{loopback}, AdmitClient: nobody, Handler: p, Limits: limits})
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.peers[i] = p
		r.wg.Go(p.release)
	}
	return r, nil
}

// Addrs are what the replica takes for the addresses of the members; none for itself.
func (r *Relay) Addrs() [][]string {
	addrs := make([][]string, len(r.peers))
	for i, p := range r.peers {
		if p != nil {
			addrs[i] = p.server.Addrs()
		}
	}
	return addrs
}

// Frames is how many frames were held back, and how many passed at once, so far.
func (r *Relay) Frames() (held, passed uint64) { return r.held.Load(), r.passed.Load() }

// Close ends the relay; what it holds back is lost.
func (r *Relay) Close() error {
	r.cancel()
	var errs []error
	for _, p := range r.peers {
		if p != nil {
			errs = append(errs, p.server.Close())
		}
	}
	r.wg.Wait()
	return errors.Join(append(errs, r.forward.Close())...)
}

// FromPeer passes on a frame of the replica. Once too much is held back it blocks, which is back-pressure on
// the replica's link to this member.
func (p *relayPeer) FromPeer(_ int, frame []byte) {
	r := p.relay
	if bft.MessageType(frame[0]) != bft.TypePrePrepare {
		r.passed.Add(1)
		r.forward.Send(p.id, frame) // drops what there is no room for, as the replica itself would
		return
	}
	due := time.Now().Add(r.delay.Get())
	for p.size.Load() > 0 && p.size.Load()+int64(len(frame)) > heldBytes {
		select {
		case <-p.room:
		case <-r.ctx.Done():
			return
		}
	}
	p.size.Add(int64(len(frame)))
	select {
	case p.held <- heldFrame{frame, due}:
		r.held.Add(1)
	case <-r.ctx.Done():
	}
}

// release passes on what was held back, each at its time.
func (p *relayPeer) release() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var x heldFrame
		select {
		case x = <-p.held:
		case <-p.relay.ctx.Done():
			return
		}
		if wait := time.Until(x.due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-p.relay.ctx.Done():
				return
			}
		}
		p.relay.forward.Send(p.id, x.frame)
		p.size.Add(-int64(len(x.frame)))
		select {
		case p.room <- struct{}{}:
		default:
		}
	}
}

// FromClient has nothing to do: no client is admitted.
func (*relayPeer) FromClient(*transport.ClientConn, []byte) {}

// PeerState has nothing to do: that is the relay's own other end.
func (*relayPeer) PeerState(int, bool) {}

// ClientGone has nothing to do.
func (*relayPeer) ClientGone(*transport.ClientConn) {}

// silent is the handler of the relay's end that only sends.
type silent struct{}

func (silent) FromPeer(int, []byte)                     {}
func (silent) FromClient(*transport.ClientConn, []byte) {}
func (silent) PeerState(int, bool)                      {}
func (silent) ClientGone(*transport.ClientConn)         {}

// nobody admits no client.
func nobody(crypto.PublicKey) error { return errors.New("a relay of a measurement serves no clients") }

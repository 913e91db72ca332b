package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/discovery"
	"github.com/baluarte-bft/baluarte/node/receipt"
	"github.com/baluarte-bft/baluarte/node/trace"
	"github.com/baluarte-bft/baluarte/node/transport"
	"github.com/baluarte-bft/baluarte/node/verify"
)

// Frames of the host, beside those of package bft: a question without a body, and its answer, a
// Status in JSON. Clients and members may ask. Members send each other heartbeats. A client may ask who is active, and is told
// whenever that changes: 8 bytes, big-endian, bit i set if the replica holds member i for active.
const (
	FrameStatusRequest  = 0x80
	FrameStatus         = 0x81
	FrameHeartbeat      = 0x82
	FrameMembersRequest = 0x83
	FrameMembers        = 0x84
)

func membersFrame(active uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{FrameMembers}, active)
}

const (
	// quarantineTime is how long the frames of a peer are dropped after one that no honest
	// peer sends: it costs work to find out.
	quarantineTime = 2 * time.Second
	// verifyClaims bounds the signatures that wait to be verified.
	verifyClaims = 1 << 14
	// verifyRemember is how many verified signatures are remembered.
	verifyRemember = 1 << 14
)

// peer is what the host knows of another member.
type peer struct {
	heard      atomic.Int64 // logical time of the last frame from it, 0: none
	up         atomic.Bool  // frames to it travel
	quarantine atomic.Int64 // logical time until which its frames are dropped
	invalid    atomic.Uint64
	dropped    atomic.Uint64
	late       atomic.Uint64 // votes that nobody needed any more
}

// handler is the node as the transport sees it. Its methods run on the readers of streams.
type handler struct{ n *Node }

// PeerState notes whether frames to a peer travel.
func (h handler) PeerState(id int, up bool) {
	<-h.n.up
	h.n.peers[id].up.Store(up)
	h.n.watch.wired(id, up)
	if up {
		log.Infof("connected to %s", h.n.opts.Names[id])
	} else {
		log.Warnf("lost the connection to %s", h.n.opts.Names[id])
	}
	h.n.tellQuorum()
}

// FromPeer decodes a frame of a member and has it verified.
func (h handler) FromPeer(id int, frame []byte) {
	n, p := h.n, &h.n.peers[id]
	<-n.up
	now := n.now()
	p.heard.Store(int64(now))
	n.watch.heard(id)
	if int64(now) < p.quarantine.Load() {
		p.dropped.Add(1)
		return
	}
	if frame[0] == FrameStatusRequest {
		n.net.Send(id, n.statusFrame())
		return
	}
	if frame[0] == FrameHeartbeat {
		if err := n.watch.heartbeat(id, frame); err != nil {
			n.accuse(id, err)
		}
		return
	}
	kind := bft.MessageType(frame[0])
	if n.behind.Load() && kind != bft.TypeStatus && kind != bft.TypeFetch {
		p.dropped.Add(1)
		return
	}
	u, err := n.checker.FromPeer(bft.ReplicaID(id), frame)
	if err != nil {
		n.accuse(id, err)
		return
	}
	if n.lateVotes(u) {
		p.late.Add(1)
		return
	}
	if kind == bft.TypeVotes && !n.demand.needs(id, len(frame), u, bft.View(n.view.Load())) {
		return
	}
	n.verify(id, len(frame), u, true)
}

// verify has the signatures of a message verified, perhaps on this goroutine if inline is set.
func (n *Node) verify(id, size int, u *bft.Unverified, inline bool) {
	claims := u.Claims()
	if len(claims) == 0 {
		n.accept(id, size, u, nil)
		return
	}
	if !n.verifier.Submit(verify.Job{Claims: claims, Done: func(valid []bool) { n.accept(id, size, u, valid) }}, inline) {
		n.peers[id].dropped.Add(1)
	}
}

// accept hands a message with its verdicts to the core.
func (n *Node) accept(id, size int, u *bft.Unverified, valid []bool) {
	v, err := u.Accept(valid)
	if err != nil {
		n.accuse(id, err)
		if u.Type() == bft.TypeVotes {
			n.demand.forget(id)
			n.verifyVotes(n.demand.release())
		}
		return
	}
	if !n.inbox.add(input{msg: v, from: id, size: size}) {
		n.peers[id].dropped.Add(1)
	}
}

// accuse notes that a peer sent what no honest one sends, and does not listen to it for a while.
func (n *Node) accuse(id int, err error) {
	if !errors.Is(err, bft.ErrInvalid) {
		n.peers[id].dropped.Add(1)
		return
	}
	p := &n.peers[id]
	p.invalid.Add(1)
	p.quarantine.Store(int64(n.now()) + int64(quarantineTime))
	log.Warnf("%s sent what no correct replica sends, its frames are dropped for %v: %v", n.opts.Names[id], quarantineTime, err)
}

// FromClient takes a request, query or question of a client.
func (h handler) FromClient(c *transport.ClientConn, frame []byte) {
	n := h.n
	<-n.up
	switch frame[0] {
	case FrameStatusRequest:
		c.Send(n.statusFrame())
	case FrameMembersRequest:
		n.watch.subscribe(c)
	case discovery.FrameManifestRequest:
		if len(n.opts.Manifest) > 0 {
			c.Send(append([]byte{discovery.FrameManifest}, n.opts.Manifest...))
		}
	case receipt.FrameAsk:
		if err := n.receipt(c, frame); err != nil {
			c.Close(err.Error())
		}
	case trace.FrameCall:
		if err := h.tracedFrame(c, frame); err != nil {
			c.Close(err.Error())
		}
	case trace.FrameAsk:
		if id, err := trace.ParseAsk(frame); err != nil {
			c.Close(err.Error())
		} else if told := n.tracer.told(c.Key(), id); told != nil {
			c.Send(told)
		}
	default:
		if err := h.call(c, frame, nil); err != nil {
			c.Close(err.Error())
		}
	}
}

// call takes a request or query; tag is set if the client wants it traced. An error is one that no correct
// client makes.
func (h handler) call(c *transport.ClientConn, frame []byte, tag *callTag) error {
	switch frame[0] {
	case byte(bft.TypeRequest):
		return h.n.request(c, frame, tag)
	case byte(bft.TypeQuery):
		return h.n.query(c, frame, tag)
	}
	return fmt.Errorf("a client sends no frames of type %d", frame[0])
}

// ClientGone is called when a connection has ended. Its routes age.
func (h handler) ClientGone(c *transport.ClientConn) {
	<-h.n.up
	h.n.watch.unsubscribe(c)
}

// request takes a bundle from its client. An error is one that no correct client makes.
func (n *Node) request(c *transport.ClientConn, frame []byte, tag *callTag) error {
	u, err := n.checker.FromClient(c.Key(), frame)
	if err != nil {
		n.metrics.badRequests.Inc()
		return err
	}
	v, err := u.Accept(nil)
	if err != nil {
		return err
	}
	b, replier := u.Request()
	if sample(c) && !n.checked([]*bft.Bundle{b})[0].Valid {
		n.sendAway(c)
		return nil
	}
	if tag != nil {
		n.tracer.call(c, *tag, b.Digest)
	}
	if n.overloaded.Load() {
		n.busy(c, b)
		return nil
	}
	n.routes.put(b.Digest, route{c, replier, !u.Asks(n.opts.Core.Self)})
	if !n.inbox.add(input{msg: v, from: fromClients, size: len(frame)}) {
		n.busy(c, b)
	}
	return nil
}

// busy refuses a bundle for now.
func (n *Node) busy(c *transport.ClientConn, b *bft.Bundle) {
	n.metrics.busy.Inc()
	c.Send(bft.BusyFrame(b))
}

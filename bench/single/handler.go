package single

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node"
	"github.com/baluarte-bft/baluarte/node/transport"
	"github.com/baluarte-bft/baluarte/node/verify"
)

// handler is the server as the transport sees it. Its methods run on the readers of streams.
type handler struct{ s *Server }

// FromPeer is never called: there are no peers.
func (handler) FromPeer(int, []byte) {}

// PeerState is never called either.
func (handler) PeerState(int, bool) {}

// ClientGone has nothing to do: replies to a client that is gone are dropped by the transport.
func (handler) ClientGone(*transport.ClientConn) {}

// FromClient takes a request, query or question of a client.
func (h handler) FromClient(c *transport.ClientConn, frame []byte) {
	s := h.s
	<-s.up
	var err error
	switch frame[0] {
	case node.FrameStatusRequest:
		c.Send(s.statusFrame())
	case byte(bft.TypeRequest):
		err = s.request(c, frame)
	case byte(bft.TypeQuery):
		err = s.query(c, frame)
	default:
		err = fmt.Errorf("a client sends no frames of type %d", frame[0])
	}
	if err != nil {
		c.Close(err.Error())
	}
}

// request takes a bundle from its client and has its signature verified. An error is one that no correct
// client makes.
func (s *Server) request(c *transport.ClientConn, frame []byte) error {
	var p bftpb.Request
	if err := p.UnmarshalVTUnsafe(frame[1:]); err != nil || len(p.Signature) != crypto.SignatureSize {
		return fmt.Errorf("%w: request does not decode", bft.ErrInvalid)
	}
	b, err := bft.DecodeBundle(p.Payload, crypto.Signature(p.Signature), s.core.MaxBundleOps, s.core.MaxBundleBytes)
	if err != nil {
		return err
	}
	if b.Client != c.Key() {
		return fmt.Errorf("%w: request of another client on this channel", bft.ErrInvalid)
	}
	for _, op := range b.Ops {
		if len(op) > s.core.MaxOpBytes {
			return fmt.Errorf("%w: operation of %d bytes, the limit is %d", bft.ErrInvalid, len(op), s.core.MaxOpBytes)
		}
	}
	claim := crypto.Claim{Key: b.Client, Msg: bft.RequestSigningBytes(s.core.Cluster, b.Payload), Sig: b.Signature}
	r := request{b, c, bft.ReplicaID(p.Replier)}
	took := s.verifier.Submit(verify.Job{Claims: []crypto.Claim{claim}, Done: func(valid []bool) {
		// A key of small order signs anything.
		if valid[0] && b.Client.Check() == nil {
			s.accept(r)
		} else {
			c.Close("the signature of a request does not hold")
		}
	}}, true)
	if !took {
		s.busy(r)
	}
	return nil
}

// accept has a bundle wait for the next batch.
func (s *Server) accept(r request) {
	size := r.bundle.Size()
	s.mu.Lock()
	full := len(s.waiting) >= waitingBundles || s.waitingBytes+size > s.core.MaxPoolBytes
	if !full {
		s.waiting = append(s.waiting, r)
		s.waitingBytes += size
	}
	s.mu.Unlock()
	if full {
		s.busy(r)
		return
	}
	s.signal()
}

func (s *Server) busy(r request) {
	s.metrics.busy.Inc()
	r.conn.Send(bft.BusyFrame(r.bundle))
}

// query answers reads from the executed state, which has every operation that was answered and none that is
// not durable.
func (s *Server) query(c *transport.ClientConn, frame []byte) error {
	q, err := bft.DecodeQuery(frame, s.core.MaxBundleOps, s.core.MaxBundleBytes)
	if err != nil {
		return err
	}
	defer s.storeFailed()
	executed := bft.Seq(s.executed.Load())
	results := fit(s.machine.Query(s.ctx, q.Ops))
	s.metrics.queries.Inc()
	s.metrics.reads.Add(float64(len(q.Ops)))
	c.Send(bft.AnswerFrame(0, 0, executed, q, results))
	return nil
}

// statusFrame is the answer to a question for the status: the part of a replica's that a server has.
func (s *Server) statusFrame() []byte {
	b, err := json.Marshal(node.Status{ClusterID: s.manifest.ID().String(), Name: Name, PID: os.Getpid(), Addr: s.Addr(), HTTP: s.httpAddr,
		Version: node.Version(), State: node.StateActive, Role: "primary", Executed: s.executed.Load(), Committed: s.executed.Load(),
		Stable: s.stable.Load(), Clients: s.net.Stats().Clients})
	if err != nil { // numbers and strings only
		panic("single: encoding a status: " + err.Error())
	}
	return append([]byte{node.FrameStatus}, b...)
}

package byz

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// The view-change that omits prepared certificates.
//
// What is committed must survive the view change, although the accomplices deny that they ever
// prepared it: their view-changes hold no prepared certificate, and now and then not even their
// stable checkpoint. Or they come up with the oldest certificate that they have for a number,
// genuine, but of a lower view than another one that they keep back. To make that count they shift
// a partition, so that the fewest replicas that there can be know what was executed.
//
// Aims at: the quorum of view-changes (rule 7), certificates kept across views and restarts until
// one of a higher view replaces them (rule 9), the choice of the highest view.
type omit struct {
	conspirator
	// altered are the own view-changes as they were sent, by the digest of the true one.
	altered map[bft.Digest]*bftpb.Envelope
	// oldest are the certificates of the lowest view that were seen, by number.
	oldest map[uint64]certificate
}

// certificate is a prepared certificate, taken out of a view-change.
type certificate struct {
	view  uint64
	pre   *bftpb.Envelope
	votes []*bftpb.Envelope
}

func newOmit(env Env) Adversary {
	return &omit{conspirator: newConspirator(env), oldest: make(map[uint64]certificate), altered: make(map[bft.Digest]*bftpb.Envelope)}
}

// Send implements Adversary.
func (a *omit) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	switch t := wire.TypeOf(out.Frame); {
	case t == bft.TypeViewChange && a.own(e):
		return []bft.Outbound{{To: out.To, Frame: a.envelopeFrame(a.alter(e))}}
	case t == bft.TypeNewView && a.own(e):
		return []bft.Outbound{{To: out.To, Frame: a.newView(e, out.Frame)}}
	case t == bft.TypeData:
		return []bft.Outbound{{To: out.To, Frame: a.data(out.Frame)}}
	}
	return []bft.Outbound{out}
}

// alter removes the certificates from an own view-change, the same way each time.
func (a *omit) alter(e *bftpb.Envelope) *bftpb.Envelope {
	d := wire.Digest(e)
	if was, ok := a.altered[d]; ok {
		return was
	}
	v, err := wire.ViewChange(e)
	if err != nil || len(v.Prepared) == 0 {
		return e
	}
	n := &bftpb.ViewChange{View: v.View}
	if a.chance(70) {
		n.Stable = v.Stable
		for _, i := range v.Checkpoint {
			n.Checkpoint = append(n.Checkpoint, uint32(len(n.Envelopes)))
			n.Envelopes = append(n.Envelopes, v.Envelopes[i])
		}
	}
	if a.chance(50) {
		a.lie("view-change without its certificates")
	} else if !a.outdate(v, n) {
		a.altered[d] = e
		return e
	}
	a.altered[d] = a.Seal(bft.TypeViewChange, wire.Marshal(n))
	return a.altered[d]
}

// outdate puts the certificates of v into n, each as it was in the lowest view in which there was
// one. It is false if that changes nothing.
func (a *omit) outdate(v, n *bftpb.ViewChange) bool {
	older := false
	for _, p := range v.Prepared {
		if p.Seq <= n.Stable {
			continue
		}
		pre := v.Envelopes[p.PrePrepare]
		h, err := wire.Header(pre)
		if err != nil {
			continue
		}
		now := certificate{view: h.View, pre: pre}
		for _, i := range p.Votes {
			now.votes = append(now.votes, v.Envelopes[i])
		}
		old, ok := a.oldest[p.Seq]
		if !ok || old.view > now.view {
			a.oldest[p.Seq], old = now, now
		}
		if old.view < now.view {
			older = true
			a.lie("view-change with an old certificate")
		}
		n.Prepared = append(n.Prepared, old.into(n, p.Seq))
	}
	return older
}

// into adds the certificate's envelopes to a view-change, each once.
func (c *certificate) into(n *bftpb.ViewChange, seq uint64) *bftpb.Prepared {
	add := func(e *bftpb.Envelope) uint32 {
		for i, x := range n.Envelopes {
			if x.Type == e.Type && x.Signer == e.Signer && bytes.Equal(x.Payload, e.Payload) {
				return uint32(i)
			}
		}
		n.Envelopes = append(n.Envelopes, e)
		return uint32(len(n.Envelopes) - 1)
	}
	p := &bftpb.Prepared{Seq: seq, PrePrepare: add(c.pre)}
	for _, x := range c.votes {
		p.Votes = append(p.Votes, add(x))
	}
	return p
}

// newView makes an own new-view name the own view-change as it was sent.
func (a *omit) newView(e *bftpb.Envelope, frame []byte) []byte {
	v, err := wire.NewView(e)
	if err != nil {
		return frame
	}
	for _, r := range v.ViewChanges {
		if was, ok := a.altered[wire.DigestOf(r.Digest)]; ok {
			d := wire.Digest(was)
			r.Digest = d[:]
			a.lie("new-view from an altered view-change")
		}
	}
	return a.seal(bft.TypeNewView, wire.Marshal(v))
}

// data alters the own view-change where it is served to others.
func (a *omit) data(frame []byte) []byte {
	var d bftpb.Data
	if wire.Read(bft.TypeData, frame, &d) != nil || len(d.ViewChanges) == 0 {
		return frame
	}
	for i, e := range d.ViewChanges {
		if a.own(e) {
			d.ViewChanges[i] = a.alter(e)
		}
	}
	return wire.Frame(bft.TypeData, &d)
}

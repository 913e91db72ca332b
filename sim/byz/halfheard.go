package byz

import (
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Requests that half of them heard.
//
// A Byzantine client signs badly, and tells its requests to no more honest replicas than it takes: just those
// who make a quorum with the accomplices. For these the request is authentic, it came on the client's own
// channel. The primary is an accomplice and proposes it; they prepare. The accomplices send no commit, and from the
// next view on no prepare either. Now nothing goes on without a replica that never heard the client: it is
// shown a prepared certificate of a request whose signature is bad. If it insists on a good one, the cluster
// halts, and every new view takes the same proposal up again.
//
// Aims at: rule 23: what an honest replica signed for is not checked again in O and under certificates.
type halfHeard struct{ base }

func newHalfHeard(env Env) Adversary { return &halfHeard{newBase(env)} }

// half is what the plan says about such requests.
type half struct {
	// deaf are the honest replicas that are told nothing.
	deaf []bool
	// bundles are such requests, proposals those that have one, with the view of the first.
	bundles   map[bft.Digest]bool
	proposals map[bft.Digest]uint64
}

// halved returns what the plan says about requests that half of them hear.
func (p *Plan) halved() *half {
	if p.half == nil {
		h := &half{deaf: make([]bool, p.n), bundles: make(map[bft.Digest]bool), proposals: make(map[bft.Digest]uint64)}
		honest := p.honest()
		hear := bft.Quorum(p.n) - len(p.faulty)
		for _, k := range p.r.Perm(len(honest))[min(hear, len(honest)):] {
			h.deaf[honest[k]] = true
		}
		p.half = h
	}
	return p.half
}

// Checked implements Adversary: every signature is good enough.
func (a *halfHeard) Checked(valid bool) bool {
	if !valid {
		a.lie("badly signed request taken")
	}
	return true
}

// Send implements Adversary.
func (a *halfHeard) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if !a.own(e) {
		return []bft.Outbound{out}
	}
	switch wire.TypeOf(out.Frame) {
	case bft.TypePrePrepare:
		a.propose(out.Frame)
	case bft.TypeVotes:
		return a.vote(out, e)
	}
	return []bft.Outbound{out}
}

// propose notes what was proposed with such a request in it.
func (a *halfHeard) propose(frame []byte) {
	var p bftpb.PrePrepare
	if wire.Read(bft.TypePrePrepare, frame, &p) != nil {
		return
	}
	x, err := wire.Header(p.Header)
	if err != nil {
		return
	}
	h := a.Plan.halved()
	for d := range slices.Chunk(p.Body.GetBundles(), len(bft.Digest{})) {
		digest := wire.Proposal(x).Digest()
		if _, known := h.proposals[digest]; h.bundles[wire.DigestOf(d)] && !known {
			h.proposals[digest] = x.View
		}
	}
}

// vote leaves out what would get such a request executed.
func (a *halfHeard) vote(out bft.Outbound, e *bftpb.Envelope) []bft.Outbound {
	v, err := wire.Votes(e)
	if err != nil {
		return []bft.Outbound{out}
	}
	count := len(v.Votes)
	v.Votes = slices.DeleteFunc(v.Votes, func(x *bftpb.Vote) bool {
		view, known := a.Plan.halved().proposals[wire.DigestOf(x.Digest)]
		return known && (x.Phase == uint32(bft.PhaseCommit) || v.View > view)
	})
	switch {
	case len(v.Votes) == count:
		return []bft.Outbound{out}
	case len(v.Votes) == 0:
		a.lie("withheld votes")
		return nil
	}
	a.lie("withheld votes")
	return []bft.Outbound{{To: out.To, Frame: a.seal(bft.TypeVotes, wire.Marshal(v))}}
}

// halfTeller is the client of the story.
type halfTeller struct{ clientBase }

// Sign implements ClientAdversary.
func (c *halfTeller) Sign(_ []byte, signature crypto.Signature) crypto.Signature {
	c.lie("bad signature")
	signature[0] ^= 1
	return signature
}

// Send implements ClientAdversary.
func (c *halfTeller) Send(out bft.Outbound) []bft.Outbound {
	b := bundleOf(out.Frame)
	if b == nil {
		return []bft.Outbound{out}
	}
	h := c.Plan.halved()
	h.bundles[b.Digest] = true
	var sent []bft.Outbound
	for to := range bft.ReplicaID(c.N) {
		if out.To != bft.Everyone && out.To != to {
			continue
		}
		if h.deaf[to] {
			c.lie("request kept from some")
			continue
		}
		sent = append(sent, bft.Outbound{To: to, Frame: out.Frame})
	}
	return sent
}

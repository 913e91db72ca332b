package byz

import (
	"math/rand/v2"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Plan is what the accomplices of a run share: they act as one, and lend each other their keys.
type Plan struct {
	n       int
	faulty  []bft.ReplicaID
	r       *rand.Rand
	members []wire.Member
	// sides tells for each view who is told the other story.
	sides map[uint64][]bool
	// others are the second proposals that were made for a (view, number).
	others map[slot]other
	clientele
	// watch is what they hear of the network, shift how they divide it: each made when it is first wanted.
	watch *watch
	shift *shift
	half  *half
}

// slot is a number in a view.
type slot struct{ view, seq uint64 }

// other is a pair of proposals for one slot, each under the primary's signature.
type other struct {
	digest, instead bft.Digest
	header          *bftpb.Envelope // of instead
	frame           []byte          // its pre-prepare
}

// NewPlan makes the plan of a run in which the given replicas are Byzantine.
func NewPlan(n int, faulty []bft.ReplicaID, r *rand.Rand) *Plan {
	return &Plan{n: n, faulty: faulty, r: r, sides: make(map[uint64][]bool), others: make(map[slot]other)}
}

// watching returns what the accomplices hear of the network.
func (p *Plan) watching() *watch {
	if p.watch == nil {
		p.watch = newWatch(p.n)
	}
	return p.watch
}

// shifting returns the partition that the accomplices shift.
func (p *Plan) shifting(timeout bft.Time) *shift {
	if p.shift == nil {
		p.shift = newShift(p, timeout)
	}
	return p.shift
}

// join makes a member known to its accomplices, once.
func (p *Plan) join(m wire.Member) {
	if !slices.ContainsFunc(p.members, func(x wire.Member) bool { return x.Self == m.Self }) {
		p.members = append(p.members, m)
	}
}

// accomplice tells whether a replica belongs to the adversary.
func (p *Plan) accomplice(id bft.ReplicaID) bool { return slices.Contains(p.faulty, id) }

// honest lists the replicas that do not belong to the adversary.
func (p *Plan) honest() []bft.ReplicaID {
	var ids []bft.ReplicaID
	for id := range bft.ReplicaID(p.n) {
		if !p.accomplice(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// side divides the honest replicas of a view into two halves, or takes a single victim out.
func (p *Plan) side(view uint64, single bool) []bool {
	if s, ok := p.sides[view]; ok {
		return s
	}
	honest := p.honest()
	count := len(honest) / 2
	if single {
		count = 1
	}
	s := make([]bool, p.n)
	for _, k := range p.r.Perm(len(honest))[:count] {
		s[honest[k]] = true
	}
	p.sides[view] = s
	return s
}

// instead makes a second proposal for the slot of an own pre-prepare, or returns the one that
// was made before: with another time, in another order, or with nothing in it.
func (b *base) instead(frame []byte) (other, bool) {
	var p bftpb.PrePrepare
	if wire.Read(bft.TypePrePrepare, frame, &p) != nil || !b.own(p.Header) {
		return other{}, false
	}
	h, err := wire.Header(p.Header)
	if err != nil {
		return other{}, false
	}
	key := slot{h.View, h.Seq}
	if o, ok := b.Plan.others[key]; ok {
		return o, true
	}
	o := other{digest: wire.Proposal(h).Digest()}
	list := p.Body.GetBundles()
	switch {
	case h.Time == 0:
		return other{}, false // nothing can be made of a null proposal without a body
	case b.chance(30):
		h.Body, h.Time, list = nil, 0, nil
	case b.chance(50) && len(list) > 32:
		list = append(slices.Clone(list[32:]), list[:32]...)
		d := bodyDigest(list)
		h.Body = d[:]
	default:
		h.Time++
	}
	o.instead = wire.Proposal(h).Digest()
	o.header = b.Seal(bft.TypePrePrepare, wire.Marshal(h))
	o.frame = wire.Frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: o.header, Body: &bftpb.Body{Bundles: list}})
	b.Plan.others[key] = o
	return o, true
}

// bodyDigest is the digest of a body that lists these bundles, by their digests one after the other.
func bodyDigest(list []byte) bft.Digest {
	digests := make([]bft.Digest, len(list)/32)
	for i := range digests {
		copy(digests[i][:], list[32*i:])
	}
	return bft.BodyDigest(digests)
}

// Package byz has the adversaries of the simulator, one file each: at its head the story of the
// attack and the defence that it aims at.
//
// An adversary wraps a real replica. It sees every frame that the replica gets and may keep it
// away from it; it sees every frame that the replica sends and may alter, drop, multiply or
// replace it; it may send whatever it likes. It signs with the keys of the replicas that belong
// to it, and has no others: what an honest replica signed it can only repeat.
package byz

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Adversary stands between one replica and the world.
type Adversary interface {
	// Receive sees a frame of a peer; if false the replica does not get it.
	Receive(from bft.ReplicaID, frame []byte) bool
	// Request sees a request of a client; if false the replica does not get it.
	Request(client bft.ClientID, frame []byte) bool
	// Checked is what the replica is told about the signature of a client.
	Checked(valid bool) bool
	// Send is what becomes of a frame that the replica sends to its peers.
	Send(out bft.Outbound) []bft.Outbound
	// Reply is what becomes of a frame that the replica sends to a client.
	Reply(frame []byte) [][]byte
	// Inject is called now and then: what to send out of turn.
	Inject(now bft.Time) []bft.Outbound
	// Lies counts what was really done, in the order of the names.
	Lies() []Lie
}

// Lie is one way of lying, and how often it was done.
type Lie struct {
	Name  string
	Count int
}

// Env is what an adversary knows.
type Env struct {
	wire.Member
	N    int
	Plan *Plan
	Rand *rand.Rand
}

// The names of the adversaries.
const (
	Equivocate   = "equivocating primary"
	Silent       = "silent primary"
	Forge        = "forged certificates"
	Omit         = "omitted certificates"
	Replay       = "replay"
	WrongReply   = "wrong replies"
	BadSignature = "badly signed requests"
	FalseState   = "false checkpoints"
)

var makers = map[string]func(Env) Adversary{
	Equivocate: newEquivocate, Silent: newSilent, Forge: newForge, Omit: newOmit, Replay: newReplay,
	WrongReply: newWrongReply, BadSignature: newBadSignature, FalseState: newFalseState,
}

// Names lists the adversaries, in a fixed order.
func Names() []string {
	return []string{Equivocate, Silent, Forge, Omit, Replay, WrongReply, BadSignature, FalseState}
}

// New makes an adversary by its name. It panics if there is none of that name: the options of a
// run are validated before.
func New(name string, env Env) Adversary {
	newAdversary, ok := makers[name]
	if !ok {
		panic(fmt.Sprintf("byz: no adversary %q", name))
	}
	env.Plan.members = append(env.Plan.members, env.Member)
	return newAdversary(env)
}

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

// side divides the honest replicas of a view into two halves, or takes a single victim out.
func (p *Plan) side(view uint64, single bool) []bool {
	if s, ok := p.sides[view]; ok {
		return s
	}
	var honest []int
	for i := range p.n {
		if !slices.Contains(p.faulty, bft.ReplicaID(i)) {
			honest = append(honest, i)
		}
	}
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

// base behaves well, but for what the embedding adversary overrides.
type base struct {
	Env
	counts map[string]int
}

func newBase(env Env) base { return base{Env: env, counts: make(map[string]int)} }

func (b *base) Receive(bft.ReplicaID, []byte) bool     { return true }
func (b *base) Request(bft.ClientID, []byte) bool      { return true }
func (b *base) Checked(valid bool) bool                { return valid }
func (b *base) Send(out bft.Outbound) []bft.Outbound   { return []bft.Outbound{out} }
func (b *base) Reply(frame []byte) [][]byte            { return [][]byte{frame} }
func (b *base) Inject(bft.Time) []bft.Outbound         { return nil }
func (b *base) lie(name string)                        { b.counts[name]++ }
func (b *base) own(e *bftpb.Envelope) bool             { return e != nil && e.Signer == uint32(b.Self) }
func (b *base) chance(percent int) bool                { return b.Rand.IntN(100) < percent }
func (b *base) envelopeFrame(e *bftpb.Envelope) []byte { return wire.Frame(bft.MessageType(e.Type), e) }

// Lies implements Adversary.
func (b *base) Lies() []Lie {
	out := make([]Lie, 0, len(b.counts))
	for name, n := range b.counts {
		out = append(out, Lie{name, n})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// receivers lists the replicas that an outbound frame is for.
func (b *base) receivers(out bft.Outbound) []bft.ReplicaID {
	if out.To != bft.Everyone {
		return []bft.ReplicaID{out.To}
	}
	var ids []bft.ReplicaID
	for id := range bft.ReplicaID(b.N) {
		if id != b.Self {
			ids = append(ids, id)
		}
	}
	return ids
}

// peer draws another replica.
func (b *base) peer() bft.ReplicaID {
	return (b.Self + 1 + bft.ReplicaID(b.Rand.IntN(b.N-1))) % bft.ReplicaID(b.N)
}

// seal makes the frame of an envelope of this member.
func (b *base) seal(t bft.MessageType, payload []byte) []byte {
	return b.envelopeFrame(b.Seal(t, payload))
}

// quorum is what the protocol asks for, see bft.Quorum.
func (b *base) quorum() int { return bft.Quorum(b.N) }

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
		digests := make([]bft.Digest, len(list)/32)
		for i := range digests {
			copy(digests[i][:], list[32*i:])
		}
		d := bft.BodyDigest(digests)
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

// votesFrame makes a frame of votes, all for one digest.
func (b *base) votesFrame(s slot, digest bft.Digest, phases ...bft.Phase) []byte {
	v := bftpb.Votes{View: s.view}
	for _, p := range phases {
		v.Votes = append(v.Votes, &bftpb.Vote{Phase: uint32(p), Seq: s.seq, Digest: digest[:]})
	}
	return b.seal(bft.TypeVotes, wire.Marshal(&v))
}

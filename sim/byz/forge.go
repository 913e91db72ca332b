package byz

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Forged certificates.
//
// As primary it tells one victim another proposal than the others, and collects the victim's
// prepare for it. Then it goes quiet, and its view-change has a "prepared certificate" of the other
// proposal: the one genuine vote, as often as a quorum needs, or votes in the name of strangers,
// or of honest members without their signature. At other times it serves commit certificates that
// are its own commit Q times, checkpoint certificates of the same make, and new-views in which
// one view-change stands for many.
//
// Aims at: rule 2: signers of a certificate are members and distinct, and every signature is
// checked; rule 8: an invalid part voids its view-change and no other.
type forge struct {
	base
	// material are votes of victims for the other proposal of a slot.
	material map[slot]*bftpb.Envelope
	// executed is what the peers last said that they had executed, views what view they were in.
	executed, views []uint64
	altered         map[bft.Digest]*bftpb.Envelope
	quiet           map[uint64]bool
}

func newForge(env Env) Adversary {
	return &forge{base: newBase(env), material: make(map[slot]*bftpb.Envelope), executed: make([]uint64, env.N),
		views: make([]uint64, env.N), altered: make(map[bft.Digest]*bftpb.Envelope), quiet: make(map[uint64]bool)}
}

// Receive implements Adversary.
func (a *forge) Receive(from bft.ReplicaID, frame []byte) bool {
	switch wire.TypeOf(frame) {
	case bft.TypeStatus:
		var s bftpb.Status
		if wire.Read(bft.TypeStatus, frame, &s) == nil {
			a.executed[from], a.views[from] = s.Executed, s.View
		}
	case bft.TypeVotes:
		e := wire.Envelope(frame)
		v, err := wire.Votes(e)
		if err != nil {
			break
		}
		for _, x := range v.Votes {
			key := slot{v.View, x.Seq}
			o, ok := a.Plan.others[key]
			if ok && x.Phase == uint32(bft.PhasePrepare) && wire.DigestOf(x.Digest) == o.instead {
				a.material[key] = e
				a.quiet[v.View] = a.quiet[v.View] || a.chance(30)
			}
		}
	}
	return true
}

// Send implements Adversary.
func (a *forge) Send(out bft.Outbound) []bft.Outbound {
	e := wire.Envelope(out.Frame)
	if !a.own(e) {
		return []bft.Outbound{out}
	}
	switch wire.TypeOf(out.Frame) {
	case bft.TypePrePrepare:
		return a.propose(out, e)
	case bft.TypeViewChange:
		return []bft.Outbound{{To: out.To, Frame: a.envelopeFrame(a.viewChange(e))}}
	case bft.TypeNewView:
		return []bft.Outbound{{To: out.To, Frame: a.newView(e, out.Frame)}}
	}
	return []bft.Outbound{out}
}

// propose tells one victim something else.
func (a *forge) propose(out bft.Outbound, e *bftpb.Envelope) []bft.Outbound {
	h, err := wire.Header(e)
	if err != nil {
		return []bft.Outbound{out}
	}
	if a.quiet[h.View] {
		a.lie("withheld pre-prepare")
		return nil
	}
	if _, begun := a.Plan.others[slot{h.View, h.Seq}]; !begun && !a.chance(25) {
		return []bft.Outbound{out}
	}
	o, ok := a.instead(out.Frame)
	if !ok {
		return []bft.Outbound{out}
	}
	victim := a.Plan.side(h.View, true)
	var sent []bft.Outbound
	for _, to := range a.receivers(out) {
		frame := out.Frame
		if victim[to] {
			frame = o.frame
			a.lie("pre-prepare for a victim")
		}
		sent = append(sent, bft.Outbound{To: to, Frame: frame})
	}
	return sent
}

// repeated makes count envelopes of one, in one of the ways of the trade.
func (a *forge) repeated(e *bftpb.Envelope, count int) ([]*bftpb.Envelope, string) {
	how := a.Rand.IntN(3)
	out := make([]*bftpb.Envelope, count)
	for i := range out {
		x := &bftpb.Envelope{Type: e.Type, Signer: e.Signer, Epoch: e.Epoch, Payload: e.Payload, Signature: e.Signature}
		switch how {
		case 1:
			x.Signer = uint32(a.N + i)
		case 2:
			if x.Signer = uint32(i) % uint32(a.N); x.Signer != e.Signer {
				x.Signature = make([]byte, len(e.Signature))
			}
		}
		out[i] = x
	}
	return out, [...]string{"repeated", "by strangers", "unsigned"}[how]
}

// viewChange adds forged certificates to an own view-change, the same each time it is sent.
func (a *forge) viewChange(e *bftpb.Envelope) *bftpb.Envelope {
	d := wire.Digest(e)
	if was, ok := a.altered[d]; ok {
		return was
	}
	v, err := wire.ViewChange(e)
	if err != nil {
		return e
	}
	best := make(map[uint64]slot)
	for key := range a.material { // the highest view of each number: the order does not matter
		if key.view < v.View && key.seq > v.Stable && (best[key.seq].seq == 0 || best[key.seq].view < key.view) {
			best[key.seq] = key
		}
	}
	if len(best) == 0 {
		a.altered[d] = e
		return e
	}
	n := &bftpb.ViewChange{View: v.View, Stable: v.Stable}
	add := func(e *bftpb.Envelope) uint32 {
		for i, x := range n.Envelopes {
			if x.Type == e.Type && x.Signer == e.Signer && bytes.Equal(x.Payload, e.Payload) && bytes.Equal(x.Signature, e.Signature) {
				return uint32(i)
			}
		}
		n.Envelopes = append(n.Envelopes, e)
		return uint32(len(n.Envelopes) - 1)
	}
	for _, i := range v.Checkpoint {
		n.Checkpoint = append(n.Checkpoint, add(v.Envelopes[i]))
	}
	honest := make(map[uint64]*bftpb.Prepared)
	top := v.Stable
	for _, p := range v.Prepared {
		honest[p.Seq] = p
		top = max(top, p.Seq)
	}
	for seq := range best { // a maximum: the order does not matter
		top = max(top, seq)
	}
	for seq := v.Stable + 1; seq <= top; seq++ {
		if key, ok := best[seq]; ok {
			votes, how := a.repeated(a.material[key], a.quorum()-1)
			p := &bftpb.Prepared{Seq: seq, PrePrepare: add(a.Plan.others[key].header)}
			for _, x := range votes {
				p.Votes = append(p.Votes, add(x))
			}
			n.Prepared = append(n.Prepared, p)
			a.lie("prepared certificate with votes " + how)
		} else if p := honest[seq]; p != nil {
			q := &bftpb.Prepared{Seq: seq, PrePrepare: add(v.Envelopes[p.PrePrepare])}
			for _, i := range p.Votes {
				q.Votes = append(q.Votes, add(v.Envelopes[i]))
			}
			n.Prepared = append(n.Prepared, q)
		}
	}
	a.altered[d] = a.Seal(bft.TypeViewChange, wire.Marshal(n))
	return a.altered[d]
}

// newView lets the own view-change stand for others too, or only names it as it was sent.
func (a *forge) newView(e *bftpb.Envelope, frame []byte) []byte {
	v, err := wire.NewView(e)
	if err != nil {
		return frame
	}
	for _, r := range v.ViewChanges {
		if was, ok := a.altered[wire.DigestOf(r.Digest)]; ok {
			d := wire.Digest(was)
			r.Digest = d[:]
		}
	}
	if len(v.ViewChanges) > 1 && v.View%2 == 0 {
		a.lie("new-view from a view-change that stands twice")
		v.ViewChanges[0] = v.ViewChanges[1]
	}
	return a.seal(bft.TypeNewView, wire.Marshal(v))
}

// Inject implements Adversary: certificates for whoever lags.
func (a *forge) Inject(bft.Time) []bft.Outbound {
	if !a.chance(20) {
		return nil
	}
	to := a.peer()
	seq, view := a.executed[to]+1, a.views[to]
	d := &bftpb.Data{}
	if a.chance(60) {
		digest := bft.Null.Digest()
		vote := bftpb.Votes{View: view, Votes: []*bftpb.Vote{{Phase: uint32(bft.PhaseCommit), Seq: seq, Digest: digest[:]}}}
		votes, how := a.repeated(a.Seal(bft.TypeVotes, wire.Marshal(&vote)), a.quorum())
		d.Committed = []*bftpb.Committed{{Seq: seq, View: view, Content: &bftpb.Body{}, Votes: votes}}
		a.lie("commit certificate with votes " + how)
	} else {
		state := wire.DigestOf(bytes.Repeat([]byte{1}, 32))
		c := bftpb.Checkpoint{Seq: (seq/96 + 2) * 96, State: state[:], History: state[:]}
		votes, how := a.repeated(a.Seal(bft.TypeCheckpoint, wire.Marshal(&c)), a.quorum())
		d.Checkpoint = votes
		a.lie("checkpoint certificate with votes " + how)
	}
	return []bft.Outbound{{To: to, Frame: wire.Frame(bft.TypeData, d)}}
}

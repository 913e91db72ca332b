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
	witness
	// material are votes of victims for the other proposal of a slot.
	material map[slot]*bftpb.Envelope
	// executed is what the peers last said that they had executed, views what view they were in.
	executed, views []uint64
	quiet           map[uint64]bool
}

func newForge(env Env) Adversary {
	a := &forge{witness: newWitness(env), material: make(map[slot]*bftpb.Envelope), executed: make([]uint64, env.N),
		views: make([]uint64, env.N), quiet: make(map[uint64]bool)}
	a.testify = a.swear
	return a
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
		return a.witness.Send(out)
	}
	switch wire.TypeOf(out.Frame) {
	case bft.TypePrePrepare:
		return a.propose(out, e)
	case bft.TypeNewView:
		if v, err := wire.NewView(e); err == nil && v.View%2 == 0 && len(v.ViewChanges) > 1 {
			a.lie("new-view from a view-change that stands twice")
			v.ViewChanges[0] = v.ViewChanges[1]
			return []bft.Outbound{{To: out.To, Frame: a.seal(bft.TypeNewView, wire.Marshal(v))}}
		}
	}
	return a.witness.Send(out)
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

// repeated makes count envelopes of one, in one of the ways of the trade; none is in the name of except.
func (a *forge) repeated(e *bftpb.Envelope, count int, except bft.ReplicaID) ([]*bftpb.Envelope, string) {
	how := a.Rand.IntN(3)
	var out []*bftpb.Envelope
	for i := uint32(0); len(out) < count; i++ {
		x := &bftpb.Envelope{Type: e.Type, Signer: e.Signer, Epoch: e.Epoch, Payload: e.Payload, Signature: e.Signature}
		switch how {
		case 1:
			x.Signer = uint32(a.N) + i
		case 2:
			if i == uint32(except) {
				continue
			}
			if x.Signer = i; i != e.Signer {
				x.Signature = make([]byte, len(e.Signature))
			}
		}
		out = append(out, x)
	}
	return out, [...]string{"repeated", "by strangers", "unsigned"}[how]
}

// swear adds forged certificates to an own view-change.
func (a *forge) swear(t *testimony) bool {
	best := make(map[uint64]slot)
	for key := range a.material { // the highest view of each number: the order does not matter
		if key.view < t.view && key.seq > t.stable && (best[key.seq].seq == 0 || best[key.seq].view < key.view) {
			best[key.seq] = key
		}
	}
	for seq := t.stable + 1; seq <= t.stable+uint64(a.Window); seq++ {
		key, ok := best[seq]
		if !ok {
			continue
		}
		votes, how := a.repeated(a.material[key], a.quorum()-1, a.primary(key.view))
		a.lie("prepared certificate with votes " + how)
		t.put(certificate{seq: seq, view: key.view, pre: a.Plan.others[key].header, votes: votes})
	}
	return len(best) > 0
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
		votes, how := a.repeated(a.Seal(bft.TypeVotes, wire.Marshal(&vote)), a.quorum(), bft.Everyone)
		d.Committed = []*bftpb.Committed{{Seq: seq, View: view, Content: &bftpb.Body{}, Votes: votes}}
		a.lie("commit certificate with votes " + how)
	} else {
		state := wire.DigestOf(bytes.Repeat([]byte{1}, 32))
		c := bftpb.Checkpoint{Seq: (seq/96 + 2) * 96, State: state[:], History: state[:]}
		votes, how := a.repeated(a.Seal(bft.TypeCheckpoint, wire.Marshal(&c)), a.quorum(), bft.Everyone)
		d.Checkpoint = votes
		a.lie("checkpoint certificate with votes " + how)
	}
	return []bft.Outbound{{To: to, Frame: wire.Frame(bft.TypeData, d)}}
}

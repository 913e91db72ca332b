package account_test

import (
	"bytes"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/account"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// forger holds the keys of all members of a cluster and signs what a test wants signed.
type forger struct {
	manifest account.Manifest
	members  []wire.Member
}

const interval = 8

func newForger(n int) *forger {
	ring := crypto.NewFastRing()
	f := &forger{manifest: account.Manifest{Cluster: crypto.Hash("a cluster"), Interval: interval, Verifier: ring}}
	for i := range n {
		k := ring.NewKey([32]byte{7, byte(i)})
		f.manifest.Members = append(f.manifest.Members, k.Public())
		f.members = append(f.members, wire.Member{Self: bft.ReplicaID(i), Cluster: f.manifest.Cluster, Signer: k})
	}
	return f
}

func (f *forger) n() int      { return len(f.members) }
func (f *forger) quorum() int { return bft.Quorum(f.n()) }
func (f *forger) primary(v bft.View) int {
	return int(bft.Primary(v, f.n()))
}

func (f *forger) seal(who int, t bft.MessageType, payload []byte) *bftpb.Envelope {
	return f.members[who].Seal(t, payload)
}

// proposal is what the letter stands for; "" is the null proposal.
func proposal(letter string) bft.Proposal {
	if letter == "" {
		return bft.Null
	}
	return bft.Proposal{Body: crypto.Hash("body", []byte(letter)), Time: 1}
}

// preBy is a pre-prepare by any member.
func (f *forger) preBy(who int, v bft.View, n bft.Seq, letter string) *bftpb.Envelope {
	p := proposal(letter)
	h := bftpb.Header{View: uint64(v), Seq: uint64(n), Time: int64(p.Time)}
	if !p.Body.IsZero() {
		h.Body = p.Body[:]
	}
	return f.seal(who, bft.TypePrePrepare, wire.Marshal(&h))
}

// pre is the primary's pre-prepare.
func (f *forger) pre(v bft.View, n bft.Seq, letter string) *bftpb.Envelope {
	return f.preBy(f.primary(v), v, n, letter)
}

// ballot is one vote.
type ballot struct {
	phase  bft.Phase
	seq    bft.Seq
	letter string
}

func (f *forger) votes(who int, v bft.View, bs ...ballot) *bftpb.Envelope {
	m := bftpb.Votes{View: uint64(v)}
	for _, b := range bs {
		d := proposal(b.letter).Digest()
		m.Votes = append(m.Votes, &bftpb.Vote{Phase: uint32(b.phase), Seq: uint64(b.seq), Digest: d[:]})
	}
	return f.seal(who, bft.TypeVotes, wire.Marshal(&m))
}

func (f *forger) prepare(who int, v bft.View, n bft.Seq, letter string) *bftpb.Envelope {
	return f.votes(who, v, ballot{bft.PhasePrepare, n, letter})
}

func (f *forger) commit(who int, v bft.View, n bft.Seq, letter string) *bftpb.Envelope {
	return f.votes(who, v, ballot{bft.PhaseCommit, n, letter})
}

func (f *forger) checkpoint(who int, n bft.Seq, state string) *bftpb.Envelope {
	d := crypto.Hash("state", []byte(state))
	return f.seal(who, bft.TypeCheckpoint, wire.Marshal(&bftpb.Checkpoint{Seq: uint64(n), State: d[:], History: d[:]}))
}

// cert is a prepared certificate for a view-change.
type cert struct {
	seq   bft.Seq
	pre   *bftpb.Envelope
	votes []*bftpb.Envelope
}

// prepared makes the certificate of Q−1 backups, those of the lowest ids.
func (f *forger) prepared(v bft.View, n bft.Seq, letter string) cert {
	c := cert{n, f.pre(v, n, letter), nil}
	for who := 0; len(c.votes) < f.quorum()-1; who++ {
		if who != f.primary(v) {
			c.votes = append(c.votes, f.prepare(who, v, n, letter))
		}
	}
	return c
}

// stableAt makes a checkpoint certificate.
func (f *forger) stableAt(n bft.Seq, state string) []*bftpb.Envelope {
	var out []*bftpb.Envelope
	for who := range f.quorum() {
		out = append(out, f.checkpoint(who, n, state))
	}
	return out
}

// change makes a view-change.
func (f *forger) change(who int, v bft.View, stable bft.Seq, proof []*bftpb.Envelope, certs ...cert) *bftpb.Envelope {
	m := bftpb.ViewChange{View: uint64(v), Stable: uint64(stable)}
	add := func(e *bftpb.Envelope) uint32 {
		m.Envelopes = append(m.Envelopes, e)
		return uint32(len(m.Envelopes) - 1)
	}
	for _, e := range proof {
		m.Checkpoint = append(m.Checkpoint, add(e))
	}
	for _, c := range certs {
		p := &bftpb.Prepared{Seq: uint64(c.seq), PrePrepare: add(c.pre)}
		for _, e := range c.votes {
			p.Votes = append(p.Votes, add(e))
		}
		m.Prepared = append(m.Prepared, p)
	}
	return f.seal(who, bft.TypeViewChange, wire.Marshal(&m))
}

// changes makes view-changes of the members 0 to Q−1, all alike.
func (f *forger) changes(v bft.View, stable bft.Seq, proof []*bftpb.Envelope, certs ...cert) []*bftpb.Envelope {
	var out []*bftpb.Envelope
	for who := range f.quorum() {
		out = append(out, f.change(who, v, stable, proof, certs...))
	}
	return out
}

// newViewBy makes a new-view out of view-changes and proposals.
func (f *forger) newViewBy(who int, v bft.View, changes []*bftpb.Envelope, pres ...*bftpb.Envelope) *bftpb.Envelope {
	m := bftpb.NewView{View: uint64(v), PrePrepares: pres}
	for _, e := range changes {
		d := wire.Digest(e)
		m.ViewChanges = append(m.ViewChanges, &bftpb.ViewChangeRef{Signer: e.Signer, Digest: d[:]})
	}
	return f.seal(who, bft.TypeNewView, wire.Marshal(&m))
}

func (f *forger) newView(v bft.View, changes []*bftpb.Envelope, pres ...*bftpb.Envelope) *bftpb.Envelope {
	return f.newViewBy(f.primary(v), v, changes, pres...)
}

// book feeds a new Book.
func (f *forger) book(t testing.TB, es ...*bftpb.Envelope) *account.Book {
	t.Helper()
	b := account.New(f.manifest)
	for i, e := range es {
		if err := b.Add(e); err != nil {
			t.Fatalf("envelope %d: %v", i, err)
		}
	}
	return b
}

// checked is all that a Book has found, every piece of which must hold by itself.
func (f *forger) checked(t testing.TB, b *account.Book) []account.Evidence {
	t.Helper()
	all := b.All()
	for _, e := range all {
		if err := account.Check(f.manifest, e); err != nil {
			t.Fatalf("evidence of %v against %d does not hold: %v", e.Kind, e.Culprit, err)
		}
	}
	return all
}

// copied is an envelope that may be altered.
func copied(e *bftpb.Envelope) *bftpb.Envelope {
	return &bftpb.Envelope{Type: e.Type, Signer: e.Signer, Epoch: e.Epoch, Payload: bytes.Clone(e.Payload), Signature: bytes.Clone(e.Signature)}
}

package account_test

import (
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/account"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// What an honest replica may sign, near as it comes to a breach, is no evidence (A2).

// nearMisses are envelopes of honest replicas, n = 4.
func nearMisses(f *forger) map[string][]*bftpb.Envelope {
	r := newRenewal(f)
	a5, stable := f.prepared(1, 5, "a"), f.stableAt(8, "x")
	b5 := f.prepared(2, 5, "b")
	return map[string][]*bftpb.Envelope{
		"the same proposal twice":                  es(f.pre(1, 5, "a"), f.pre(1, 5, "a")),
		"another proposal in another view":         es(f.pre(1, 5, "a"), f.pre(2, 5, "b")),
		"the same vote in other company":           es(f.prepare(2, 1, 5, "a"), f.votes(2, 1, ballot{prep, 5, "a"}, ballot{prep, 6, "b"})),
		"prepare and commit":                       es(f.prepare(2, 1, 5, "a"), f.commit(2, 1, 5, "a")),
		"proposal and commit":                      es(f.pre(1, 5, "a"), f.commit(1, 1, 5, "a")),
		"another digest in a later view":           es(f.commit(2, 1, 5, "a"), f.prepare(2, 3, 5, "b"), f.commit(2, 3, 5, "b")),
		"other numbers":                            es(f.prepare(2, 1, 5, "a"), f.prepare(2, 1, 6, "b")),
		"two members differ":                       es(f.prepare(2, 1, 5, "a"), f.prepare(3, 1, 5, "b"), f.checkpoint(2, 8, "x"), f.checkpoint(3, 8, "y")),
		"a checkpoint against the quorum's":        es(f.checkpoint(3, 8, "y"), stable[:3], f.change(2, 1, 8, stable)),
		"a commit that is shown":                   es(f.commit(3, 1, 5, "a"), f.change(3, 2, 0, nil, a5)),
		"a commit that gave way to a later view":   es(f.commit(3, 1, 5, "a"), f.change(3, 3, 0, nil, b5)),
		"a commit behind the stable checkpoint":    es(f.commit(3, 1, 5, "a"), f.change(3, 2, 8, stable)),
		"a commit of the view that is entered":     es(f.change(3, 2, 0, nil), f.commit(3, 2, 5, "a")),
		"a commit after the view-change before":    es(f.change(3, 1, 0, nil), f.commit(3, 2, 5, "b"), f.change(3, 3, 0, nil, b5)),
		"a prepare that led nowhere":               es(f.prepare(3, 1, 5, "a"), f.change(3, 2, 0, nil)),
		"a certificate renewed":                    es(f.change(3, 2, 0, nil, a5), f.change(3, 3, 0, nil, b5), f.change(3, 4, 8, stable)),
		"view-changes to many views":               es(f.change(3, 1, 0, nil), f.change(3, 2, 0, nil), f.change(3, 9, 0, nil)),
		"the same view-change twice":               es(f.change(3, 2, 0, nil, a5), f.change(3, 2, 0, nil, a5)),
		"a new-view of nothing":                    es(r.plain, f.newView(2, r.plain)),
		"a new-view that follows":                  es(r.full, f.newView(2, r.full, r.propose(1, "", "", "", "", "b", "", "c")...)),
		"a new-view behind a stable checkpoint":    es(r.cut, f.newView(2, r.cut, f.pre(2, 9, "d"))),
		"a new-view, then a fresh proposal":        es(r.cut, f.newView(2, r.cut, f.pre(2, 9, "d")), f.pre(2, 10, "e")),
		"the new-view before its view-changes":     es(f.newView(2, r.cut, f.pre(2, 9, "d")), r.cut),
		"a new-view whose view-changes are hidden": es(f.newView(2, r.full, f.pre(2, 1, "z"))),
	}
}

func TestNearMisses(t *testing.T) {
	f := newForger(4)
	for name, fed := range nearMisses(f) {
		t.Run(name, func(t *testing.T) {
			for _, fed := range [][]*bftpb.Envelope{fed, reversed(fed)} {
				if all := f.book(t, fed...).All(); len(all) != 0 {
					why, err := account.Explain(f.manifest, all[0])
					t.Fatalf("accused: %s, %v", why, err)
				}
			}
			// Nor does anyone get evidence out of them who puts it together by hand.
			for kind := account.Kind(1); kind <= account.OutOfRole; kind++ {
				for i := range fed {
					tryEvidence(t, f, kind, fed[i])
					for j := range fed {
						tryEvidence(t, f, kind, fed[i], fed[j])
					}
				}
				tryEvidence(t, f, kind, fed...)
				tryEvidence(t, f, kind, reversed(fed)...)
			}
		})
	}
}

func tryEvidence(t *testing.T, f *forger, kind account.Kind, es ...*bftpb.Envelope) {
	t.Helper()
	for id := range f.members {
		e := account.Evidence{Cluster: f.manifest.Cluster, Culprit: bft.ReplicaID(id), Kind: kind, Envelopes: es}
		if why, err := account.Explain(f.manifest, e); err == nil {
			t.Fatalf("framed: %s", why)
		}
	}
}

// TestTieOfTwoCertificates: more than f liars can make two certificates of one view for one number. The
// honest primary that has to choose is not to blame; they are.
func TestTieOfTwoCertificates(t *testing.T) {
	f := newForger(4)
	vcs := es(f.change(0, 2, 0, nil, f.prepared(1, 1, "a")), f.change(1, 2, 0, nil), f.change(3, 2, 0, nil, f.prepared(1, 1, "b")))
	for _, letter := range []string{"a", "b"} {
		got := culprits(f.checked(t, f.book(t, es(vcs, f.newView(2, vcs, f.pre(2, 1, letter)))...)))
		if len(got) != 3 || got[0] != account.TwoVotes || got[1] != account.TwoProposals || got[2] != account.TwoVotes {
			t.Fatalf("found %v; 0 and 2 have prepared both, 1 has proposed both", got)
		}
		if k := culprits(f.book(t, es(vcs, f.newView(2, vcs, f.pre(2, 1, letter)))...).All())[2]; k == account.InvalidNewView {
			t.Fatal("the primary of view 2 is blamed for its choice")
		}
	}
}

// TestWhatIsNotSignedAccusesNobody: envelopes that a liar alters or makes up are refused.
func TestWhatIsNotSignedAccusesNobody(t *testing.T) {
	f, other := newForger(4), newForger(4)
	other.manifest.Cluster = crypto.Hash("another cluster")
	for i := range other.members {
		other.members[i].Cluster = other.manifest.Cluster
	}
	later := newForger(4)
	for i := range later.members {
		later.members[i].Epoch = 1
	}
	altered := func(change func(*bftpb.Envelope)) *bftpb.Envelope {
		x := copied(f.prepare(2, 1, 5, "b"))
		change(x)
		return x
	}
	for words, e := range map[string]*bftpb.Envelope{
		"member 2 did not sign":      altered(func(x *bftpb.Envelope) { x.Signature[0] ^= 1 }),
		"member 3 did not sign":      altered(func(x *bftpb.Envelope) { x.Signer = 3 }),
		"pre-prepare that member 2":  altered(func(x *bftpb.Envelope) { x.Type = uint32(bft.TypePrePrepare) }),
		"not one of 4 members":       altered(func(x *bftpb.Envelope) { x.Signer = 4 }),
		"no envelope has type 258":   altered(func(x *bftpb.Envelope) { x.Type = 258 }),
		"signature of 63 bytes":      altered(func(x *bftpb.Envelope) { x.Signature = x.Signature[:63] }),
		"signature of 65 bytes":      altered(func(x *bftpb.Envelope) { x.Signature = append(x.Signature, 0) }),
		"votes that member 2":        other.prepare(2, 1, 5, "b"),
		"of epoch 1":                 later.prepare(2, 1, 5, "b"),
		"member 2 did not":           altered(func(x *bftpb.Envelope) { x.Payload[len(x.Payload)-1] ^= 1 }),
		"does not decode":            f.seal(2, bft.TypeVotes, []byte{0xff}),
		"a request is no statement":  f.seal(2, bft.TypeRequest, nil),
		"an envelope is missing":     nil,
		"checkpoint of member 2":     f.seal(2, bft.TypeCheckpoint, nil),
		"view-change of member 2":    f.seal(2, bft.TypeViewChange, []byte{8}),
		"new-view of member 2":       f.seal(2, bft.TypeNewView, []byte{8}),
		"pre-prepare of member 2":    f.seal(2, bft.TypePrePrepare, nil),
		"votes of member 2 that":     f.votes(2, 1, make([]ballot, 65)...),
		"type 0 that member 2 did n": altered(func(x *bftpb.Envelope) { x.Type = 0 }),
	} {
		// First and last, so that neither it masks the true vote nor is it counted against it.
		b := account.New(f.manifest)
		if err := b.Add(e); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("refused with %v, want %q", err, words)
		}
		if err := b.Add(f.prepare(2, 1, 5, "a")); err != nil {
			t.Fatal(err)
		}
		if err := b.Add(e); err == nil {
			t.Errorf("%s: taken the second time", words)
		}
		if all := b.All(); len(all) != 0 {
			t.Errorf("%s: accused of %v", words, all[0].Kind)
		}
		tryEvidence(t, f, account.TwoVotes, f.prepare(2, 1, 5, "a"), e)
	}
}

// TestSignatureOnAnotherPayload: an envelope that borrows the signature of one that is known is not
// taken for it.
func TestSignatureOnAnotherPayload(t *testing.T) {
	f := newForger(4)
	good := f.prepare(2, 1, 5, "a")
	bad := copied(f.prepare(2, 1, 5, "b"))
	bad.Signature = good.Signature
	b := f.book(t, good)
	if err := b.Add(bad); err == nil || len(b.All()) != 0 {
		t.Fatalf("taken: %v, %v", err, b.All())
	}
}

// TestReplays: what an honest replica once said, said again by others, in status, data, view-changes and
// certificates, in any order, accuses nobody.
func TestReplays(t *testing.T) {
	f := newForger(4)
	b := account.New(f.manifest)
	a5 := f.prepared(1, 5, "a")
	vc := f.change(3, 2, 0, nil, a5)
	d := bftpb.Data{Checkpoint: f.stableAt(8, "x"), ViewChanges: es(vc), Committed: []*bftpb.Committed{{Seq: 5, View: 1,
		Votes: es(f.commit(0, 1, 5, "a"), f.commit(1, 1, 5, "a"), f.commit(2, 1, 5, "a"))}}}
	frames := [][]byte{
		wire.Frame(bft.TypeData, &d), wire.Frame(bft.TypeVotes, a5.votes[0]), wire.Frame(bft.TypeStatus, &bftpb.Status{Newest: a5.votes}),
		wire.Frame(bft.TypePrePrepare, &bftpb.PrePrepare{Header: a5.pre}), wire.Frame(bft.TypeViewChange, vc),
		wire.Frame(bft.TypeFetch, &bftpb.Fetch{}),
	}
	for range 3 {
		for _, frame := range frames {
			if err := b.AddFrame(frame); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := b.Culprits(); len(got) != 0 {
		t.Fatalf("accused: %v", got[0].Kind)
	}
	// The frames were read: what contradicts something in each of them is seen.
	for who, e := range map[bft.ReplicaID]*bftpb.Envelope{0: f.commit(0, 1, 5, "z"), 2: f.checkpoint(2, 8, "z"), 3: f.change(3, 2, 0, nil)} {
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
		if got := culprits(b.Culprits()); got[who] == 0 {
			t.Fatalf("%d is not accused: %v", who, got)
		}
	}
	if err := b.AddFrame(wire.Frame(bft.TypeStatus, &bftpb.Status{Newest: es(f.seal(1, bft.TypeVotes, nil), f.prepare(1, 1, 5, "a"))})); err == nil {
		t.Fatal("malformed votes are taken")
	}
	if got := culprits(b.All()); got[1] != account.OutOfRole {
		t.Fatalf("what follows a malformed envelope is not read: %v", got)
	}
	if b.AddFrame([]byte{byte(bft.TypeData), 0xff}) == nil || b.AddFrame([]byte{byte(bft.TypeStatus), 0xff}) == nil || b.AddFrame([]byte{byte(bft.TypeVotes), 0xff}) == nil {
		t.Fatal("a frame that does not decode is taken")
	}
}

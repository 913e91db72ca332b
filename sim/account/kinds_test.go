package account_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/account"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// guilty is what a case must find: one member, one kind.
type guilty struct {
	member bft.ReplicaID
	kind   account.Kind
	// size is the number of envelopes that prove it, words stand in the explanation.
	size  int
	words string
}

type kindCase struct {
	name string
	fed  []*bftpb.Envelope
	want guilty
}

func es(parts ...any) []*bftpb.Envelope {
	var out []*bftpb.Envelope
	for _, p := range parts {
		switch x := p.(type) {
		case *bftpb.Envelope:
			out = append(out, x)
		case []*bftpb.Envelope:
			out = append(out, x...)
		}
	}
	return out
}

const (
	prep = bft.PhasePrepare
	comm = bft.PhaseCommit
)

// voteCases contradict themselves in votes, proposals and checkpoints. n is 4: replica 1 is the
// primary of view 1, 2 a backup.
func voteCases(f *forger) []kindCase {
	return []kindCase{
		{"two proposals", es(f.pre(1, 5, "a"), f.pre(1, 5, "b")), guilty{1, account.TwoProposals, 2, "pre-prepare"}},
		{"a proposal and null", es(f.pre(1, 5, "a"), f.pre(1, 5, "")), guilty{1, account.TwoProposals, 2, "number 5 in view 1"}},
		{"two prepares", es(f.prepare(2, 1, 5, "a"), f.prepare(2, 1, 5, "b")), guilty{2, account.TwoVotes, 2, "prepare"}},
		{"two commits", es(f.commit(2, 1, 5, "a"), f.commit(2, 1, 5, "b")), guilty{2, account.TwoVotes, 2, "commit"}},
		{"two prepares in one envelope", es(f.votes(2, 1, ballot{prep, 5, "a"}, ballot{prep, 6, "a"}, ballot{prep, 5, "b"})), guilty{2, account.TwoVotes, 1, "number 5"}},
		{"among other votes", es(f.votes(2, 1, ballot{prep, 4, "x"}, ballot{prep, 5, "a"}), f.votes(2, 1, ballot{comm, 4, "x"}, ballot{prep, 5, "b"})), guilty{2, account.TwoVotes, 2, "number 5"}},
		{"a commit against the own prepare", es(f.prepare(2, 1, 5, "a"), f.commit(2, 1, 5, "b")), guilty{2, account.VoteAgainstOwn, 2, "number 5"}},
		{"both in one envelope", es(f.votes(2, 1, ballot{comm, 5, "b"}, ballot{prep, 5, "a"})), guilty{2, account.VoteAgainstOwn, 1, "number 5"}},
		{"a commit against the own pre-prepare", es(f.pre(1, 5, "a"), f.commit(1, 1, 5, "b")), guilty{1, account.VoteAgainstOwn, 2, "pre-prepare"}},
		{"two checkpoints", es(f.checkpoint(3, 8, "x"), f.checkpoint(3, 8, "y")), guilty{3, account.TwoCheckpoints, 2, "number 8"}},
		{"a pre-prepare by a backup", es(f.preBy(2, 1, 5, "a")), guilty{2, account.OutOfRole, 1, "whose primary is 1"}},
		{"a prepare by the primary", es(f.prepare(1, 1, 5, "a")), guilty{1, account.OutOfRole, 1, "whose primary it is"}},
		{"a checkpoint off the interval", es(f.checkpoint(3, 9, "x")), guilty{3, account.OutOfRole, 1, "interval is 8"}},
		{"a checkpoint at genesis", es(f.checkpoint(3, 0, "x")), guilty{3, account.OutOfRole, 1, "number 0"}},
	}
}

// changeCases contradict themselves in view-changes.
func changeCases(f *forger) []kindCase {
	a5, b5 := f.prepared(1, 5, "a"), f.prepared(1, 5, "b")
	stable := f.stableAt(8, "x")
	short := cert{5, a5.pre, a5.votes[:1]}
	return []kindCase{
		{"two view-changes", es(f.change(2, 3, 0, nil), f.change(2, 3, 0, nil, a5)), guilty{2, account.TwoViewChanges, 2, "view 3"}},
		{"a commit that is not shown", es(f.commit(2, 1, 5, "a"), f.change(2, 3, 0, nil)), guilty{2, account.LostCertificate, 2, "committed"}},
		{"a commit that is shown with another digest", es(f.commit(3, 1, 5, "c"), f.change(3, 3, 0, nil, a5)), guilty{3, account.LostCertificate, 2, "committed"}},
		{"a commit of a later view than is shown", es(f.commit(3, 2, 5, "a"), f.change(3, 4, 0, nil, a5)), guilty{3, account.LostCertificate, 2, "in view 2"}},
		{"a commit before the view-change after the next", es(f.commit(3, 1, 5, "a"), f.change(3, 3, 0, nil, a5), f.change(3, 4, 0, nil)), guilty{3, account.LostCertificate, 2, "number 5"}},
		{"a certificate shown before", es(f.change(3, 2, 0, nil, a5), f.change(3, 4, 0, nil)), guilty{3, account.LostCertificate, 2, "none in that to view 4"}},
		{"a stable checkpoint shown before", es(f.change(3, 2, 8, stable), f.change(3, 4, 0, nil)), guilty{3, account.LostCheckpoint, 2, "stable checkpoint 8"}},
		{"a certificate of too few", es(f.change(3, 2, 0, nil, short)), guilty{3, account.InvalidViewChange, 1, "1 distinct backups, 2 needed"}},
		{"a certificate of one, often", es(f.change(3, 2, 0, nil, cert{5, a5.pre, es(a5.votes[0], a5.votes[0])})), guilty{3, account.InvalidViewChange, 1, "1 distinct"}},
		{"the primary's prepare counted", es(f.change(0, 2, 0, nil, cert{5, f.pre(0, 5, "a"), es(f.prepare(0, 0, 5, "a"), f.prepare(2, 0, 5, "a"))})), guilty{0, account.InvalidViewChange, 1, "prepare of the primary"}},
		{"prepares of another digest", es(f.change(3, 2, 0, nil, cert{5, a5.pre, b5.votes})), guilty{3, account.InvalidViewChange, 1, "no prepare of it"}},
		{"a certificate of that view", es(f.change(3, 1, 0, nil, a5)), guilty{3, account.InvalidViewChange, 1, "not below 1"}},
		{"a certificate at the stable checkpoint", es(f.change(3, 2, 8, stable, f.prepared(1, 8, "a"))), guilty{3, account.InvalidViewChange, 1, "out of order"}},
		{"certificates out of order", es(f.change(3, 2, 0, nil, f.prepared(1, 6, "a"), a5)), guilty{3, account.InvalidViewChange, 1, "out of order"}},
		{"a stable checkpoint without proof", es(f.change(3, 2, 8, nil)), guilty{3, account.InvalidViewChange, 1, "0 distinct"}},
		{"a stable checkpoint of too few", es(f.change(3, 2, 8, stable[:2])), guilty{3, account.InvalidViewChange, 1, "2 distinct"}},
		{"a stable checkpoint of another number", es(f.change(3, 2, 16, stable)), guilty{3, account.InvalidViewChange, 1, "do not say so"}},
		{"a proof of genesis", es(f.change(3, 2, 0, stable)), guilty{3, account.InvalidViewChange, 1, "do not say so"}},
		{"to view 0", es(f.change(3, 0, 0, nil)), guilty{3, account.InvalidViewChange, 1, "view 0"}},
	}
}

func run(t *testing.T, f *forger, cases []kindCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, fed := range [][]*bftpb.Envelope{c.fed, reversed(c.fed)} {
				all := f.checked(t, f.book(t, fed...))
				var found *account.Evidence
				for i := range all {
					if all[i].Culprit != c.want.member {
						t.Fatalf("member %d is accused, too, of %v", all[i].Culprit, all[i].Kind)
					}
					if all[i].Kind == c.want.kind {
						found = &all[i]
					}
				}
				if found == nil {
					t.Fatalf("found %v, want %v", all, c.want)
				}
				if len(found.Envelopes) != c.want.size {
					t.Errorf("%d envelopes, want %d", len(found.Envelopes), c.want.size)
				}
				why, err := account.Explain(f.manifest, *found)
				if err != nil || !strings.Contains(why, c.want.words) {
					t.Errorf("explained as %q, %v; want %q", why, err, c.want.words)
				}
				again(t, f, *found)
			}
		})
	}
}

func reversed(es []*bftpb.Envelope) []*bftpb.Envelope {
	out := slices.Clone(es)
	slices.Reverse(out)
	return out
}

// again holds evidence to what it must stand: it survives its file, proves nothing against anyone
// else nor of another kind, and nothing when an envelope is missing.
func again(t *testing.T, f *forger, e account.Evidence) {
	t.Helper()
	b, err := account.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	back, err := account.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := account.Check(f.manifest, back); err != nil {
		t.Fatalf("after its file: %v", err)
	}
	other := e
	for id := range f.members {
		if other.Culprit = bft.ReplicaID(id); other.Culprit != e.Culprit && account.Check(f.manifest, other) == nil {
			t.Fatalf("evidence against %d proves something against %d", e.Culprit, id)
		}
	}
	other = e
	for other.Kind = 1; other.Kind <= account.OutOfRole; other.Kind++ {
		// Votes in one envelope may be guilty of several things at once, none of these cases is.
		if other.Kind != e.Kind && account.Check(f.manifest, other) == nil {
			t.Fatalf("evidence of %v proves %v", e.Kind, other.Kind)
		}
	}
	for i := range e.Envelopes {
		other = e
		other.Envelopes = slices.Delete(slices.Clone(e.Envelopes), i, i+1)
		if account.Check(f.manifest, other) == nil {
			t.Fatalf("holds without envelope %d", i)
		}
		other.Envelopes = slices.Clone(e.Envelopes)
		other.Envelopes[i] = copied(e.Envelopes[i])
		other.Envelopes[i].Signature[0] ^= 1
		if err := account.Check(f.manifest, other); err == nil || !strings.Contains(err.Error(), "did not sign") {
			t.Fatalf("envelope %d unsigned: %v", i, err)
		}
	}
}

func TestVotesThatContradict(t *testing.T) { f := newForger(4); run(t, f, voteCases(f)) }

func TestViewChangesThatContradict(t *testing.T) { f := newForger(4); run(t, f, changeCases(f)) }

// TestEveryPartOfAViewChangeCounts alters one nested signature at a time.
func TestEveryPartOfAViewChangeCounts(t *testing.T) {
	f := newForger(4)
	whole := f.change(3, 2, 8, f.stableAt(8, "x"), f.prepared(1, 9, "a"), f.prepared(0, 10, "b"))
	m, err := wire.ViewChange(whole)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.checked(t, f.book(t, whole)); len(got) != 0 {
		t.Fatalf("accused when all is well: %v", got)
	}
	for i := range m.Envelopes {
		bad, err := wire.ViewChange(whole)
		if err != nil {
			t.Fatal(err)
		}
		bad.Envelopes[i].Signature[5] ^= 1
		all := f.checked(t, f.book(t, f.seal(3, bft.TypeViewChange, wire.Marshal(bad))))
		if len(all) != 1 || all[0].Culprit != 3 || all[0].Kind != account.InvalidViewChange {
			t.Fatalf("part %d unsigned: %v", i, all)
		}
	}
}

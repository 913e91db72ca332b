package account_test

import (
	"testing"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/account"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// renewal is a new-view to view 2, whose primary is 2, of n = 4, with its view-changes.
type renewal struct {
	f *forger
	// plain view-changes have no certificates; those of full have "a" of view 0 and "b" of view 1
	// for number 5 and "c" for number 7; those of cut have a stable checkpoint at 8 and "d" for 9.
	plain, full, cut []*bftpb.Envelope
}

func newRenewal(f *forger) *renewal {
	return &renewal{f: f,
		plain: f.changes(2, 0, nil),
		full: es(f.change(0, 2, 0, nil, f.prepared(0, 5, "a")),
			f.change(1, 2, 0, nil, f.prepared(1, 5, "b"), f.prepared(1, 7, "c")), f.change(3, 2, 0, nil)),
		cut: es(f.change(0, 2, 8, f.stableAt(8, "x")), f.change(1, 2, 0, nil, f.prepared(1, 9, "d")), f.change(3, 2, 0, nil)),
	}
}

// propose proposes in view 2, from number first.
func (r *renewal) propose(first bft.Seq, letters ...string) []*bftpb.Envelope {
	var out []*bftpb.Envelope
	for i, l := range letters {
		out = append(out, r.f.pre(2, first+bft.Seq(i), l))
	}
	return out
}

// asOf is a new-view that names a view-change as one of another member.
func (r *renewal) asOf(e *bftpb.Envelope, signer uint32) *bftpb.Envelope {
	nv := r.f.newView(2, es(r.plain[0], r.plain[1], e))
	m, err := wire.NewView(nv)
	if err != nil {
		panic(err)
	}
	m.ViewChanges[2].Signer = signer
	return r.f.seal(2, bft.TypeNewView, wire.Marshal(m))
}

func (r *renewal) cases() []kindCase {
	f := r.f
	bad := func(words string, size int, parts ...any) kindCase {
		return kindCase{words, es(parts...), guilty{2, account.InvalidNewView, size, words}}
	}
	early := f.change(0, 3, 0, nil)
	return []kindCase{
		{"two new-views", es(f.newView(2, r.plain), f.newView(2, es(r.plain[:2], f.change(3, 2, 0, nil)))), guilty{2, account.TwoNewViews, 2, "view 2"}},
		bad("not the primary", 1, f.newViewBy(2, 3, f.changes(3, 0, nil))),
		bad("names 2 view-changes, a quorum is 3", 1, f.newView(2, r.plain[:2])),
		bad("names 4 view-changes", 1, f.newView(2, es(r.plain, f.change(3, 2, 0, nil)))),
		bad("names member 1 twice", 1, f.newView(2, es(r.plain[:2], r.plain[1]))),
		bad("carries a pre-prepare of view 1", 1, f.newView(2, r.plain, f.pre(1, 1, "a"))),
		bad("names a view-change of 0 to view 3", 2, f.newView(2, es(early, r.plain[1:])), early),
		bad("names a view-change of 3 as one of 2", 2, r.asOf(r.full[2], 2), r.full[2]),
		bad("proposes 1 numbers, its view-changes determine 0", 4, r.plain, f.newView(2, r.plain, f.pre(2, 1, "a"))),
		bad("proposes 0 numbers, its view-changes determine 7", 4, r.full, f.newView(2, r.full)),
		bad("for number 5, which", 4, r.full, f.newView(2, r.full, r.propose(1, "", "", "", "", "a", "", "c")...)),
		bad("for number 1, which", 4, r.full, f.newView(2, r.full, r.propose(1, "x", "", "", "", "b", "", "c")...)),
		bad("proposes number 1 where 9 belongs", 4, r.cut, f.newView(2, r.cut, f.pre(2, 1, "d"))),
		bad("for number 9, which", 4, r.cut, f.newView(2, r.cut, f.pre(2, 9, ""))),
	}
}

func TestNewViewsThatDoNotFollow(t *testing.T) { f := newForger(4); run(t, f, newRenewal(f).cases()) }

// culprits lists who is accused of what.
func culprits(all []account.Evidence) map[bft.ReplicaID]account.Kind {
	out := make(map[bft.ReplicaID]account.Kind)
	for _, e := range all {
		out[e.Culprit] = e.Kind
	}
	return out
}

// TestNewViewWithAVoidViewChange: both its signer and the primary that names it are guilty, for an
// honest primary checks what it names (rule 8).
func TestNewViewWithAVoidViewChange(t *testing.T) {
	f := newForger(4)
	r := newRenewal(f)
	void := f.change(0, 2, 8, nil)
	all := f.checked(t, f.book(t, f.newView(2, es(void, r.plain[1:])), void))
	got := culprits(all)
	if len(got) != 2 || got[0] != account.InvalidViewChange || got[2] != account.InvalidNewView {
		t.Fatalf("found %v", got)
	}
}

// TestNewViewWithAStrangersProposal: the backup that signed a pre-prepare is guilty, and the
// primary that carries it.
func TestNewViewWithAStrangersProposal(t *testing.T) {
	f := newForger(4)
	r := newRenewal(f)
	got := culprits(f.checked(t, f.book(t, f.newView(2, r.plain, f.preBy(1, 2, 1, "a")))))
	if len(got) != 2 || got[1] != account.OutOfRole || got[2] != account.InvalidNewView {
		t.Fatalf("found %v", got)
	}
}

// TestNewViewNeedsItsViewChanges: what is not held proves nothing.
func TestNewViewNeedsItsViewChanges(t *testing.T) {
	f := newForger(4)
	r := newRenewal(f)
	b := f.book(t, f.newView(2, r.full), r.full[0], r.full[1])
	if got := f.checked(t, b); len(got) != 0 {
		t.Fatalf("accused on %v without the third view-change", got)
	}
	if err := b.Add(r.full[2]); err != nil {
		t.Fatal(err)
	}
	if got := culprits(f.checked(t, b)); len(got) != 1 || got[2] != account.InvalidNewView {
		t.Fatalf("found %v", got)
	}
}

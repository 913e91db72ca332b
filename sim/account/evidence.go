package account

import (
	"bytes"
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
)

// Kind is how somebody broke the protocol. Each kind says which envelopes prove it.
type Kind uint8

// The kinds. All envelopes bear the culprit's signature, but for the view-changes beside a
// new-view.
const (
	// TwoProposals: two pre-prepares for one view and number propose different things.
	TwoProposals Kind = iota + 1
	// TwoVotes: two votes of one phase, view and number name different digests. They may stand in
	// one envelope.
	TwoVotes
	// VoteAgainstOwn: votes of different phases, or a pre-prepare and a vote, for one view and number
	// name different digests. An honest replica accepts one proposal in a view, prepares it, and
	// commits what it accepted.
	VoteAgainstOwn
	// TwoCheckpoints: two checkpoints for one number differ (rule 22).
	TwoCheckpoints
	// TwoViewChanges: two view-changes to one view differ (rule 10).
	TwoViewChanges
	// TwoNewViews: two new-views of one view differ.
	TwoNewViews
	// LostCertificate: a commit, or an earlier view-change with a prepared certificate, and a
	// view-change to a later view that shows neither this certificate nor a later one, though the
	// number is above its stable checkpoint (rule 9). The later view-change comes second.
	LostCertificate
	// LostCheckpoint: a view-change has a lower stable checkpoint than an earlier one of the same
	// signer (rule 17). The later view-change comes second.
	LostCheckpoint
	// InvalidViewChange: a view-change carries a part that does not hold (rule 8).
	InvalidViewChange
	// InvalidNewView: a new-view is not its primary's, does not name a quorum of distinct members, or
	// carries what is not its own; or it names a view-change that is void or another's, which is
	// then the second envelope; or its proposals are not those that its view-changes determine
	// (rule 7), all of which then follow it.
	InvalidNewView
	// OutOfRole: a pre-prepare by another than the primary, a prepare by the primary (rule 1), or a
	// checkpoint for a number at which none is taken.
	OutOfRole

	kindEnd
)

var kindNames = [kindEnd]string{"", "two proposals", "two votes", "vote against own", "two checkpoints", "two view-changes",
	"two new-views", "lost certificate", "lost checkpoint", "invalid view-change", "invalid new-view", "out of role"}

// String names the kind as evidence files do.
func (k Kind) String() string {
	if k == 0 || k >= kindEnd {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return kindNames[k]
}

// MarshalText gives the name of a kind. It fails if there is none.
func (k Kind) MarshalText() ([]byte, error) {
	if k == 0 || k >= kindEnd {
		return nil, fmt.Errorf("account: there is no kind %d of evidence", uint8(k))
	}
	return []byte(kindNames[k]), nil
}

// UnmarshalText reads the name of a kind.
func (k *Kind) UnmarshalText(text []byte) error {
	for i := Kind(1); i < kindEnd; i++ {
		if kindNames[i] == string(text) {
			*k = i
			return nil
		}
	}
	return fmt.Errorf("account: %.40q is no kind of evidence", text)
}

// Evidence shows that a member broke the protocol.
type Evidence struct {
	// Cluster and Epoch are those in which it did.
	Cluster bft.Digest
	Epoch   bft.Epoch
	// Culprit is the member.
	Culprit bft.ReplicaID
	// Kind is what it did.
	Kind Kind
	// Envelopes prove it, see Kind.
	Envelopes []*bftpb.Envelope
}

// Check verifies evidence from scratch: signatures, certificates and the contradiction. nil: the
// culprit is guilty, whoever presents it. An error says why nothing is proven.
func Check(m Manifest, e Evidence) error {
	_, err := Explain(m, e)
	return err
}

// Explain checks evidence as [Check] does, and says in one line what it proves.
func Explain(m Manifest, e Evidence) (string, error) {
	if err := m.Validate(); err != nil {
		return "", err
	}
	switch {
	case e.Cluster != m.Cluster:
		return "", fmt.Errorf("account: evidence of cluster %s; the manifest is that of %s", e.Cluster.Short(), m.Cluster.Short())
	case e.Epoch != m.Epoch:
		return "", fmt.Errorf("account: evidence of epoch %d; the manifest is that of epoch %d", e.Epoch, m.Epoch)
	case int64(e.Culprit) >= int64(len(m.Members)):
		return "", fmt.Errorf("account: evidence against %d, who is not one of %d members", e.Culprit, len(m.Members))
	case e.Kind == 0 || e.Kind >= kindEnd:
		return "", fmt.Errorf("account: there is no kind %d of evidence", e.Kind)
	case len(e.Envelopes) == 0 || len(e.Envelopes) > maxEnvelopes:
		return "", fmt.Errorf("account: evidence with %d envelopes, 1 to %d can prove something", len(e.Envelopes), maxEnvelopes)
	}
	r := newReader(m)
	said := make([]*statement, len(e.Envelopes))
	for i, x := range e.Envelopes {
		s, err := r.read(x)
		if err != nil {
			return "", err
		}
		if s.signer != e.Culprit && (i == 0 || e.Kind != InvalidNewView) {
			return "", fmt.Errorf("account: evidence against %d with a %v of %d", e.Culprit, s.kind, s.signer)
		}
		said[i] = s
	}
	why := r.judge(e.Kind, said)
	if why == "" {
		return "", fmt.Errorf("account: the envelopes do not prove %q against member %d", e.Kind, e.Culprit)
	}
	return fmt.Sprintf("member %d %s", e.Culprit, why), nil
}

// judge says what the statements prove, empty if it is not what kind claims.
func (r *reader) judge(kind Kind, said []*statement) string {
	a, b := said[0], said[len(said)-1]
	if kind == InvalidNewView {
		return judgeNewView(a, said[1:])
	}
	if len(said) > 2 {
		return ""
	}
	switch kind {
	case TwoProposals, TwoVotes, VoteAgainstOwn:
		return judgeVotes(kind, a, b)
	case TwoCheckpoints:
		if a.kind == bft.TypeCheckpoint && b.kind == bft.TypeCheckpoint && a.seq == b.seq && a.info != b.info {
			return fmt.Sprintf("signed two checkpoints for number %d, of states %s and %s", a.seq, a.info.State.Short(), b.info.State.Short())
		}
	case TwoViewChanges, TwoNewViews:
		want := bft.TypeViewChange
		if kind == TwoNewViews {
			want = bft.TypeNewView
		}
		if a.kind == want && b.kind == want && a.view == b.view && !bytes.Equal(a.env.Payload, b.env.Payload) {
			return fmt.Sprintf("signed two different %vs to view %d", want, a.view)
		}
	case LostCertificate:
		return judgeLoss(a, b)
	case LostCheckpoint:
		if a.sound() && b.sound() && a.view < b.view && a.change.stable > b.change.stable {
			return fmt.Sprintf("showed stable checkpoint %d in its view-change to view %d and %d in that to view %d", a.change.stable, a.view, b.change.stable, b.view)
		}
	case InvalidViewChange:
		if len(said) == 1 && a.kind == bft.TypeViewChange && a.change.void != "" {
			return fmt.Sprintf("signed a view-change to view %d that %s", a.view, a.change.void)
		}
	case OutOfRole:
		if len(said) == 1 {
			return r.outOfRole(a)
		}
	}
	return ""
}

// sound tells whether s is a view-change that holds.
func (s *statement) sound() bool { return s.kind == bft.TypeViewChange && s.change.void == "" }

// ballots lists what s votes for, the primary's pre-prepare included.
func (s *statement) ballots() []vote {
	if s.kind == bft.TypePrePrepare {
		return []vote{{bft.PhasePrePrepare, s.seq, s.digest}}
	}
	return s.votes
}

// judgeVotes looks for two votes of one view and number for different digests.
func judgeVotes(kind Kind, a, b *statement) string {
	if a.view != b.view {
		return ""
	}
	for _, x := range a.ballots() {
		for _, y := range b.ballots() {
			if x.seq == y.seq && x.digest != y.digest && against(x.phase, y.phase) == kind {
				return fmt.Sprintf("signed a %v of %s and a %v of %s for number %d in view %d",
					x.phase, x.digest.Short(), y.phase, y.digest.Short(), x.seq, a.view)
			}
		}
	}
	return ""
}

// against is the kind of two votes for different digests.
func against(x, y bft.Phase) Kind {
	switch {
	case x != y:
		return VoteAgainstOwn
	case x == bft.PhasePrePrepare:
		return TwoProposals
	}
	return TwoVotes
}

// judgeLoss checks that the view-change b lacks what a, a commit or an earlier view-change, had.
func judgeLoss(a, b *statement) string {
	if !b.sound() || a.view >= b.view {
		return ""
	}
	if a.kind == bft.TypeVotes {
		for _, x := range a.votes {
			if x.phase == bft.PhaseCommit && b.change.loses(a.view, x.seq, x.digest) {
				return fmt.Sprintf("committed %s for number %d in view %d, and its view-change to view %d has no certificate of it",
					x.digest.Short(), x.seq, a.view, b.view)
			}
		}
		return ""
	}
	if !a.sound() {
		return ""
	}
	for _, p := range a.change.prepared {
		if b.change.loses(p.view, p.seq, p.digest) {
			return fmt.Sprintf("showed a certificate of view %d for number %d in its view-change to view %d, and none in that to view %d",
				p.view, p.seq, a.view, b.view)
		}
	}
	return ""
}

// outOfRole says what s does that its signer may not do.
func (r *reader) outOfRole(s *statement) string {
	switch s.kind {
	case bft.TypePrePrepare:
		if p := r.m.primary(s.view); s.signer != p {
			return fmt.Sprintf("proposed number %d in view %d, whose primary is %d", s.seq, s.view, p)
		}
	case bft.TypeVotes:
		for _, x := range s.votes {
			if x.phase == bft.PhasePrepare && s.signer == r.m.primary(s.view) {
				return fmt.Sprintf("prepared number %d in view %d, whose primary it is", x.seq, s.view)
			}
		}
	case bft.TypeCheckpoint:
		if s.seq == 0 || r.m.Interval != 0 && s.seq%r.m.Interval != 0 {
			return fmt.Sprintf("signed a checkpoint at number %d, the interval is %d", s.seq, r.m.Interval)
		}
	}
	return ""
}

// judgeNewView says what is wrong with a new-view, as far as the view-changes show it.
func judgeNewView(nv *statement, others []*statement) string {
	if nv.kind != bft.TypeNewView {
		return ""
	}
	switch v := nv.renew; {
	case v.void != "" && len(others) == 0:
		return fmt.Sprintf("signed a new-view %d that %s", nv.view, v.void)
	case v.void != "":
		return ""
	}
	held := make(map[bft.Digest]*statement, len(others))
	for _, s := range others {
		if s.kind != bft.TypeViewChange {
			return ""
		}
		held[s.change.id] = s
	}
	changes := make([]*viewChange, 0, len(others))
	for _, ref := range nv.renew.refs {
		s := held[ref.digest]
		if s == nil {
			continue
		}
		if why := misnamed(nv, ref, s); why != "" {
			return fmt.Sprintf("signed a new-view %d that %s", nv.view, why)
		}
		changes = append(changes, s.change)
	}
	if len(changes) != len(nv.renew.refs) {
		return ""
	}
	if why := nv.renew.follows(changes); why != "" {
		return fmt.Sprintf("signed a new-view %d that %s", nv.view, why)
	}
	return ""
}

// misnamed says why the new-view must not name the view-change s in this reference.
func misnamed(nv *statement, ref reference, s *statement) string {
	switch {
	case uint32(s.signer) != ref.signer:
		return fmt.Sprintf("names a view-change of %d as one of %d", s.signer, ref.signer)
	case s.view != nv.view:
		return fmt.Sprintf("names a view-change of %d to view %d", s.signer, s.view)
	case s.change.void != "":
		return fmt.Sprintf("names a view-change of %d that %s", s.signer, s.change.void)
	}
	return ""
}

package account

import (
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// viewChange is what a view-change claims, and whether it is true.
type viewChange struct {
	stable   bft.Seq
	prepared []prepared // ascending by number, if the view-change is not void
	// parts are the envelopes within that are statements by themselves.
	parts []*statement
	// void says which part does not hold; empty: all do. One invalid part voids a
	// view-change (rule 8), and no honest replica signs what is void.
	void string
	id   bft.Digest // of the envelope, as new-views name it
}

// prepared is a prepared certificate: what it proves, in which view.
type prepared struct {
	seq    bft.Seq
	view   bft.View
	prop   bft.Proposal
	digest bft.Digest
}

// of returns the certificate for a number, nil if there is none.
func (c *viewChange) of(seq bft.Seq) *prepared {
	lo, hi := 0, len(c.prepared)
	for lo < hi {
		if mid := (lo + hi) / 2; c.prepared[mid].seq < seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(c.prepared) && c.prepared[lo].seq == seq {
		return &c.prepared[lo]
	}
	return nil
}

// loses tells that the signer of c, who once had a certificate of view v for digest d, shows
// neither it nor a later one, though the number is not behind its stable checkpoint (rule 9).
func (c *viewChange) loses(v bft.View, seq bft.Seq, d bft.Digest) bool {
	if c.stable >= seq {
		return false
	}
	p := c.of(seq)
	return p == nil || p.view < v || p.view == v && p.digest != d
}

// decodeViewChange reads a view-change. What it claims falsely is no error: it is what its
// signer answers for, and makes it void.
func (r *reader) decodeViewChange(s *statement) error {
	p, err := wire.ViewChange(s.env)
	if err != nil || !p.Strict() || len(p.Prepared) > bft.MaxWindow {
		return s.malformed()
	}
	c := &viewChange{stable: bft.Seq(p.Stable), id: wire.Digest(s.env)}
	s.view, s.change = bft.View(p.View), c
	parts := make([]*statement, len(p.Envelopes))
	for i, e := range p.Envelopes {
		part, err := r.readAs(e, bft.TypeVotes, bft.TypePrePrepare, bft.TypeCheckpoint)
		if err != nil {
			c.voided("carries an invalid envelope: %v", err)
			continue
		}
		parts[i] = part
		c.parts = append(c.parts, part)
	}
	if p.View == 0 {
		c.voided("is to view 0")
	}
	r.checkStable(c, p, parts)
	last := c.stable
	for _, x := range p.Prepared {
		cert, why := r.preparedOf(x, parts, s.view)
		switch {
		case why != "":
			c.voided("has a certificate for number %d that %s", x.Seq, why)
			continue
		case cert.seq <= last:
			c.voided("has certificates out of order, or at its stable checkpoint: number %d after %d", cert.seq, last)
			continue
		}
		last = cert.seq
		c.prepared = append(c.prepared, cert)
	}
	return nil
}

// voided notes the first reason.
func (c *viewChange) voided(format string, args ...any) {
	if c.void == "" {
		c.void = fmt.Sprintf(format, args...)
	}
}

// pick returns the part at an index, nil if there is none of that kind.
func pick(parts []*statement, i uint32, kind bft.MessageType) *statement {
	if int64(i) >= int64(len(parts)) || parts[i] == nil || parts[i].kind != kind {
		return nil
	}
	return parts[i]
}

// checkStable checks the certificate of the stable checkpoint: a quorum of members says the same of
// that number (OSDI'99 §4.3). Genesis needs none.
func (r *reader) checkStable(c *viewChange, p *bftpb.ViewChange, parts []*statement) {
	if len(p.Checkpoint) > bft.MaxMembers {
		c.voided("has a checkpoint certificate of %d parts", len(p.Checkpoint))
		return
	}
	var seen members
	var first *statement
	for _, i := range p.Checkpoint {
		x := pick(parts, i, bft.TypeCheckpoint)
		if x == nil {
			c.voided("has a checkpoint certificate with a part that is no checkpoint")
			return
		}
		if first == nil {
			first = x
		}
		if x.info != first.info || x.seq != c.stable {
			c.voided("proves stable checkpoint %d with checkpoints that do not say so", c.stable)
			return
		}
		seen.add(x.signer)
	}
	switch {
	case c.stable == 0 && first != nil:
		c.voided("proves genesis")
	case c.stable > 0 && seen.count < r.quorum:
		c.voided("proves stable checkpoint %d with %d distinct signers, %d needed", c.stable, seen.count, r.quorum)
	}
}

// preparedOf checks a prepared certificate in a view-change to view to (rules 1 and 2), and says what
// is wrong with it.
func (r *reader) preparedOf(x *bftpb.Prepared, parts []*statement, to bft.View) (prepared, string) {
	pre := pick(parts, x.PrePrepare, bft.TypePrePrepare)
	switch {
	case pre == nil:
		return prepared{}, "has no pre-prepare"
	case pre.seq != bft.Seq(x.Seq):
		return prepared{}, fmt.Sprintf("is one for number %d", pre.seq)
	case pre.signer != r.m.primary(pre.view):
		return prepared{}, fmt.Sprintf("has a pre-prepare of view %d by %d, who is not its primary", pre.view, pre.signer)
	case pre.view >= to:
		return prepared{}, fmt.Sprintf("is of view %d, which is not below %d", pre.view, to)
	case len(x.Votes) > bft.MaxMembers:
		return prepared{}, fmt.Sprintf("has %d votes", len(x.Votes))
	}
	var seen members
	for _, i := range x.Votes {
		v := pick(parts, i, bft.TypeVotes)
		switch {
		case v == nil || !v.votesFor(pre.view, vote{bft.PhasePrepare, pre.seq, pre.digest}):
			return prepared{}, "has a part that is no prepare of it"
		case v.signer == pre.signer:
			return prepared{}, "counts a prepare of the primary"
		}
		seen.add(v.signer)
	}
	if seen.count < r.quorum-1 {
		return prepared{}, fmt.Sprintf("has prepares of %d distinct backups, %d needed", seen.count, r.quorum-1)
	}
	return prepared{pre.seq, pre.view, pre.prop, pre.digest}, ""
}

// members is a set of members.
type members struct {
	in    [bft.MaxMembers]bool
	count int
}

// add adds a member and tells whether it was not there yet.
func (m *members) add(id bft.ReplicaID) bool {
	if m.in[id] {
		return false
	}
	m.in[id] = true
	m.count++
	return true
}

// newView is what a new-view says.
type newView struct {
	refs []reference
	pres []*statement
	// void says what shows by itself that no honest replica signed it.
	void string
}

// reference names a view-change.
type reference struct {
	signer uint32
	digest bft.Digest
}

// decodeNewView reads a new-view and checks what it shows by itself.
func (r *reader) decodeNewView(s *statement) error {
	p, err := wire.NewView(s.env)
	if err != nil || !p.Strict() || len(p.PrePrepares) > maxNewViews || len(p.ViewChanges) > bft.MaxMembers {
		return s.malformed()
	}
	v := &newView{}
	s.view, s.renew = bft.View(p.View), v
	if p.View == 0 || s.signer != r.m.primary(s.view) {
		v.voided("is by %d, who is not the primary of view %d", s.signer, p.View)
	}
	var seen members
	for _, x := range p.ViewChanges {
		if len(x.Digest) != crypto.DigestSize {
			return s.malformed()
		}
		v.refs = append(v.refs, reference{x.Signer, wire.DigestOf(x.Digest)})
		if int64(x.Signer) >= int64(len(r.m.Members)) {
			v.voided("names a view-change of %d, who is not a member", x.Signer)
		} else if !seen.add(bft.ReplicaID(x.Signer)) {
			v.voided("names member %d twice", x.Signer)
		}
	}
	if len(v.refs) != r.quorum {
		v.voided("names %d view-changes, a quorum is %d", len(v.refs), r.quorum)
	}
	for _, e := range p.PrePrepares {
		pre, err := r.readAs(e, bft.TypePrePrepare)
		if err != nil {
			v.voided("carries an invalid envelope: %v", err)
			continue
		}
		v.pres = append(v.pres, pre)
		if pre.signer != s.signer || pre.view != s.view {
			v.voided("carries a pre-prepare of view %d by %d", pre.view, pre.signer)
		}
	}
	return nil
}

// voided notes the first reason.
func (v *newView) voided(format string, args ...any) {
	if v.void == "" {
		v.void = fmt.Sprintf(format, args...)
	}
}

// follows says how a new-view departs from the view-changes that it names, all of which are valid;
// empty: it does not (rules 7 and 27). For each number above the highest stable checkpoint
// up to the highest that prepared, it proposes what the certificate of the highest view
// names, or null. Of two certificates of one view that name different proposals either may win:
// their signers answer for them, not the primary.
func (v *newView) follows(changes []*viewChange) string {
	var low, high bft.Seq
	for _, c := range changes {
		low = max(low, c.stable)
	}
	best := make(map[bft.Seq][]prepared)
	high = low
	for _, c := range changes {
		for _, p := range c.prepared {
			if p.seq <= low {
				continue
			}
			high = max(high, p.seq)
			b := best[p.seq]
			if len(b) > 0 && p.view > b[0].view {
				b = nil
			}
			if len(b) == 0 || p.view == b[0].view {
				best[p.seq] = append(b, p)
			}
		}
	}
	if n := high - low; n != bft.Seq(len(v.pres)) {
		return fmt.Sprintf("proposes %d numbers, its view-changes determine %d, from %d to %d", len(v.pres), n, low+1, high)
	}
	for i, pre := range v.pres {
		seq := low + 1 + bft.Seq(i)
		if pre.seq != seq {
			return fmt.Sprintf("proposes number %d where %d belongs", pre.seq, seq)
		}
		fits := len(best[seq]) == 0 && pre.prop == bft.Null
		for _, p := range best[seq] {
			fits = fits || p.prop == pre.prop
		}
		if !fits {
			return fmt.Sprintf("proposes %s for number %d, which its view-changes do not determine", pre.digest.Short(), seq)
		}
	}
	return ""
}

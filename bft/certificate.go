package bft

import "fmt"

// preparedCert proves that a proposal prepared: the primary's pre-prepare and prepares of Q−1
// distinct backups of the same view (OSDI'99 §4.2, "prepared"; rule 1).
type preparedCert struct {
	pre   *prePrepare
	votes []*votes
}

// roster is what certificates are checked against: the members of one epoch.
type roster struct {
	n     int
	epoch Epoch
}

func (r roster) quorum() int { return Quorum(r.n) }
func (r roster) weak() int   { return WeakQuorum(r.n) }
func (r roster) member(e *Envelope) error {
	if int(e.Signer) >= r.n {
		return fmt.Errorf("%w: signer %d is not one of %d members", ErrInvalid, e.Signer, r.n)
	}
	if e.Epoch != r.epoch {
		return fmt.Errorf("%w: envelope of epoch %d in epoch %d", ErrInvalid, e.Epoch, r.epoch)
	}
	return nil
}

// checkPrePrepare: the header is by the primary of its view.
func (r roster) checkPrePrepare(p *prePrepare) error {
	if err := r.member(p.env); err != nil {
		return err
	}
	if p.env.Signer != Primary(p.view, r.n) {
		return fmt.Errorf("%w: pre-prepare of view %d by %d, who is not its primary", ErrInvalid, p.view, p.env.Signer)
	}
	return nil
}

// checkVoteSet: exactly want distinct members, all in view v, each with the vote; the member
// except, if given, is not among them.
func (r roster) checkVoteSet(vs []*votes, v View, want vote, count int, except *ReplicaID) error {
	if len(vs) != count {
		return fmt.Errorf("%w: certificate of %d votes, %d make it", ErrInvalid, len(vs), count)
	}
	var seen [MaxMembers]bool
	for _, x := range vs {
		if err := r.member(x.env); err != nil {
			return err
		}
		s := x.env.Signer
		switch {
		case seen[s]:
			return fmt.Errorf("%w: certificate counts signer %d twice", ErrInvalid, s)
		case except != nil && s == *except:
			return fmt.Errorf("%w: certificate counts the primary's own prepare", ErrInvalid)
		case x.view != v:
			return fmt.Errorf("%w: certificate of view %d has votes of view %d", ErrInvalid, v, x.view)
		case !x.has(want):
			return fmt.Errorf("%w: certificate has votes without %v of %d", ErrInvalid, want.phase, want.seq)
		}
		seen[s] = true
	}
	return nil
}

// checkPrepared checks the form of a prepared certificate; its signatures are claims of the message.
func (r roster) checkPrepared(c *preparedCert) error {
	if err := r.checkPrePrepare(c.pre); err != nil {
		return err
	}
	primary := Primary(c.pre.view, r.n)
	return r.checkVoteSet(c.votes, c.pre.view, vote{PhasePrepare, c.pre.seq, c.pre.digest()}, r.quorum()-1, &primary)
}

// checkCommitted checks a commit certificate: Q commits of one view (OSDI'99 §4.2, "committed-local"),
// and that body and proposal are those that it names.
func (r roster) checkCommitted(c *committed) error {
	if UpdatedBodyDigest(c.body, c.updates) != c.prop.Body || !distinctDigests(c.body) {
		return fmt.Errorf("%w: body of %d is not the one proposed", ErrInvalid, c.seq)
	}
	return r.checkVoteSet(c.votes, c.view, vote{PhaseCommit, c.seq, c.prop.Digest()}, r.quorum(), nil)
}

// checkStable checks a checkpoint certificate: Q distinct members say the same (OSDI'99 §4.3).
func (r roster) checkStable(cert []*checkpoint) error {
	if len(cert) != r.quorum() {
		return fmt.Errorf("%w: checkpoint certificate of %d, a quorum is %d", ErrInvalid, len(cert), r.quorum())
	}
	var seen [MaxMembers]bool
	for _, c := range cert {
		if err := r.member(c.env); err != nil {
			return err
		}
		if seen[c.env.Signer] {
			return fmt.Errorf("%w: checkpoint certificate counts signer %d twice", ErrInvalid, c.env.Signer)
		}
		if c.info != cert[0].info {
			return fmt.Errorf("%w: checkpoint certificate of different checkpoints", ErrInvalid)
		}
		seen[c.env.Signer] = true
	}
	return nil
}

// checkViewChange checks everything in a view-change but its signatures: one invalid part
// voids it (rule 8).
func (r roster) checkViewChange(vc *viewChange, window Seq) error {
	if err := r.member(vc.env); err != nil {
		return err
	}
	if vc.view == 0 {
		return fmt.Errorf("%w: view-change to view 0", ErrInvalid)
	}
	if vc.stable == 0 != (len(vc.cert) == 0) {
		return fmt.Errorf("%w: view-change without proof of its stable checkpoint", ErrInvalid)
	}
	if len(vc.cert) > 0 {
		if err := r.checkStable(vc.cert); err != nil {
			return err
		}
		if vc.cert[0].info.Seq != vc.stable {
			return fmt.Errorf("%w: view-change names stable %d and proves %d", ErrInvalid, vc.stable, vc.cert[0].info.Seq)
		}
	}
	last := vc.stable
	for _, c := range vc.prepared {
		if c.pre.seq <= last || c.pre.seq > vc.stable+window {
			return fmt.Errorf("%w: prepared certificates out of order or window", ErrInvalid)
		}
		last = c.pre.seq
		if c.pre.view >= vc.view {
			return fmt.Errorf("%w: view-change to %d with a certificate of view %d", ErrInvalid, vc.view, c.pre.view)
		}
		if err := r.checkPrepared(c); err != nil {
			return err
		}
	}
	return nil
}

// checkNewViewForm checks what a new-view shows by itself; newview.go compares its O.
func (r roster) checkNewViewForm(nv *newView, window Seq) error {
	if err := r.member(nv.env); err != nil {
		return err
	}
	if nv.view == 0 || nv.env.Signer != Primary(nv.view, r.n) {
		return fmt.Errorf("%w: new-view of %d by %d, who is not its primary", ErrInvalid, nv.view, nv.env.Signer)
	}
	if len(nv.refs) != r.quorum() {
		return fmt.Errorf("%w: new-view of %d view-changes, a quorum is %d", ErrInvalid, len(nv.refs), r.quorum())
	}
	var seen [MaxMembers]bool
	for _, ref := range nv.refs {
		if int(ref.signer) >= r.n || seen[ref.signer] {
			return fmt.Errorf("%w: new-view counts signer %d twice, or a stranger", ErrInvalid, ref.signer)
		}
		seen[ref.signer] = true
	}
	if Seq(len(nv.pres)) > window {
		return fmt.Errorf("%w: new-view of %d proposals, the window is %d", ErrInvalid, len(nv.pres), window)
	}
	for _, p := range nv.pres {
		if err := r.checkPrePrepare(p); err != nil {
			return err
		}
		if p.view != nv.view {
			return fmt.Errorf("%w: new-view of %d proposes in view %d", ErrInvalid, nv.view, p.view)
		}
	}
	return nil
}

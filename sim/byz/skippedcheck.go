package byz

// The skipped check.
//
// A replica does not check what it should: a branch was optimised away, or a flag of a test was left on.
// For it every signature is good. As primary it proposes whatever reaches it, and a client whose signatures
// are worth nothing makes use of that.
//
// Aims at: rule 23: each backup decides by itself whether a bundle is authentic, and an invalid signature
// accuses only the primary that proposed it.
type skippedCheck struct{ base }

// Checked implements Adversary.
func (a *skippedCheck) Checked(valid bool) bool {
	if !valid {
		a.lie("client signature not checked")
	}
	return true
}

// Verified implements Adversary.
func (a *skippedCheck) Verified(valid bool) bool {
	if !valid {
		a.lie("peer signature not checked")
	}
	return true
}

package byz

import "github.com/baluarte-bft/baluarte/bft"

// The unpersisted vote.
//
// Somebody switched the sync off because it was slow, or forgot one path on which it matters. Now and then a
// vote leaves whose record is not on the disk, and that is the moment at which the power fails. When the
// replica comes back it does not know what it said.
//
// Aims at: the start of a replica that is told by a quorum what it once signed (rule 19), and the others,
// who need not care, as there are f at most (rule 16 for those who keep to it).
type unpersisted struct {
	base
	// lost tells that a record was lost since the last start.
	lost bool
}

// Sync implements Adversary.
func (a *unpersisted) Sync([]bft.Record) bool {
	if !a.chance(20) {
		return true
	}
	a.lost = true
	a.lie("record not persisted")
	return false
}

// Execute implements Adversary.
func (a *unpersisted) Execute(bft.Seq) Execution {
	if !a.lost || !a.chance(30) {
		return Execution{}
	}
	a.lost = false
	a.lie("power failure")
	return Execution{Crash: true}
}

package byz

import "bytes"

// The lying update.
//
// The primary alone executes the operations of a service that is replicated passively, and the others apply what it says came of
// them. So it says what it likes: 15 where 14 is right. All replicas then agree, on a state that no operation has
// led to, and no client can tell.
//
// Aims at: nothing in the protocol; an agreement on what one replica computed is all that passive replication asks for. It is the
// service that may tell what cannot have come of an operation (exec.UpdateValidator): then backups do not vote for it, and suspect
// its primary.
type lyingUpdate struct{ base }

// Updates implements Adversary. The updates of the counter end with a digit.
func (a *lyingUpdate) Updates(updates []byte) []byte {
	if len(updates) == 0 {
		return updates
	}
	a.lie("another update than came of the operation")
	updates = bytes.Clone(updates)
	updates[len(updates)-1] ^= 1
	return updates
}

package sim

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// oath watches what a replica does between its start and its first signature (rule 19, oracle S8). It is taken
// from every replica, whoever owns the machine: all run the real core, which knows better.
type oath struct {
	boot uint64
	// told are the peers that have answered this start with what they hold signed by the replica.
	told map[bft.ReplicaID]bool
}

func newOath(boot uint64) oath { return oath{boot: boot, told: make(map[bft.ReplicaID]bool)} }

// hears notes a message that the core is given.
func (o *oath) hears(from bft.ReplicaID, frame []byte, n int) {
	if wire.TypeOf(frame) != bft.TypeStatus || o.enough(n) {
		return
	}
	var s bftpb.Status
	if wire.Read(bft.TypeStatus, frame, &s) == nil && s.AnswersStart && s.Boot == o.boot {
		o.told[from] = true
	}
}

// enough tells whether Q−1 others have answered.
func (o *oath) enough(n int) bool { return len(o.told) >= bft.Quorum(n)-1 }

// checkSigning checks that a replica may ask for signatures.
func (h *host) checkSigning(ready *bft.Ready) {
	if len(ready.Sign) == 0 {
		return
	}
	if why := h.replica.Info().Amnesiac; why != "" {
		h.w.verdict.fail("S8", "replica %d knows that it has lost records (%s), and signs all the same (rule 19)", h.id, why)
	}
	if !h.oath.enough(h.w.n) {
		h.w.verdict.fail("S8", "replica %d signs after a start when %d others have told what they hold signed by it, but %d must (rule 19)",
			h.id, len(h.oath.told), bft.Quorum(h.w.n)-1)
	}
}

package node

import (
	"sync"

	"github.com/baluarte-bft/baluarte/bft"
)

// quorumWatch says in the log when a replica begins to wait for others, and when enough are there. Without a
// quorum it runs, answers questions about itself, and agrees on nothing: it must not look as if it hung.
type quorumWatch struct {
	mu   sync.Mutex
	told bool // whether there was a quorum has been said
	has  bool
}

// tellQuorum is called once at the start, and when a connection to another replica has come or gone.
func (n *Node) tellQuorum() {
	w := &n.quorum
	w.mu.Lock()
	defer w.mu.Unlock()
	connected, needed, all := 1, bft.Quorum(n.opts.Core.N()), n.opts.Core.N()
	for i := range n.peers {
		if n.peers[i].up.Load() {
			connected++
		}
	}
	has := connected >= needed
	if w.told && has == w.has {
		return
	}
	const waits = "waits for a quorum: %d of %d replicas are connected, itself included, and %d are needed"
	switch {
	case !w.told && !has:
		log.Infof(waits, connected, all, needed)
	case !has:
		log.Warnf(waits, connected, all, needed)
	case w.told:
		log.Infof("a quorum is connected: %d of %d replicas, itself included", connected, all)
	}
	w.told, w.has = true, has
}

package node

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// The primary verifies the signature of every bundle before it proposes it (rule 23), and backups none that they
// heard from the client itself. So a client whose signatures do not hold costs the primary a verification and
// everybody the room for a bundle that is never ordered. Whoever is found out is sent away.
const (
	// sampleEvery is how often a replica verifies a bundle that it would not have to: the first of each
	// connection, and one of so many after it.
	sampleEvery = 64
	// banFirst is how long a client whose signature did not hold is sent away; each further time it is
	// twice as long, up to banLongest.
	banFirst   = 10 * time.Second
	banLongest = 10 * time.Minute
	// banMemory is how long it is remembered, after its time, that a client was sent away.
	banMemory = time.Hour
	// maxBans bounds the clients that are remembered.
	maxBans = 4096
)

// bans are the clients that are not served for a while.
type bans struct {
	mu    sync.Mutex
	byKey map[crypto.PublicKey]ban
}

type ban struct {
	until time.Time
	times uint
}

// add sends a client away, for twice as long as the last time.
func (b *bans) add(k crypto.PublicKey, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byKey == nil {
		b.byKey = map[crypto.PublicKey]ban{}
	}
	old, known := b.byKey[k]
	switch {
	case known && now.Before(old.until): // of a bundle that was under way
		return old.until.Sub(now)
	case !known && len(b.byKey) >= maxBans:
		b.forget(now)
	}
	d := min(banFirst<<min(old.times, 16), banLongest)
	b.byKey[k] = ban{now.Add(d), old.times + 1}
	return d
}

// forget makes room: what is long over goes, else whoever may come back first. Called with the lock held.
func (b *bans) forget(now time.Time) {
	var first crypto.PublicKey
	var at time.Time
	for k, x := range b.byKey {
		if now.Sub(x.until) > banMemory {
			delete(b.byKey, k)
		} else if at.IsZero() || x.until.Before(at) {
			first, at = k, x.until
		}
	}
	if len(b.byKey) >= maxBans {
		delete(b.byKey, first)
	}
}

// left is how long a client is still sent away, 0 if it is not.
func (b *bans) left(k crypto.PublicKey, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(0, b.byKey[k].until.Sub(now))
}

// admit decides which clients may connect.
func (n *Node) admit(k crypto.PublicKey) error {
	if left := n.bans.left(k, time.Now()); left > 0 {
		return fmt.Errorf("this key signed requests with signatures that do not hold: come back in %v", left.Round(time.Second))
	}
	if admit := n.opts.AdmitClient; admit != nil {
		return admit(k)
	}
	return nil
}

// heardFrom counts the bundles of a client's connection.
type heardFrom struct{ bundles atomic.Uint64 }

// sample tells whether the next bundle of a connection is one to verify though nobody asks for it.
func sample(c *transport.ClientConn) bool {
	h, _ := c.Value().(*heardFrom)
	if h == nil {
		h = &heardFrom{}
		c.SetValue(h)
	}
	return (h.bundles.Add(1)-1)%sampleEvery == 0
}

// sendAway closes the connection of a client whose signature did not hold, and refuses it for a while.
func (n *Node) sendAway(c *transport.ClientConn) {
	d := n.bans.add(c.Key(), time.Now())
	n.metrics.forgers.Inc()
	log.Warnf("client %s signs with signatures that do not hold, and is refused for %v", c.Key().Fingerprint(), d.Round(time.Second))
	c.Close("the signature of a request does not hold")
}

// forged is told of bundles whose signature was found not to hold. If their client sent them here, on its own
// channel, it is to blame; else the member that told of them may be.
func (n *Node) forged(bundles []*bft.Bundle, verdicts []bft.Checked) {
	for i := range verdicts {
		if verdicts[i].Valid {
			continue
		}
		if to, ok := n.routes.take(bundles[i].Digest); ok {
			n.sendAway(to.conn)
		}
	}
}

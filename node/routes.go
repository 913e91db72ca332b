package node

import (
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/transport"
)

const (
	// routesKept is the size of one of two generations of routes.
	routesKept = 1 << 15
	// routesAge is how long a generation takes routes at most.
	routesAge = 30 * time.Second
)

// routeKey names a bundle. The client's key is in it, so that nobody can redirect the reply to
// another's bundle by repeating its signature; S alone does not tell a client's own bundles
// apart only if it makes them so, at its own cost.
type routeKey struct {
	client crypto.PublicKey
	s      [32]byte
}

func keyOfBundle(b *bft.Bundle) routeKey {
	return routeKey{b.Client, [32]byte(b.Signature[32:])}
}

// route is where the reply to a bundle goes, and who was named to send it in full.
type route struct {
	conn    *transport.ClientConn
	replier bft.ReplicaID
}

// routes remembers on which connection each bundle came, in two generations: what is old and was
// not repeated is forgotten. A client without an answer repeats its bundle.
type routes struct {
	mu         sync.Mutex
	young, old map[routeKey]route
	since      time.Time
}

func newRoutes() *routes {
	return &routes{young: make(map[routeKey]route), since: time.Now()}
}

func (r *routes) put(k routeKey, x route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= routesKept {
		r.turn()
	}
	r.young[k] = x
}

// turn begins a generation. Called with the lock held.
func (r *routes) turn() {
	r.old, r.young, r.since = r.young, make(map[routeKey]route), time.Now()
}

// age begins a generation if the present one is old.
func (r *routes) age(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.since) > routesAge {
		r.turn()
	}
}

// take returns the route of a bundle and forgets it.
func (r *routes) take(k routeKey) (route, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, ok := r.young[k]
	if ok {
		delete(r.young, k)
		return x, true
	}
	if x, ok = r.old[k]; ok {
		delete(r.old, k)
	}
	return x, ok
}

func (r *routes) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.young) + len(r.old)
}

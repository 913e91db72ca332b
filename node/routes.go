package node

import (
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/transport"
)

const (
	// routesKept is the size of one of two generations of routes.
	routesKept = 1 << 15
	// routesAge is how long a generation takes routes at most.
	routesAge = 30 * time.Second
)

// route is where the reply to a bundle goes, who was named to send it in full, and whether it is to be sent before the
// client asks again.
type route struct {
	conn    *transport.ClientConn
	replier bft.ReplicaID
	silent  bool
}

// routes remembers on which connection each bundle came, in two generations: what is old and was
// not repeated is forgotten. A client without an answer repeats its bundle. Bundles go by their digest, which covers
// client, content and signature: nobody else's bundle, and no forged likeness, is taken for one that came here.
type routes struct {
	mu         sync.Mutex
	young, old map[bft.Digest]route
	since      time.Time
}

func newRoutes() *routes {
	return &routes{young: make(map[bft.Digest]route), since: time.Now()}
}

func (r *routes) put(bundle bft.Digest, x route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= routesKept {
		r.turn()
	}
	r.young[bundle] = x
}

// turn begins a generation. Called with the lock held.
func (r *routes) turn() {
	r.old, r.young, r.since = r.young, make(map[bft.Digest]route), time.Now()
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
func (r *routes) take(bundle bft.Digest) (route, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, ok := r.young[bundle]
	if ok {
		delete(r.young, bundle)
		return x, true
	}
	if x, ok = r.old[bundle]; ok {
		delete(r.old, bundle)
	}
	return x, ok
}

func (r *routes) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.young) + len(r.old)
}

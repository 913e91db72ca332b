package discovery

import (
	"context"
	"slices"
	"sync"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
)

// finder gathers what is announced under a name. Anybody can announce, so a place is never taken for good: the
// newest announcement gets one, whatever came before it.
type finder struct {
	name    string
	members []crypto.PublicKey // of the wanted cluster; nil: not known
	key     *crypto.PrivateKey

	wake chan struct{} // of capacity 1
	got  chan *config.Manifest

	mu      sync.Mutex
	want    crypto.Digest   // zero: not known yet
	ids     []crypto.Digest // that are announced, at most maxHeard
	heard   []*place        // of the wanted cluster, the oldest first, at most maxHeard
	lastErr error           // of somebody who was asked
}

// place is an announcement that is kept.
type place struct {
	Announcement
	asked, failed bool
	stop          context.CancelFunc // the asking; nil before
}

func newFinder(name string, want crypto.Digest, members []crypto.PublicKey, key *crypto.PrivateKey) *finder {
	return &finder{name: name, want: want, members: members, key: key, wake: make(chan struct{}, 1), got: make(chan *config.Manifest, 1)}
}

// hear keeps an announcement of the wanted cluster. One that is heard again is asked again if it has failed.
func (f *finder) hear(a Announcement) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.Name != f.name {
		return
	}
	if !slices.Contains(f.ids, a.Cluster) && len(f.ids) < maxHeard {
		f.ids = append(f.ids, a.Cluster)
	}
	if !f.want.IsZero() && a.Cluster != f.want || f.members != nil && !slices.Contains(f.members, a.Key) {
		return
	}
	i := slices.IndexFunc(f.heard, func(p *place) bool {
		return p.Cluster == a.Cluster && p.Key == a.Key && slices.Equal(p.Addresses, a.Addresses)
	})
	switch {
	case i < 0:
		f.makeRoom()
		f.heard = append(f.heard, &place{Announcement: a})
	case f.heard[i].failed:
		f.heard[i].asked, f.heard[i].failed = false, false
	default:
		return
	}
	f.again()
}

// again has run look who is to be asked.
func (f *finder) again() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// makeRoom gives up a place if all are taken: of one that failed, or the oldest. What an announcement says of itself
// is no ground to choose another one, for it may be invented; a replica answers long before 64 others have announced themselves.
func (f *finder) makeRoom() {
	if len(f.heard) < maxHeard {
		return
	}
	i := max(0, slices.IndexFunc(f.heard, func(p *place) bool { return p.failed }))
	if stop := f.heard[i].stop; stop != nil {
		stop()
	}
	f.heard = slices.Delete(f.heard, i, i+1)
}

// toAsk returns those of the wanted cluster that are to be asked now.
func (f *finder) toAsk() (out []*place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.heard {
		if !p.asked {
			p.asked = true
			out = append(out, p)
		}
	}
	return out
}

// ask asks one place for the manifest.
func (f *finder) ask(ctx context.Context, p *place) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	f.mu.Lock()
	p.stop = stop
	if !slices.Contains(f.heard, p) { // it has been given up already
		stop()
	}
	f.mu.Unlock()
	m, err := fetch(ctx, p.Announcement, f.key)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		p.failed, f.lastErr = true, err
		return
	}
	select {
	case f.got <- m:
	default: // there is one
	}
}

// settle makes the only cluster that is announced the wanted one; false if there are several.
func (f *finder) settle() (ids []crypto.Digest, only bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ids) != 1 {
		return f.ids, false
	}
	f.want = f.ids[0]
	return f.ids, true
}

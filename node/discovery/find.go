package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/transport"
)

// Frames by which a replica hands out its cluster's manifest: a question without a body, and its answer, the file.
const (
	FrameManifestRequest = 0x85
	FrameManifest        = 0x86
)

var (
	// ErrNotFound: nobody announces the name.
	ErrNotFound = errors.New("nobody announces this name")
	// ErrStranger: the name is announced, but not by the cluster that is wanted.
	ErrStranger = errors.New("another cluster announces this name")
	// ErrAmbiguous: several clusters announce the name, and none was asked for.
	ErrAmbiguous = errors.New("several clusters announce this name")
)

const (
	// firstUse is how long others are waited for when the first cluster that announces a name would be believed.
	firstUse = 2 * time.Second
	// listenAgain is after what time all is heard again.
	listenAgain = 2500 * time.Millisecond
	// askAgain is the least time between asking some and asking others, so that whoever announces much does not have
	// this client connect to many.
	askAgain = 20 * time.Millisecond
	// maxHeard bounds the announcements of a name that are kept, and the ids; maxClusters the clusters that errors list.
	maxHeard, maxClusters = 64, 4
)

// Found is a cluster that was found by its name.
type Found struct {
	// Manifest has the wanted cluster id. Its members' addresses are completed by those that are announced.
	Manifest *config.Manifest
	// Strangers are the other clusters that announce the name.
	Strangers []crypto.Digest
}

// Find looks for a cluster by its name until ctx ends. With a cluster id it finds no other one, and if it is given the keys of that
// cluster's members it asks nobody else. Without an id it believes the only cluster that announces the name, after having
// waited two seconds for others; the caller must keep the id. key is the client's, by which replicas may or may not admit
// it. Errors are ErrNotFound, ErrStranger or ErrAmbiguous, and those of package transport if no replica that was found hands
// out the manifest.
func Find(ctx context.Context, name string, want crypto.Digest, members []crypto.PublicKey, key *crypto.PrivateKey) (*Found, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := newFinder(name, want, members, key)
	var failed error
	var wg sync.WaitGroup
	wg.Go(func() {
		if failed = f.listen(ctx); failed != nil {
			cancel()
		}
	})
	m, err := f.run(ctx)
	cancel()
	wg.Wait()
	if failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	return f.complete(m), nil
}

// listen hears what is announced until ctx ends, from time to time all of it again: there may have been no room for a replica, or
// it was not up yet.
func (f *finder) listen(ctx context.Context) error {
	for first := true; ctx.Err() == nil; first = false {
		round, end := context.WithTimeout(ctx, listenAgain)
		if err := Browse(round, f.hear); err != nil && first {
			end()
			return err
		}
		<-round.Done()
		end()
	}
	return nil
}

// run waits for announcements and asks those who made them, until one hands out the manifest.
func (f *finder) run(ctx context.Context) (*config.Manifest, error) {
	var settled <-chan time.Time
	var wg sync.WaitGroup
	ask, stop := context.WithCancel(ctx)
	defer wg.Wait()
	defer stop()
	known, wake := !f.want.IsZero(), f.wake
	var rested <-chan time.Time
	for {
		select {
		case <-rested:
			wake, rested = f.wake, nil
		case <-wake:
			switch {
			case known:
				for _, p := range f.toAsk() {
					wg.Go(func() { f.ask(ask, p) })
				}
				wake, rested = nil, time.After(askAgain)
			case settled == nil:
				settled = time.After(firstUse)
			}
		case <-settled:
			ids, only := f.settle()
			if !only {
				return nil, fmt.Errorf("%w: %s", ErrAmbiguous, list(ids))
			}
			known = true
			f.again()
		case m := <-f.got:
			return m, nil
		case <-ctx.Done():
			wg.Wait()
			return nil, f.failure()
		}
	}
}

// failure says why nothing was found.
func (f *finder) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids, last := f.ids, f.lastErr
	switch {
	case len(ids) == 0:
		return ErrNotFound
	case !f.want.IsZero() && !slices.Contains(ids, f.want):
		return fmt.Errorf("%w: %s", ErrStranger, list(ids))
	case last != nil:
		return fmt.Errorf("discovery: no replica that announces %s hands out its manifest: %w", f.name, last)
	}
	return fmt.Errorf("discovery: no replica that announces %s has answered", f.name)
}

func list(ids []crypto.Digest) string {
	var s []string
	for _, id := range ids[:min(len(ids), maxClusters)] {
		s = append(s, id.String())
	}
	if len(ids) > maxClusters {
		s = append(s, fmt.Sprintf("and %d more", len(ids)-maxClusters))
	}
	return strings.Join(s, ", ")
}

// complete adds the announced addresses behind those of the manifest: a replica may have moved.
func (f *finder) complete(m *config.Manifest) *Found {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &Found{Manifest: m}
	taken := map[string]bool{}
	for i := range m.Members {
		for _, a := range m.Members[i].Addresses {
			taken[a] = true
		}
	}
	added := make([]int, len(m.Members))
	for _, id := range f.ids {
		if id != f.want {
			out.Strangers = append(out.Strangers, id)
		}
	}
	for _, a := range f.heard {
		i := slices.Index(m.Keys(), a.Key)
		for _, addr := range a.Addresses {
			if i >= 0 && !taken[addr] && added[i] < maxAddresses && config.CheckAddress(addr) == nil {
				taken[addr] = true
				added[i]++
				m.Members[i].Addresses = append(m.Members[i].Addresses, addr)
			}
		}
	}
	return out
}

// fetch asks one replica for the manifest with the id that it announced.
func fetch(ctx context.Context, a Announcement, key *crypto.PrivateKey) (*config.Manifest, error) {
	frames, state := make(chan []byte, 1), make(chan error, 1)
	c, err := transport.Dial(transport.ClientConfig{Key: key, Cluster: a.Cluster, Members: []transport.Member{{Key: a.Key, Addrs: a.Addresses}},
		Receive: func(_ int, frame []byte) {
			if len(frame) > 0 && frame[0] == FrameManifest {
				offer(frames, frame[1:])
			}
		},
		State: func(_ int, up bool, err error) {
			if up {
				err = nil
			}
			offer(state, err)
		}})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var last error
	for {
		select {
		case last = <-state:
			switch {
			case last == nil:
				c.Send(0, []byte{FrameManifestRequest})
			case errors.Is(last, transport.ErrWrongIdentity), errors.Is(last, transport.ErrNotAdmitted),
				errors.Is(last, transport.ErrWrongCluster), errors.Is(last, transport.ErrWrongVersion):
				return nil, last // it will not change
			}
		case data := <-frames:
			m, err := config.ParseManifest("the manifest of "+a.Member, data)
			if err != nil {
				return nil, err
			}
			if m.ID() != a.Cluster {
				return nil, fmt.Errorf("discovery: %s hands out the manifest of cluster %s, and announces %s", a.Member, m.ID().Short(), a.Cluster.Short())
			}
			return m, nil
		case <-ctx.Done():
			if last == nil {
				last = ctx.Err()
			}
			return nil, last
		}
	}
}

// offer puts the newest of what comes where somebody may wait for it.
func offer[T any](c chan T, v T) {
	select {
	case <-c:
	default:
	}
	select {
	case c <- v:
	default:
	}
}

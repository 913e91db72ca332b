package node

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/store"
)

// openStore opens the store. If it is damaged or gone and the operator accepts the loss, it begins
// anew; so it does after a rebuild that was cut short, which looks like an init that was.
func (n *Node) openStore() (*store.State, error) {
	o := store.Options{Dir: n.opts.Dir, FS: n.opts.FS, Identity: identity(n.opts.Core), Durable: n.inbox.persisted, Fatal: n.fatal}
	s, st, err := store.Open(o)
	lost := errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNotInitialised)
	if lost && n.opts.AcceptLoss {
		log.Errorf("%v", err)
		aside, rebuildErr := store.Rebuild(n.opts.FS, n.opts.Dir, identity(n.opts.Core), "its store was damaged or gone, and the operator accepted the loss")
		if rebuildErr != nil {
			return nil, rebuildErr
		}
		log.Errorf("what was left of the store was moved to %s; this replica begins anew and signs nothing", aside)
		s, st, err = store.Open(o)
	}
	if err != nil {
		return nil, err
	}
	n.store = s
	return st, nil
}

// newMachine makes the services, empty, and the machine over them.
func (n *Node) newMachine() (*exec.Machine, error) {
	cfg := exec.Config{Cluster: n.opts.Core.Cluster, Limits: n.opts.Exec}
	for _, name := range slices.Sorted(maps.Keys(n.opts.Services)) {
		st, err := n.store.Service(name)
		if err != nil {
			return nil, err
		}
		m, err := n.opts.Services[name](st)
		if err != nil {
			return nil, fmt.Errorf("node: service %s: %w", name, err)
		}
		cfg.Services = append(cfg.Services, exec.Service{Name: name, Machine: m})
	}
	return exec.New(cfg)
}

// restore makes the machine from the newest snapshot that is sound, and what the core starts from.
func (n *Node) restore(st *store.State) (bft.Restored, error) {
	r := bft.Restored{Records: st.Records, LSN: st.LSN, Born: st.Born, Amnesiac: st.Amnesiac}
	var boot [8]byte
	rand.Read(boot[:])
	r.Boot = binary.BigEndian.Uint64(boot[:])
	seqs, err := n.store.Snapshots()
	if err != nil {
		return r, err
	}
	if n.machine, err = n.newMachine(); err != nil {
		return r, err
	}
	for _, seq := range slices.Backward(seqs) {
		snap, err := n.restoreFrom(seq)
		if err == nil {
			r.Executed, r.Time, r.Marks, r.Snapshot = n.machine.Executed(), n.machine.Time(), n.machine.Marks(), snap
			n.disk.newest.Store(uint64(seq))
			break
		}
		if !errors.Is(err, store.ErrDamaged) && !errors.Is(err, exec.ErrBadSnapshot) {
			return r, fmt.Errorf("node: restoring the state at %d: %w", seq, err)
		}
		log.Errorf("the snapshot at %d is not used: %v; an older one is, or the state is fetched from the peers", seq, err)
		if err := n.store.SetAside(seq); err != nil {
			return r, err
		}
		// What a failed restore has left in the services is not to be built upon.
		if n.machine, err = n.newMachine(); err != nil {
			return r, err
		}
	}
	n.executed.Store(uint64(r.Executed))
	return r, nil
}

func (n *Node) restoreFrom(seq bft.Seq) (bft.Snapshot, error) {
	snap, err := n.store.OpenSnapshot(seq)
	if err != nil {
		return bft.Snapshot{}, err
	}
	if err := n.machine.Restore(snap.Reader()); err != nil {
		return bft.Snapshot{}, errors.Join(err, snap.Close())
	}
	return snap.Snapshot, snap.Close()
}

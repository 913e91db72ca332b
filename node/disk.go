package node

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/store"
)

const (
	// snapshotBacklog is how many snapshots may wait to be written. Beyond it the oldest is
	// skipped: a later checkpoint makes up for it.
	snapshotBacklog = 2
	// partBacklog is how many parts may wait to be read for peers; beyond it they get none.
	partBacklog = 256
	// servedKeep is how long a snapshot stays that a peer has asked for, though a newer one is stable:
	// under load checkpoints come faster than a large state travels.
	servedKeep = 30 * time.Second
)

// disk writes snapshots and reads parts of them, beside the executor.
type disk struct {
	n         *Node
	snapshots *mailbox[*exec.Snapshot]
	parts     *mailbox[bft.PartRequest]
	newest    atomic.Uint64 // number of the newest snapshot on disk
	stable    atomic.Uint64 // what prune was last told

	open *store.Snapshot // the one that parts were read from last

	mu       sync.Mutex
	served   bft.Seq // the snapshot that a peer asked for last
	servedAt time.Time
}

func newDisk(n *Node) *disk {
	return &disk{n: n, snapshots: newMailbox[*exec.Snapshot](), parts: newMailbox[bft.PartRequest]()}
}

func (d *disk) write(s *exec.Snapshot) { d.snapshots.put(s) }

// serve queues a request for a part, or declines it.
func (d *disk) serve(p bft.PartRequest) {
	d.mu.Lock()
	d.served, d.servedAt = p.Seq, time.Now()
	d.mu.Unlock()
	if d.parts.len() >= partBacklog {
		d.n.inbox.report(func(done *bft.Done) { done.Parts = append(done.Parts, bft.ServedPart{Request: p}) })
		return
	}
	d.parts.put(p)
}

// prune lets snapshots below the stable checkpoint go, with the next one that is written.
func (d *disk) prune(stable bft.Seq) { d.stable.Store(uint64(stable)) }

// writeLoop writes snapshots.
func (d *disk) writeLoop() {
	defer d.n.running.Done()
	for {
		todo, ok := d.snapshots.take()
		if !ok {
			return
		}
		for i, s := range todo {
			if len(todo)-i > snapshotBacklog || d.n.ctx.Err() != nil {
				d.n.metrics.snapshotsSkipped.Inc()
			} else {
				d.writeUntilDurable(s, i == len(todo)-1)
			}
			if err := s.Close(); err != nil {
				log.Errorf("closing the snapshot at %d: %v", s.Executed(), err)
			}
		}
	}
}

// snapshotRetry is the wait before a snapshot that could not be written is tried again.
const snapshotRetry = time.Second

// writeUntilDurable tries the newest snapshot again until it is written or a newer one comes: at the
// high watermark no other checkpoint comes to make up for it.
func (d *disk) writeUntilDurable(s *exec.Snapshot, newest bool) {
	for !d.writeOne(s) && newest && d.snapshots.len() == 0 {
		select {
		case <-d.n.ctx.Done():
			return
		case <-time.After(snapshotRetry):
		}
	}
}

// writeOne makes a snapshot durable, tells the core, and prunes. It is false if nothing was written.
func (d *disk) writeOne(s *exec.Snapshot) bool {
	snap, err := d.n.store.WriteSnapshot(s.Executed(), s.HistoryRoot(), s)
	if err != nil {
		// Nothing is promised on it: this replica announces no checkpoint until one is written.
		d.n.metrics.snapshotErrors.Inc()
		log.Errorf("the snapshot at %d could not be written, so this checkpoint is not announced yet: %v", s.Executed(), err)
		return false
	}
	d.newest.Store(max(d.newest.Load(), uint64(snap.Seq)))
	d.n.metrics.snapshots.Inc()
	d.n.inbox.report(func(done *bft.Done) { done.Snapshots = append(done.Snapshots, snap) })
	// The newest stays whatever the others' stable checkpoint is: it is what a restart begins from.
	keep := bft.Seq(min(d.stable.Load(), d.newest.Load()))
	d.mu.Lock()
	if time.Since(d.servedAt) < servedKeep {
		keep = min(keep, d.served)
	}
	d.mu.Unlock()
	if err := d.n.store.PruneSnapshots(keep); err != nil {
		log.Warnf("old snapshots could not be removed: %v", err)
	}
	return true
}

// readLoop serves parts.
func (d *disk) readLoop() {
	defer d.n.running.Done()
	defer func() {
		if d.open != nil {
			_ = d.open.Close() // only read from
		}
	}()
	for {
		todo, ok := d.parts.take()
		if !ok {
			return
		}
		for _, p := range todo {
			served := bft.ServedPart{Request: p, Part: d.part(p)}
			d.n.inbox.report(func(done *bft.Done) { done.Parts = append(done.Parts, served) })
		}
	}
}

// part reads a part, or returns nil if there is none.
func (d *disk) part(p bft.PartRequest) *bft.SnapshotPart {
	if d.open == nil || d.open.Seq != p.Seq {
		s, err := d.n.store.OpenSnapshot(p.Seq)
		if err != nil {
			d.lost(p.Seq, err)
			return nil
		}
		if d.open != nil {
			_ = d.open.Close() // only read from
		}
		d.open = s
	}
	if int(p.Index) >= len(d.open.Parts) {
		return nil
	}
	part, err := d.open.Served(int(p.Index))
	if err != nil {
		d.lost(p.Seq, err)
		return nil
	}
	return part
}

func (d *disk) lost(seq bft.Seq, err error) {
	if errors.Is(err, store.ErrDamaged) {
		log.Errorf("the snapshot at %d cannot be served to peers: %v", seq, err)
	}
}

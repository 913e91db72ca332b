package sim

import (
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
)

// disk is the durable store of one replica: records, with group commit, and snapshots.
type disk struct {
	q    *queue
	r    *rand.Rand
	opts Machine
	slow int // faults that make it slow

	// keys is sorted; records has their values. Together they are what would be found after a crash.
	records map[string][]byte
	durable bft.LSN
	// pending is what was handed over and is not synced, in order; the first syncing of them are
	// on their way.
	pending []bft.Record
	syncing int
	// snapshots that are durable, the oldest first.
	snapshots []storedSnapshot
	// born: a replica was started on it before.
	born bool
	// generation changes with each crash, so that what was under way is forgotten.
	generation int
}

// storedSnapshot is a serialised state with its digests.
type storedSnapshot struct {
	seq   bft.Seq
	info  bft.Snapshot
	bytes []byte
}

func newDisk(q *queue, o *Options, r *rand.Rand) *disk {
	return &disk{q: q, r: r, opts: o.Machine, records: make(map[string][]byte)}
}

// append takes records over and calls synced, later, with the number of the last durable one.
func (d *disk) append(records []bft.Record, synced func(bft.LSN)) {
	d.pending = append(d.pending, records...)
	d.sync(synced)
}

// sync makes everything that waits durable in one go, unless that is going on already.
func (d *disk) sync(synced func(bft.LSN)) {
	if d.syncing > 0 || len(d.pending) == 0 {
		return
	}
	d.syncing = len(d.pending)
	generation := d.generation
	d.q.after(d.delay(d.opts.Sync), func() {
		if d.generation != generation {
			return
		}
		d.apply(d.syncing)
		synced(d.durable)
		d.sync(synced)
	})
}

func (d *disk) delay(most Duration) bft.Time {
	t := between(d.r, bft.Time(most)/4, bft.Time(most))
	if d.slow > 0 {
		t *= 20
	}
	return t
}

// apply makes the first n pending records durable.
func (d *disk) apply(n int) {
	for i := range d.pending[:n] {
		r := &d.pending[i]
		d.durable = r.LSN
		if r.To == nil {
			d.records[string(r.Key)] = r.Value
			continue
		}
		for k := range d.records { // each is deleted or not by itself: the order does not matter
			if k >= string(r.Key) && k < string(r.To) {
				delete(d.records, k)
			}
		}
	}
	d.pending = append([]bft.Record(nil), d.pending[n:]...)
	d.syncing = 0
}

// forget loses the last n records that were handed over, although whoever handed them over is told otherwise.
func (d *disk) forget(n int) {
	for i := max(0, len(d.pending)-n); i < len(d.pending); i++ {
		d.pending[i] = bft.Record{LSN: d.pending[i].LSN, Key: []byte{}, To: []byte{}}
	}
}

// wipe empties the disk.
func (d *disk) wipe() { d.become(&disk{}) }

// become makes the disk hold what another one does.
func (d *disk) become(other *disk) {
	d.generation++
	d.records, d.durable, d.snapshots = maps.Clone(other.records), other.durable, slices.Clone(other.snapshots)
	if d.records == nil {
		d.records = make(map[string][]byte)
	}
	d.pending, d.syncing = nil, 0
}

// crash loses what was not synced, but for a prefix, the last of which may have got to the disk
// before the power went.
func (d *disk) crash() {
	d.generation++
	if n := len(d.pending); n > 0 && chance(d.r, 50) {
		d.apply(d.r.IntN(n + 1))
	}
	d.pending, d.syncing = nil, 0
}

// keep makes a snapshot durable and calls kept.
func (d *disk) keep(s storedSnapshot, kept func()) {
	generation := d.generation
	d.q.after(d.delay(d.opts.Snapshot), func() {
		if d.generation != generation {
			return
		}
		d.snapshots = append(d.snapshots, s)
		slices.SortStableFunc(d.snapshots, func(a, b storedSnapshot) int { return int(int64(a.seq) - int64(b.seq)) })
		kept()
	})
}

// prune forgets the snapshots below the stable checkpoint, but never the newest: of a checkpoint
// that became stable through others the own snapshot may not be there.
func (d *disk) prune(stable bft.Seq) {
	for len(d.snapshots) > 1 && d.snapshots[0].seq < stable {
		d.snapshots = d.snapshots[1:]
	}
}

// at returns the durable snapshot of a number, or nil.
func (d *disk) at(seq bft.Seq) *storedSnapshot {
	for i := range d.snapshots {
		if d.snapshots[i].seq == seq {
			return &d.snapshots[i]
		}
	}
	return nil
}

// newest returns the durable snapshot of the highest number, or nil.
func (d *disk) newest() *storedSnapshot {
	if len(d.snapshots) == 0 {
		return nil
	}
	return &d.snapshots[len(d.snapshots)-1]
}

// read returns all durable records in the order of their keys.
func (d *disk) read() []bft.KV {
	keys := make([]string, 0, len(d.records))
	for k := range d.records {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]bft.KV, len(keys))
	for i, k := range keys {
		out[i] = bft.KV{Key: []byte(k), Value: d.records[k]}
	}
	return out
}

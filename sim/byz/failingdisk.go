package byz

import (
	"bytes"

	"github.com/baluarte-bft/baluarte/bft"
)

// Failing disks.
//
// The disk of a replica is old. It reports a sync as done that it has not done, and when the power fails
// what it "kept" is gone. A bit of a record turns; of another only the first half was written; a third was
// written where a fourth belongs. Some of it the store notices, by its checksums: then it either refuses to
// start, or its operator accepts the loss and it begins anew with no record at all, knowing that it forgot
// what it promised. Some of it nobody notices. The replica itself is honest to the last: it is started on
// what the disk gives it, and does what it takes for right. At the same time the power fails for everybody,
// so that those whose disks are good have to live from them.
//
// Aims at: persist, then send (rule 16), what was promised stays promised across restarts (rule 17), a
// replica that lost records signs nothing, and after every start nobody signs before a quorum has told
// what it holds signed by it (rule 19).
type failingDisk struct {
	base
	// damage is what the disk does to each record that it has got at, by key: the same at every start.
	damage map[string]damage
	// told is what becomes of the replica once the damage has been noticed.
	begun   bool // as an amnesiac
	refused bool // to start
	// lying is how many more syncs are not done.
	lying int
	crash bft.Seq // the power fails at this number
}

// damage is what a disk does to a record.
type damage int

const (
	intact damage = iota
	rotten
	torn
	misdirected
	missing
)

// lossRecord is the key under which the core keeps why it is amnesiac.
const lossRecord = "m"

func newFailingDisk(env Env) Adversary {
	a := &failingDisk{base: newBase(env), damage: make(map[string]damage)}
	a.crash = bft.Seq(2 + a.Rand.IntN(2*int(a.Interval)))
	return a
}

// Sync implements Adversary: now and then the disk says that it has synced and has not.
func (a *failingDisk) Sync([]bft.Record) bool {
	if a.lying == 0 && a.chance(3) {
		a.lying = 1 + a.Rand.IntN(5)
	}
	if a.lying == 0 {
		return true
	}
	a.lying--
	a.lie("sync not done")
	return false
}

// Execute implements Adversary: the power fails, again and again.
func (a *failingDisk) Execute(seq bft.Seq) Execution {
	if seq < a.crash {
		return Execution{}
	}
	a.crash = seq + a.Interval + bft.Seq(a.Rand.IntN(2*int(a.Interval)))
	a.lie("power failure")
	return Execution{Crash: true}
}

// Records implements Adversary: what is found after a power failure.
func (a *failingDisk) Records(records []bft.KV) []bft.KV {
	if len(records) == 0 {
		return records // the first start, or a disk that is empty anyway
	}
	if !a.begun && !a.refused && a.chance(50) {
		a.spoil(records)
	}
	switch {
	case a.refused:
		a.lie("damaged store refused")
		return []bft.KV{{}} // no replica has written a record without a key
	case a.begun:
		a.lie("damaged store given up")
		return []bft.KV{{Key: []byte(lossRecord), Value: []byte("its store was damaged, and the operator accepted the loss")}}
	}
	return a.read(records)
}

// spoil damages some records, and decides whether that is noticed.
func (a *failingDisk) spoil(records []bft.KV) {
	kind := damage(1 + a.Rand.IntN(int(missing)))
	for range 1 + a.Rand.IntN(3) {
		a.damage[string(records[a.Rand.IntN(len(records))].Key)] = kind
	}
	switch draw := a.Rand.IntN(10); {
	case draw < 5:
		a.begun = true
	case draw < 7:
		a.refused = true
	}
}

// read is what the disk gives.
func (a *failingDisk) read(records []bft.KV) []bft.KV {
	out := make([]bft.KV, 0, len(records))
	for i, kv := range records {
		switch a.damage[string(kv.Key)] {
		case rotten:
			if len(kv.Value) > 0 {
				kv.Value = bytes.Clone(kv.Value)
				kv.Value[len(kv.Value)/2] ^= 4
				a.lie("bit rot")
			}
		case torn:
			kv.Value = kv.Value[:len(kv.Value)/2]
			a.lie("torn write")
		case misdirected:
			kv.Value = records[(i+1)%len(records)].Value
			a.lie("misdirected write")
		case missing:
			a.lie("lost write")
			continue
		}
		out = append(out, kv)
	}
	return out
}

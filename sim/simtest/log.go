package simtest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/memstore"
)

// log is what honest replicas did, as the first of them did it, in the order that all agree on.
type log struct {
	entries []entry
	index   map[opKey]int
	// snapshots are those of the service at checkpoints, by number.
	snapshots map[bft.Seq]taken
}

type opKey struct {
	session bft.SessionID
	op      uint64
}

// entry is one operation, and who applied it first.
type entry struct {
	ctx     app.Context
	op      []byte
	result  kept
	replica bft.ReplicaID
	came    string
}

// taken is a snapshot, and who took it first.
type taken struct {
	state   kept
	replica bft.ReplicaID
	came    string
}

// keptBytes bounds what is kept of one result or snapshot, in bytes; of longer ones there is a digest too.
const keptBytes = 64 << 10

// kept is a result or a snapshot, or enough of it.
type kept struct {
	head []byte
	size int
	sum  [sha256.Size]byte // if size is above keptBytes
}

func keep(b []byte) kept {
	k := kept{head: bytes.Clone(b[:min(len(b), keptBytes)]), size: len(b)}
	if len(b) > keptBytes {
		k.sum = sha256.Sum256(b)
	}
	return k
}

// is tells whether b is what was kept.
func (k *kept) is(b []byte) bool {
	return len(b) == k.size && bytes.Equal(k.head, b[:len(k.head)]) && (k.size <= keptBytes || sha256.Sum256(b) == k.sum)
}

// applied compares a result with that of whoever applied the operation first. It returns what differs, or "".
func (l *log) applied(s *subject, ctx *app.Context, op, result []byte) string {
	k := opKey{ctx.Session, ctx.Op}
	i, ok := l.index[k]
	if !ok {
		l.index[k] = len(l.entries)
		l.entries = append(l.entries, entry{*ctx, bytes.Clone(op), keep(result), s.place.Replica, s.came})
		return ""
	}
	e := &l.entries[i]
	if e.result.is(result) {
		return ""
	}
	again := ""
	if e.replica == s.place.Replica {
		again = " again"
	}
	return fmt.Sprintf("an operation has two results:\n  operation  %s, in batch %d\n  result     %s, at replica %d%s\n  result     %s, at replica %d%s%s",
		quote(op), ctx.Seq, quote(e.result.head), e.replica, e.came, quote(result), s.place.Replica, again, s.came)
}

// snapshot compares a snapshot with that of whoever took it first. It returns what differs, or "".
func (l *log) snapshot(s *subject, seq bft.Seq, b []byte) string {
	was, ok := l.snapshots[seq]
	if !ok {
		l.snapshots[seq] = taken{keep(b), s.place.Replica, s.came}
		return ""
	}
	if was.state.is(b) {
		return ""
	}
	return fmt.Sprintf("two replicas have different states after batch %d%s%s, %s", seq, origin(was.replica, was.came), origin(s.place.Replica, s.came),
		difference(fmt.Sprint("replica ", was.replica), was.state.head, fmt.Sprint("replica ", s.place.Replica), b))
}

// origin says of a replica how it came to its state, if that may matter.
func origin(id bft.ReplicaID, came string) string {
	if came == "" {
		return ""
	}
	return fmt.Sprintf(" (one is replica %d%s)", id, came)
}

// again has a new service do everything once more, and returns what differs, or "".
func (tr *trial) again() (differs string) {
	var m app.StateMachine
	var err error
	stopped := false
	call := func(method string, arg []byte, do func()) {
		tr.guard(method, arg, do, func(text, stack string) { differs, stopped = text+"\n"+stack, true })
	}
	defer func() {
		if p := recover(); p != nil && !stopped {
			panic(p)
		}
	}()
	call("the factory", nil, func() { m, err = tr.suite.factory(memstore.New()) })
	if err != nil {
		return fmt.Sprintf("the factory fails: %v", err)
	}
	seqs := make([]bft.Seq, 0, len(tr.log.snapshots))
	for seq := range tr.log.snapshots {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	compare := func(before bft.Seq) string {
		for ; len(seqs) > 0 && seqs[0] < before; seqs = seqs[1:] {
			var now bytes.Buffer
			call("Snapshot", nil, func() { err = write(m, &now) })
			if err != nil {
				return fmt.Sprintf("the snapshot after batch %d fails: %v", seqs[0], err)
			}
			if was := tr.log.snapshots[seqs[0]]; !was.state.is(now.Bytes()) {
				return fmt.Sprintf("the state after batch %d is another, %s", seqs[0], difference("in the run", was.state.head, "again", now.Bytes()))
			}
		}
		return ""
	}
	for i := range tr.log.entries {
		e := &tr.log.entries[i]
		if text := compare(e.ctx.Seq); text != "" {
			return text
		}
		var result []byte
		call("Apply", e.op, func() { result = m.Apply(e.ctx, bytes.Clone(e.op)) })
		if !e.result.is(result) {
			return fmt.Sprintf("an operation has another result:\n  operation   %s, in batch %d\n  in the run  %s\n  again       %s", quote(e.op), e.ctx.Seq, quote(e.result.head), quote(result))
		}
	}
	return compare(^bft.Seq(0))
}

// write writes a snapshot of the present state.
func write(m app.StateMachine, to io.Writer) error {
	snap, err := m.Snapshot()
	if err != nil {
		return err
	}
	_, err = snap.WriteTo(to)
	return errors.Join(err, snap.Close())
}

// difference says where two states begin to differ.
func difference(nameA string, a []byte, nameB string, b []byte) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	width := max(len(nameA), len(nameB))
	return fmt.Sprintf("from byte %d on:\n  %-*s  %5d bytes  %s\n  %-*s  %5d bytes  %s", n, width, nameA, len(a), around(a, n), width, nameB, len(b), around(b, n))
}

// around is what b has at n, and a little of what is before.
func around(b []byte, n int) string {
	from := max(0, n-16)
	piece := quote(b[from:min(n+32, len(b))])
	if from > 0 {
		piece = "…" + piece
	}
	return piece
}

package exec

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

const (
	snapshotMagic = "baluarte state\n"
	// snapshotVersion is that of a state in which no session was claimed, claimedVersion of any other: the newer one
	// says what was.
	snapshotVersion = 1
	claimedVersion  = 2
)

// Snapshot is the state of a Machine after one batch: everything that an operation can read or
// a later step depends on (rule 18), that is the services, sessions with their results,
// remembered openings, agreed time, counters and the frontier of the history tree.
// Membership and what is scheduled of it are certified beside it.
type Snapshot struct {
	cluster  bft.Digest
	limits   Limits
	executed bft.Seq
	time     bft.Time
	last     bft.SessionID
	history  crypto.History
	sessions []session // live ones, then closed ones, each in the order of their list
	live     int
	openings []opening // in the order in which they expire
	services []serviceSnapshot
	closed   bool
}

type serviceSnapshot struct {
	name  string
	state StateSnapshot
}

// Snapshot returns a handle on the present state. It copies the table of sessions (about 300
// bytes each and 32 for each bundle whose results are kept; the results themselves are
// shared), and costs what the services' snapshots cost. The caller closes it.
func (m *Machine) Snapshot() (*Snapshot, error) {
	if m.broken != nil {
		return nil, m.broken
	}
	t := m.table
	s := &Snapshot{
		cluster: m.cluster, limits: t.limits, executed: m.executed, time: m.time, last: t.last, history: m.history,
		sessions: make([]session, 0, t.live.len+t.closed.len), live: t.live.len,
		openings: make([]opening, 0, len(t.expiry)),
	}
	for _, l := range []*list{&t.live, &t.closed} {
		for at := l.head; at != nil; at = at.links[inTable].next {
			s.sessions = append(s.sessions, *at)
			last := &s.sessions[len(s.sessions)-1]
			last.cache.runs = slices.Clone(at.cache.runs)
			if at.hold != nil {
				h := *at.hold
				h.session, last.hold = nil, &h
			}
			last.links, last.opening = [2]links{}, nil // they would keep alive what is dropped later
		}
	}
	for _, o := range t.expiry {
		s.openings = append(s.openings, *o)
		last := &s.openings[len(s.openings)-1]
		last.results.runs = slices.Clone(o.results.runs)
		last.session = nil
	}
	for _, sv := range m.services {
		state, err := sv.machine.Snapshot()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("exec: snapshot of service %s: %w", sv.name, err), s.Close())
		}
		s.services = append(s.services, serviceSnapshot{sv.name, state})
	}
	return s, nil
}

// Executed is the number of the last batch that the snapshot covers.
func (s *Snapshot) Executed() bft.Seq { return s.executed }

// Time is the agreed time of that batch.
func (s *Snapshot) Time() bft.Time { return s.time }

// HistoryRoot is the root of the history tree up to that batch.
func (s *Snapshot) HistoryRoot() bft.Digest { return s.history.Root() }

// Close releases what the services' snapshots hold.
func (s *Snapshot) Close() error {
	var errs []error
	for _, sv := range s.services {
		if err := sv.state.Close(); err != nil {
			errs = append(errs, fmt.Errorf("exec: close snapshot of service %s: %w", sv.name, err))
		}
	}
	s.services, s.closed = nil, true
	return errors.Join(errs...)
}

// WriteTo writes the snapshot. Replicas in equal states write equal bytes. It may run in
// another goroutine while the machine goes on, and more than once, but not after Close.
func (s *Snapshot) WriteTo(w io.Writer) (int64, error) {
	if s.closed {
		return 0, errors.New("exec: write a closed snapshot")
	}
	e := &encoder{w: bufio.NewWriterSize(w, chunkBytes)}
	s.header(e)
	s.tables(e)
	e.uint(uint64(len(s.services)))
	for _, sv := range s.services {
		e.bytes([]byte(sv.name))
		if err := e.chunks(sv.state); err != nil {
			return e.count, fmt.Errorf("exec: write snapshot of service %s: %w", sv.name, err)
		}
	}
	if e.err == nil {
		e.err = e.w.Flush()
	}
	if e.err != nil {
		return e.count, fmt.Errorf("exec: write snapshot: %w", e.err)
	}
	return e.count, nil
}

func (s *Snapshot) header(e *encoder) {
	e.Write([]byte(snapshotMagic))
	if s.claimed() {
		e.uint(claimedVersion)
	} else {
		e.uint(snapshotVersion)
	}
	e.Write(s.cluster[:])
	for _, l := range s.limits.all() {
		e.uint(l)
	}
	e.uint(uint64(s.executed))
	e.uint(uint64(s.time))
	e.uint(uint64(s.last))
	history, _ := s.history.MarshalBinary() // the error is always nil
	e.bytes(history)
}

func (s *Snapshot) tables(e *encoder) {
	claimed := s.claimed()
	e.uint(uint64(s.live))
	e.uint(uint64(len(s.sessions) - s.live))
	for i := range s.sessions {
		x := &s.sessions[i]
		e.uint(uint64(x.id))
		e.Write(x.owner.key[:])
		e.uint(uint64(x.lastUsed))
		e.uint(x.low)
		for _, word := range x.bits() {
			e.uint(word)
		}
		x.cache.encode(e)
		if claimed {
			x.encodeHold(e)
		}
	}
	// The heap's order depends on how it came about: write the one that is total. Sorting is
	// done here, beside execution, not in Machine.Snapshot.
	order := make([]*opening, len(s.openings))
	for i := range s.openings {
		order[i] = &s.openings[i]
	}
	slices.SortFunc(order, compareOpenings)
	e.uint(uint64(len(order)))
	for _, o := range order {
		e.uint(uint64(o.id))
		e.Write(o.owner.key[:])
		e.Write(o.nonce[:])
		e.uint(uint64(o.notAfter))
		e.bool(o.refused)
		e.uint(o.first)
		e.uint(uint64(o.count))
		o.results.encode(e)
		if claimed {
			o.encodeClaim(e)
		}
	}
}

// encode writes the runs as they are: where one ends does not matter to any reply, but all
// replicas write the same.
func (c *cache) encode(e *encoder) {
	e.uint(uint64(len(c.runs)))
	for _, r := range c.runs {
		e.uint(r.first)
		e.uint(uint64(len(r.results)))
		for _, result := range r.results {
			e.bytes(result)
		}
	}
}

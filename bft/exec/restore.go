package exec

import (
	"bufio"
	"container/heap"
	"fmt"
	"io"
	"math"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

// Restore replaces the state by the snapshot that r holds, to its end. It refuses what
// Snapshot.WriteTo of a machine with the same cluster, limits and services would not write;
// such errors wrap ErrBadSnapshot. Everything but the services is checked before anything is
// replaced. When a service fails its own Restore the machine cannot be used until another
// Restore succeeds: Execute then panics and Snapshot returns the error.
func (m *Machine) Restore(r io.Reader) error {
	d := &decoder{r: bufio.NewReaderSize(r, chunkBytes)}
	next := &restored{table: newTable(m.table.limits)}
	next.header(d, m.cluster)
	next.tables(d)
	if n := d.uint(); d.err == nil && n != uint64(len(m.services)) {
		d.fail("it has %d services, this machine %d", n, len(m.services))
	}
	if d.err != nil {
		return d.err
	}
	for _, s := range m.services {
		if err := restoreService(d, s); err != nil {
			// This one, or those before it, have a new state already.
			m.broken = err
			return err
		}
	}
	switch _, err := d.r.ReadByte(); {
	case err == nil:
		d.fail("bytes follow its end")
	case err != io.EOF:
		d.failed(err)
	}
	if d.err != nil {
		m.broken = d.err
		return d.err
	}
	m.table, m.executed, m.time, m.history = next.table, next.executed, next.time, next.history
	m.broken = nil
	return nil
}

// restoreService has one service restore itself.
func restoreService(d *decoder, s *service) error {
	name := d.bytes(MaxServiceName, "name of a service")
	if d.err == nil && string(name) != s.name {
		d.fail("it has service %q where this machine has %q", name, s.name)
	}
	if d.err != nil {
		return d.err
	}
	u := &unchunker{d: d}
	err := s.machine.Restore(u)
	if err == nil && d.err == nil {
		// A service that knows where its state ends may not have read the end of the stream.
		var more [1]byte
		if n, end := u.Read(more[:]); n > 0 || end != io.EOF {
			d.fail("service %s did not read all of its state", s.name)
		}
	}
	if d.err != nil {
		err = d.err // the cause, whatever the service made of it
	}
	if err != nil {
		return fmt.Errorf("exec: restore service %s: %w", s.name, err)
	}
	return nil
}

// restored is what a snapshot holds besides the services.
type restored struct {
	table    *table
	executed bft.Seq
	time     bft.Time
	history  crypto.History
	version  uint64
	claimed  bool // something that version 1 has no place for
}

func (x *restored) header(d *decoder, cluster bft.Digest) {
	var magic [len(snapshotMagic)]byte
	if d.full(magic[:]); string(magic[:]) != snapshotMagic {
		d.fail("it does not begin like one")
	}
	if x.version = d.uint(); x.version != snapshotVersion && x.version != claimedVersion {
		d.fail("version %d, neither %d nor %d", x.version, snapshotVersion, claimedVersion)
	}
	var of bft.Digest
	if d.full(of[:]); of != cluster {
		d.fail("it is of cluster %s", of.Short())
	}
	for _, want := range x.table.limits.all() {
		if got := d.uint(); got != want {
			d.fail("a limit is %d, here it is %d", got, want)
		}
	}
	x.executed = bft.Seq(d.upTo(math.MaxInt64, "executed"))
	x.time = bft.Time(d.upTo(math.MaxInt64, "time"))
	x.table.last = bft.SessionID(d.upTo(math.MaxInt64, "counter of sessions"))
	history := d.bytes(4096, "history")
	if d.err != nil {
		return
	}
	if err := x.history.UnmarshalBinary(history); err != nil {
		d.fail("%v", err)
	} else if x.history.Len() != uint64(x.executed) {
		d.fail("history of %d numbers, but %d executed", x.history.Len(), x.executed)
	}
}

func (x *restored) tables(d *decoder) {
	t := x.table
	live := d.upTo(uint64(t.limits.MaxSessions), "live sessions")
	closed := d.upTo(uint64(t.limits.MaxClosed), "closed sessions")
	for i := uint64(0); i < live+closed && d.err == nil; i++ {
		x.session(d, i >= live)
	}
	openings := d.upTo(uint64(t.limits.MaxOpenings), "openings")
	for i := uint64(0); i < openings && d.err == nil; i++ {
		x.opening(d)
	}
	if d.err == nil && x.claimed != (x.version == claimedVersion) {
		d.fail("version %d, but sessions were claimed: %v", x.version, x.claimed)
	}
	if t.bytes > t.limits.TotalResultBytes {
		d.fail("results of %d bytes", t.bytes)
	}
	for _, c := range t.clients {
		if c.live.len > t.limits.SessionsPerClient || c.closed.len > t.limits.SessionsPerClient ||
			c.openings > t.limits.OpeningsPerClient || c.bytes > t.limits.ClientResultBytes {
			d.fail("a client is over its quota")
		}
	}
}

func (x *restored) session(d *decoder, closed bool) {
	t := x.table
	s := &session{id: bft.SessionID(d.upTo(uint64(t.last), "session")), closed: closed, gone: closed}
	var key bft.ClientID
	d.full(key[:])
	s.lastUsed = bft.Time(d.upTo(uint64(x.time), "last use of a session"))
	s.low = d.upTo(math.MaxUint64-2*bft.WindowOps, "low number of a session")
	var marked [windowWords]uint64
	for i := range marked {
		marked[i] = d.uint()
	}
	s.setBits(marked)
	s.cache.decode(d, t.limits.SessionResultBytes, func(n uint64) bool { return n >= s.kept(1) && s.decided(n) })
	if x.version == claimedVersion {
		x.decodeHold(d, s)
	}
	switch {
	case d.err != nil:
		return
	case s.id == 0 || t.sessions[s.id] != nil:
		d.fail("session %d twice, or none", s.id)
	case s.low == 0 || marked[0]&1 != 0:
		d.fail("session %d: its lowest open number %d is decided", s.id, s.low)
	case !closed && t.live.tail != nil && s.lastUsed < t.live.tail.lastUsed:
		d.fail("session %d is not in the order of use", s.id)
	}
	if d.err != nil {
		return
	}
	s.owner = t.client(key)
	t.sessions[s.id] = s
	if closed {
		t.closed.push(s)
		s.owner.closed.push(s)
	} else {
		t.live.push(s)
		s.owner.live.push(s)
		if s.hold != nil && s.hold.ends != 0 {
			heap.Push(&t.ending, s.hold)
		}
	}
	t.charge(s.owner, s.cache.bytes)
}

func (x *restored) opening(d *decoder) {
	t := x.table
	o := &opening{id: bft.SessionID(d.upTo(uint64(t.last), "opening"))}
	var key bft.ClientID
	d.full(key[:])
	d.full(o.nonce[:])
	o.notAfter = bft.Time(d.upTo(math.MaxInt64, "time of an opening"))
	o.refused = d.bool()
	o.first = d.upTo(math.MaxUint64-bft.WindowOps, "first number of an opening")
	o.count = int(d.upTo(bft.WindowOps, "operations of an opening"))
	o.results.decode(d, t.limits.SessionResultBytes, func(n uint64) bool {
		return !o.refused && n >= o.first && n-o.first < uint64(o.count)
	})
	if x.version == claimedVersion {
		x.decodeClaim(d, o)
	}
	switch n := len(t.expiry); {
	case d.err != nil:
		return
	case o.id == 0 || n > 0 && compareOpenings(t.expiry[n-1], o) >= 0:
		d.fail("opening %d is not in order", o.id)
	case t.openings[openingKey{key, o.nonce}] != nil:
		d.fail("opening %d: its nonce occurs twice", o.id)
	case o.notAfter < x.time || o.notAfter-x.time > t.limits.MaxAhead:
		d.fail("opening %d would not be remembered", o.id)
	case o.count > 0 && o.first == 0:
		d.fail("opening %d begins with number 0", o.id)
	}
	s := t.sessions[o.id]
	if s != nil && (o.refused || s.owner.key != key) {
		d.fail("opening %d is not of the session of its number", o.id)
	}
	if d.err != nil {
		return
	}
	o.owner = t.client(key)
	if s != nil && !s.closed {
		o.session, s.opening = s, o
	}
	t.remember(o)
	t.charge(o.owner, o.results.bytes)
}

// decode reads runs of at most limit bytes, whose numbers must be allowed.
func (c *cache) decode(d *decoder, limit int, allowed func(n uint64) bool) {
	runs := d.upTo(2*bft.WindowOps, "runs of results")
	next := uint64(0)
	for i := uint64(0); i < runs && d.err == nil; i++ {
		first := d.upTo(math.MaxUint64-bft.WindowOps, "first number of a run")
		count := d.upTo(bft.WindowOps, "results of a run")
		if first < next || count == 0 {
			d.fail("runs of results out of order, or empty")
		}
		next = first + count
		var results [][]byte
		for n := first; n < next && d.err == nil; n++ {
			if !allowed(n) {
				d.fail("a result for number %d, which has none", n)
			}
			result := d.bytes(maxResult, "result")
			if d.err == nil && (len(result) == 0 || Status(result[0]) >= statusEnd) {
				d.fail("a result without a status")
			}
			results = append(results, result)
		}
		if d.err == nil {
			c.add(first, results)
		}
		if c.bytes > limit {
			d.fail("results of %d bytes", c.bytes)
		}
	}
}

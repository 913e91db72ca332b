package exec

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

// Machine is the executed state of a replica. The package comment says who may call what.
type Machine struct {
	cluster  bft.Digest
	services []*service // in the order of their names
	byName   map[string]*service
	only     *service // if there is one alone

	table    *table
	executed bft.Seq
	time     bft.Time
	history  crypto.History

	touched []*session // by the batch that is being executed
	ran     int        // operations of the bundle that is being executed
	digests []bft.Digest
	broken  error // of a Restore that failed half-way

	passive bool // some service is an Updater
	updates ordered
}

type service struct {
	name      string
	machine   StateMachine
	validator Validator // or nil
	updater   Updater   // nil: replicated actively
}

// Outcome is what executing a batch yields.
type Outcome struct {
	// Executed is for the core; a mark for each session that the batch opened, used or ended.
	Executed bft.Executed
	// Replies, one for each bundle, in their order.
	Replies []Reply
}

// New returns a machine at genesis, whose services are as the Config has them. The error says
// all that is wrong with cfg.
func New(cfg Config) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Machine{cluster: cfg.Cluster, byName: make(map[string]*service), table: newTable(cfg.Limits)}
	for _, s := range cfg.sorted() {
		v, _ := s.Machine.(Validator)
		u, _ := s.Machine.(Updater)
		sv := &service{name: s.Name, machine: s.Machine, validator: v, updater: u}
		m.passive = m.passive || u != nil
		m.services = append(m.services, sv)
		m.byName[s.Name] = sv
	}
	if len(m.services) == 1 {
		m.only = m.services[0]
	}
	return m, nil
}

// Executed is the number of the last executed batch, 0 at genesis.
func (m *Machine) Executed() bft.Seq { return m.executed }

// Time is the agreed time of the last executed batch, 0 at genesis.
func (m *Machine) Time() bft.Time { return m.time }

// HistoryRoot is the root of the history tree over all executed numbers (rule 32).
func (m *Machine) HistoryRoot() bft.Digest { return m.history.Root() }

// History returns a copy of the frontier of the history tree.
func (m *Machine) History() crypto.History { return m.history }

// Broken is not nil after a Restore that failed half-way, which left no state to go on from: it
// says why. A later Restore that succeeds mends it.
func (m *Machine) Broken() error { return m.broken }

// Sessions is the number of live sessions.
func (m *Machine) Sessions() int { return m.table.live.len }

// Marks describes all sessions, live and closed, in the order of their ids.
func (m *Machine) Marks() []bft.SessionMark {
	marks := make([]bft.SessionMark, 0, len(m.table.sessions))
	for _, l := range []*list{&m.table.live, &m.table.closed} {
		for s := l.head; s != nil; s = s.links[inTable].next {
			marks = append(marks, s.mark())
		}
	}
	slices.SortFunc(marks, func(a, b bft.SessionMark) int { return cmp.Compare(a.Session, b.Session) })
	return marks
}

// unfinal tells whether a result is not final.
func (r *Reply) unfinal() bool {
	return slices.ContainsFunc(r.Results, func(result []byte) bool { return len(result) > 0 && !Status(result[0]).Final() })
}

// The results of a bundle, or of a question, are bounded, whatever clients ask for: so they fit a frame, and memory. Beyond
// ReplyBytes no further operation is executed, no further read answered: see StatusCrowded.
const (
	ReplyBytes = 4 << 20
	// MaxResultBytes is the longest result of one operation, status included. One that would be longer is not kept (StatusForgotten); a
	// read that would be fails.
	MaxResultBytes = 4<<20 + 64<<10
)

// Execute executes the batch, whose number must be the next. Bundles and their operations are
// not kept. It panics if the number is another, or if Restore left the machine unusable: the
// host would diverge from its peers.
func (m *Machine) Execute(b *bft.Batch) Outcome { return m.ExecuteEach(b, func(int, *Reply) {}) }

// ExecuteEach is Execute, and calls each after each bundle, while those behind it are not executed yet. It may take the results out of the
// reply: those of all bundles together have no bound but the batch's.
func (m *Machine) ExecuteEach(b *bft.Batch, each func(i int, r *Reply)) Outcome {
	if m.broken != nil {
		panic(fmt.Sprintf("exec: execute after a failed restore: %v", m.broken))
	}
	if b.Seq != m.executed+1 {
		panic(fmt.Sprintf("exec: batch %d after %d", b.Seq, m.executed))
	}
	// A null proposal has time 0, which reads as the last one (rule 5).
	m.time = max(m.time, b.Proposal.Time)
	m.executed = b.Seq
	m.table.expire(m.time)
	m.endSessions()
	if m.passive {
		m.updates = m.order(b)
	}
	out := Outcome{Replies: make([]Reply, len(b.Bundles))}
	m.digests = m.digests[:0]
	for i, bundle := range b.Bundles {
		ctx := Context{Seq: b.Seq, Client: bundle.Client, now: m.time, proposal: b.Digest, index: uint64(i) << 32}
		m.ran = 0
		r := &out.Replies[i]
		*r = m.bundle(bundle, &ctx)
		r.fit()
		r.Fresh = len(bundle.Ops) > 0 && m.ran == len(bundle.Ops)
		m.digests = append(m.digests, r.Digest())
		if r.unfinal() {
			out.Executed.Again = append(out.Executed.Again, bundle.Digest)
		}
		if r.Void {
			out.Executed.Void = append(out.Executed.Void, bundle.Digest)
		}
		each(i, r)
	}
	m.history.Append(HistoryLeaf(b.Seq, b.Digest, crypto.MerkleRoot(m.digests)))
	out.Executed.Seq, out.Executed.Time, out.Executed.Marks = b.Seq, m.time, m.takeMarks()
	return out
}

// touch has a mark made of s when the batch is done.
func (m *Machine) touch(s *session) {
	if s.marked != m.executed {
		s.marked = m.executed
		m.touched = append(m.touched, s)
	}
}

func (m *Machine) takeMarks() []bft.SessionMark {
	if len(m.touched) == 0 {
		return nil
	}
	marks := make([]bft.SessionMark, len(m.touched))
	for i, s := range m.touched {
		marks[i] = s.mark()
	}
	clear(m.touched)
	m.touched = m.touched[:0]
	return marks
}

// call has the operation executed by its service.
func (m *Machine) call(ctx *Context, frame []byte, out *arena) []byte {
	op, s, status := m.route(frame)
	if status != StatusOK {
		return statusResults[status]
	}
	if op.Read {
		return query(context.Background(), s, op.Payload)
	}
	payload := op.Payload
	if s.updater != nil {
		e := m.updates.take()
		if e.failed != 0 {
			return failures[e.failed]
		}
		payload = e.update
	}
	value := s.machine.Apply(*ctx, payload)
	if len(value) == 0 {
		return statusResults[StatusOK]
	}
	return out.result(value)
}

// route finds the service of an operation and has it validate it.
func (m *Machine) route(frame []byte) (Op, *service, Status) {
	op, err := DecodeOp(frame)
	if err != nil {
		return op, nil, StatusInvalid
	}
	s := m.service(op.Service)
	switch {
	case s == nil:
		return op, nil, StatusUnknownService
	case !op.Read && s.validator != nil && s.validator.Validate(op.Payload) != nil:
		return op, nil, StatusInvalid
	}
	return op, s, StatusOK
}

// service returns the service of this name, or nil.
func (m *Machine) service(name []byte) *service {
	if len(name) == 0 {
		return m.only
	}
	return m.byName[string(name)]
}

// Validate tells whether a framed operation is worth ordering: well-formed, for a service of
// this cluster, and not refused by its Validator. The error is ErrUnknownService, or is or
// wraps ErrInvalid. Any goroutine may call it.
func (m *Machine) Validate(frame []byte) error {
	op, err := DecodeOp(frame)
	if err != nil {
		return ErrInvalid
	}
	s := m.service(op.Service)
	if s == nil {
		return ErrUnknownService
	}
	if op.Read || s.validator == nil {
		return nil
	}
	if err := s.validator.Validate(op.Payload); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// Query answers framed reads from the present state, one result for each. Each must have the
// read flag: an operation that would change the state gets StatusInvalid, it never becomes a
// read unnoticed. Any goroutine may call it. The operations of one call may see different
// states if batches are executed meanwhile.
func (m *Machine) Query(ctx context.Context, frames [][]byte) [][]byte {
	results := make([][]byte, len(frames))
	size := 0
	for i, frame := range frames {
		op, s, status := m.route(frame)
		switch {
		case size > ReplyBytes:
			results[i] = statusResults[StatusCrowded]
		case status != StatusOK:
			results[i] = statusResults[status]
		case !op.Read:
			results[i] = statusResults[StatusInvalid]
		default:
			results[i] = query(ctx, s, op.Payload)
		}
		size += len(results[i])
	}
	return results
}

// query makes a result of the service's answer.
func query(ctx context.Context, s *service, q []byte) []byte {
	value, err := s.machine.Query(ctx, q)
	if err != nil {
		text := err.Error()
		if len(text) > MaxErrorText {
			for text = text[:MaxErrorText]; len(text) > 0 && !utf8.ValidString(text); {
				text = text[:len(text)-1]
			}
		}
		return append([]byte{byte(StatusFailed)}, text...)
	}
	if len(value) >= MaxResultBytes {
		return fmt.Appendf([]byte{byte(StatusFailed)}, "the answer has %d bytes, at most %d can be told: ask for less at a time", len(value), MaxResultBytes-1)
	}
	return append([]byte{byte(StatusOK)}, value...)
}

// arena makes one allocation serve the small results of a bundle.
type arena struct {
	free []byte
	left int // results still expected
}

// arenaBlock bounds what one small kept result can keep from being freed, besides itself.
const arenaBlock = 4096

// result returns StatusOK followed by value, copied.
func (a *arena) result(value []byte) []byte {
	need := 1 + len(value)
	if need > len(a.free) {
		a.free = make([]byte, max(need, min(arenaBlock, need*a.left)))
	}
	r := a.free[:need:need]
	a.free = a.free[need:]
	r[0] = byte(StatusOK)
	copy(r[1:], value)
	return r
}

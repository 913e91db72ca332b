package exec

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
)

// Updater is implemented by a service that is replicated passively: the primary alone executes its operations, and may do
// there what Apply must not, such as draw a random number or read a clock. What comes of it is an update, which is
// ordered together with the operation. All replicas, the primary too, have Apply execute the update in the place of the operation; so
// Apply is as deterministic as that of any other service, and its result, which the client gets, follows from the
// update and the state.
//
// A lying primary can have any update ordered, unless the service's drafts are [UpdateValidator]s.
type Updater interface {
	// Draft returns a draft that begins at the present state. The goroutine that calls Apply calls it; another one uses the draft,
	// perhaps while Apply goes on changing the service, which the draft must not see.
	Draft() Draft
}

// Draft is a view of the state of a service that changes by itself, and is thrown away.
type Draft interface {
	// Update executes an operation on the draft and returns the update that has the same effect on the state. It keeps no
	// reference to op. The draft is then as if the update had been applied, for the next operation of the same proposal.
	//
	// It runs at the primary only, before the operation is ordered, and perhaps in vain: then it runs again, there or at
	// another primary. A client learns only of the update that was applied. In ctx the time is the one at which Apply will
	// execute it; the session is 0 for an operation that opens it.
	//
	// An Update that takes longer than backups wait for a proposal costs its replica the view; one that never returns, any
	// further one. One that panics, or whose update is too
	// large ([bft.MaxUpdateBytes]), gives the operation and those behind it in its bundle the result of a failure; they change nothing.
	Update(ctx Context, op []byte) []byte
}

// UpdateValidator is implemented by a draft that can tell whether an update may have come of an operation. Then backups ask
// before they vote, so that what it refuses is never applied, and its primary suspected.
type UpdateValidator interface {
	// ValidateUpdate returns why update cannot have come of op on the draft. If it can, the draft is then as if the update had been
	// applied. It depends on nothing but the draft and its arguments. A panic refuses the update.
	ValidateUpdate(ctx Context, op, update []byte) error
}

// Passive tells whether some service is an Updater: the core wants to know, see bft.Config.
func (m *Machine) Passive() bool { return m.passive }

// failure is why an operation has no update.
type failure byte

const (
	failurePanic failure = 1 + iota
	failureSize
	failureBefore
	failureEnd
)

// failures are the results of operations that the primary could not execute.
var failures = [failureEnd][]byte{
	failurePanic:  append([]byte{byte(StatusFailed)}, "the service failed at the primary, nothing was changed"...),
	failureSize:   append([]byte{byte(StatusFailed)}, "the update of the operation is too large, nothing was changed"...),
	failureBefore: append([]byte{byte(StatusFailed)}, "an operation before it in the same bundle failed, nothing was changed"...),
}

// entry is the update of one operation of a batch.
type entry struct {
	index  uint64 // of the operation: number of the bundle << 32 | number in the bundle
	failed failure
	update []byte
	why    error // of a failure, at the primary
}

// ErrBadUpdates means that the updates of a proposal are not those that a correct primary makes.
var ErrBadUpdates = errors.New("exec: updates are not in order")

// Updates are encoded as the history root of the state on which they were computed, then for each: bundle, operation, length
// + failureEnd of the update, update. For a failure its number stands in the place of the length. All numbers are uvarints.

func (e *entry) append(b []byte) []byte {
	b = binary.AppendUvarint(b, e.index>>32)
	b = binary.AppendUvarint(b, e.index&(1<<32-1))
	if e.failed != 0 {
		return binary.AppendUvarint(b, uint64(e.failed))
	}
	return append(binary.AppendUvarint(b, uint64(len(e.update))+uint64(failureEnd)), e.update...)
}

// maxEntryHead bounds what an entry has besides its update: bundle and operation below 2^14, and the length.
const maxEntryHead = 3 + 3 + 5

// decodeUpdates undoes the encoding, of at most some number of updates. They point into b.
func decodeUpdates(b []byte, most int) (base bft.Digest, entries []entry, err error) {
	if len(b) <= len(base) {
		return base, nil, fmt.Errorf("%w: %d bytes", ErrBadUpdates, len(b))
	}
	b = b[copy(base[:], b):]
	number := func() (v uint64) {
		n := 0
		if v, n = binary.Uvarint(b); n <= 0 || v >= 1<<32 {
			v, n, err = 0, len(b), fmt.Errorf("%w: malformed", ErrBadUpdates)
		}
		b = b[n:]
		return v
	}
	for len(b) > 0 {
		e := entry{index: number() << 32}
		e.index |= number()
		switch n := number(); {
		case err != nil:
			return base, nil, err
		case len(entries) >= most:
			return base, nil, fmt.Errorf("%w: more than the %d that are wanted", ErrBadUpdates, most)
		case n == 0 || len(entries) > 0 && entries[len(entries)-1].index >= e.index:
			return base, nil, fmt.Errorf("%w: malformed", ErrBadUpdates)
		case n < uint64(failureEnd):
			e.failed = failure(n)
		case n-uint64(failureEnd) > uint64(len(b)):
			return base, nil, fmt.Errorf("%w: cut short", ErrBadUpdates)
		default:
			n -= uint64(failureEnd)
			e.update, b = b[:n:n], b[n:]
		}
		entries = append(entries, e)
	}
	return base, entries, nil
}

// ordered is the updates of the batch that is being executed. They are applied in their order, each to its operation. If an
// operation is not executed after all, the updates behind it are void, since they were computed on what would have come of
// it; and so are all, if they were computed on another state than that before the batch.
type ordered struct {
	entries []entry
	void    bool
}

// order reads the updates of a batch, before it is executed.
func (m *Machine) order(batch *bft.Batch) ordered {
	if len(batch.Updates) == 0 {
		return ordered{}
	}
	most := 0
	for _, b := range batch.Bundles {
		most += len(b.Ops)
	}
	base, entries, err := decodeUpdates(batch.Updates, most)
	if err != nil || base != m.history.Root() {
		return ordered{void: true}
	}
	return ordered{entries: entries}
}

// has tells whether the next update is that of an operation.
func (o *ordered) has(index uint64) bool {
	if len(o.entries) > 0 && o.entries[0].index < index {
		o.void = true // its operation was not executed
	}
	return !o.void && len(o.entries) > 0 && o.entries[0].index == index
}

// take takes the next update.
func (o *ordered) take() entry {
	e := o.entries[0]
	o.entries = o.entries[1:]
	return e
}

// updated returns the passive service that an operation is for, or nil.
func (m *Machine) updated(frame []byte) *service {
	if op, s, status := m.route(frame); status == StatusOK && !op.Read && s.updater != nil {
		return s
	}
	return nil
}

// lacksUpdate tells whether an operation that is to be executed has no valid update, but needs one.
func (m *Machine) lacksUpdate(frame []byte, index uint64) bool {
	return m.updated(frame) != nil && !m.updates.has(index)
}

// opensInVain tells whether a bundle that opens a session has an operation that lacks its update. No session is opened for
// it then, lest a repetition find it open.
func (m *Machine) opensInVain(b *bft.Bundle, ctx *Context) bool {
	ahead := m.updates
	s := session{low: 1}
	for i := range s.executes(b) {
		if m.updated(b.Ops[i]) == nil {
			continue
		}
		if !ahead.has(ctx.index + uint64(i)) {
			return true
		}
		ahead.take()
	}
	return false
}

// executes ranges over the operations of b that would be executed now in s, which changes accordingly.
func (s *session) executes(b *bft.Bundle) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		s.answered(b.AnsweredBelow)
		for i := range b.Ops {
			n := b.First + uint64(i)
			if s.decided(n) || !s.fits(n) {
				continue
			}
			if !yield(i) {
				return
			}
			s.decide(n)
		}
	}
}

// replaces tells whether an opening would end a live session, and so make room for its own.
func (m *Machine) replaces(owner *client, b *bft.Bundle) bool {
	if b.Claim == nil || b.Claim.Replace != bft.ReplaceAll || m.table.outdated(b) {
		return false
	}
	for s := owner.live.head; s != nil; s = s.links[inOwner].next {
		if s.hold != nil && s.hold.instance == b.Claim.Instance {
			return true
		}
	}
	return false
}

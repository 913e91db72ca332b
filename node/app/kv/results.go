package kv

import (
	"errors"
	"fmt"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
)

// A result is empty, when there is nothing to tell of success, or a status and what belongs to it.
const (
	statusFound         = iota // what was asked for, or what was made
	statusNotFound             // nothing
	statusCompareFailed        // the present value
	statusBadOp                // nothing
	statusCompacted            // the first revision that is kept
	statusNoLease              // nothing, as for all below
	statusNotOwner
	statusQuota
	statusTooLarge
)

// Page is what one scan returns.
type Page struct {
	Items []Item
	// More: there are further keys. Scan goes on after the last one of Items.
	More bool
}

// Item is a key and its value.
type Item struct{ Key, Value []byte }

// Entry is all that there is to know of a key.
type Entry struct {
	Key, Value []byte
	// Revision is that of the last change of the key.
	Revision uint64
	// Lease is the lease that the key is on, 0 if none, and Ends when that ends, in agreed time. A lease whose end lies behind
	// may still be seen, while no operation is executed: see [Advance].
	Lease uint64
	Ends  time.Time
}

// Entries is what one list returns.
type Entries struct {
	Items []Entry
	// More: there are further keys. List goes on after the last one of Items.
	More bool
}

// Lease is a lease.
type Lease struct {
	ID uint64
	// Owner is the client it was granted to, which alone can use it.
	Owner bft.ClientID
	// TTL is how long it lives after it was granted or kept alive, Ends when it ends, in agreed time.
	TTL  time.Duration
	Ends time.Time
	// Keys is how many keys are on it.
	Keys int
}

// DecodeDone returns the error of the result of Put, PutOn, Delete, CompareAndSet, Create, Revoke or Advance, or nil:
// ErrNotFound, ErrCompareFailed, ErrNoLease, ErrNotOwner, ErrQuota, ErrBadOp. Current is the present value if the comparison failed.
func DecodeDone(result []byte) (current []byte, err error) {
	if len(result) == 0 {
		return nil, nil
	}
	if result[0] == statusCompareFailed {
		return result[1:], ErrCompareFailed
	}
	return nil, failure(result)
}

// DecodeGet returns the value that the result of Get tells, or ErrNotFound or ErrBadOp.
func DecodeGet(result []byte) ([]byte, error) {
	if len(result) == 0 || result[0] != statusFound {
		return nil, failure(result)
	}
	return result[1:], nil
}

// DecodeScan returns the page that the result of Scan holds, or ErrBadOp.
func DecodeScan(result []byte) (Page, error) {
	if len(result) < 2 || result[0] != statusFound || result[1] > 1 {
		return Page{}, failure(result)
	}
	p := Page{More: result[1] == 1}
	for f := (fields{rest: result[2:]}); len(f.rest) > 0; {
		item := Item{Key: f.next(MaxKey), Value: f.next(MaxValue)}
		if f.bad {
			return Page{}, errMalformed
		}
		p.Items = append(p.Items, item)
	}
	return p, nil
}

// failures are the errors of the results that are a status alone.
var failures = []error{statusNotFound: ErrNotFound, statusBadOp: ErrBadOp, statusNoLease: ErrNoLease,
	statusNotOwner: ErrNotOwner, statusQuota: ErrQuota, statusTooLarge: ErrTooLarge}

// failure returns the error of a result that is a status alone.
func failure(result []byte) error {
	if len(result) == 1 && int(result[0]) < len(failures) && failures[result[0]] != nil {
		return failures[result[0]]
	}
	return fmt.Errorf("kv: %d bytes that are no such result", len(result))
}

var errMalformed = errors.New("kv: the result is malformed")

// found returns what follows the status of a result, or its error.
func found(result []byte) (*fields, error) {
	if len(result) == 0 || result[0] != statusFound {
		return nil, failure(result)
	}
	return &fields{rest: result[1:]}, nil
}

// end returns the error of a result that is read.
func (f *fields) end() error {
	if f.bad || len(f.rest) > 0 {
		return errMalformed
	}
	return nil
}

// DecodeRead returns the entry that the result of Read tells, without its key, or ErrNotFound or ErrBadOp.
func DecodeRead(result []byte) (Entry, error) {
	f, err := found(result)
	if err != nil {
		return Entry{}, err
	}
	e := f.entry()
	return e, f.end()
}

// entry reads what appendEntry writes.
func (f *fields) entry() Entry {
	e := Entry{Revision: f.number(anyNumber), Lease: f.number(anyNumber)}
	if end := f.number(anyNumber); e.Lease != 0 {
		e.Ends = time.Unix(0, int64(end)).UTC()
	}
	e.Value = f.next(MaxValue)
	return e
}

// more reads whether there is more.
func (f *fields) more() bool { return f.number(1) == 1 }

// DecodeList returns the page that the result of List holds, or ErrBadOp.
func DecodeList(result []byte) (Entries, error) {
	f, err := found(result)
	if err != nil {
		return Entries{}, err
	}
	p := Entries{More: f.more()}
	for len(f.rest) > 0 && !f.bad {
		key := f.next(MaxKey)
		e := f.entry()
		e.Key = key
		p.Items = append(p.Items, e)
	}
	return p, f.end()
}

// Head is where the service stands.
type Head struct {
	// Revision is that of the last change, Oldest the first one whose changes are still kept.
	Revision, Oldest uint64
	// NextEnd is when the first lease ends, in agreed time; zero without leases. If that is past, see [Advance].
	NextEnd time.Time
}

// DecodeRevision returns what the result of Revision tells, or ErrBadOp.
func DecodeRevision(result []byte) (Head, error) {
	f, err := found(result)
	if err != nil {
		return Head{}, err
	}
	h := Head{Revision: f.number(anyNumber), Oldest: f.number(anyNumber)}
	if end := f.number(anyNumber); end != 0 {
		h.NextEnd = time.Unix(0, int64(end)).UTC()
	}
	return h, f.end()
}

// DecodeChanges returns the changes that the result of Changes holds, of all revisions up to through: the next page begins
// behind it. The error is ErrBadOp, or ErrCompacted if changes from the one asked for on are not kept any more; then
// through is the last revision that is not.
func DecodeChanges(result []byte) (changes []Change, through uint64, err error) {
	if len(result) > 1 && result[0] == statusCompacted {
		f := fields{rest: result[1:]}
		first := f.positive(anyNumber)
		if err := f.end(); err != nil {
			return nil, 0, err
		}
		return nil, first - 1, ErrCompacted
	}
	f, err := found(result)
	if err != nil {
		return nil, 0, err
	}
	through = f.number(anyNumber)
	for len(f.rest) > 0 && !f.bad {
		changes = append(changes, f.change())
	}
	return changes, through, f.end()
}

// change reads a change.
func (f *fields) change() Change {
	c := Change{Revision: f.positive(anyNumber), Kind: ChangeKind(f.letter())}
	c.Key, c.Value = f.next(MaxKey), f.next(MaxValue)
	f.bad = f.bad || c.Kind < Changed || c.Kind > Expired || c.Kind != Changed && len(c.Value) > 0
	return c
}

// DecodeLease returns the lease that the result of Grant or KeepAlive tells, or ErrNoLease, ErrNotOwner, ErrQuota or
// ErrBadOp.
func DecodeLease(result []byte) (Lease, error) {
	f, err := found(result)
	if err != nil {
		return Lease{}, err
	}
	l := f.lease()
	return l, f.end()
}

// lease reads what appendLease writes.
func (f *fields) lease() Lease {
	l := Lease{ID: f.positive(anyNumber), TTL: time.Duration(f.number(uint64(MaxTTL)))}
	l.Ends = time.Unix(0, int64(f.number(anyNumber))).UTC()
	l.Keys = int(f.number(MaxLeaseKeys))
	copy(l.Owner[:], f.take(len(l.Owner)))
	return l
}

// DecodeLeases returns the leases that the result of Leases tells, and whether there are more.
func DecodeLeases(result []byte) (list []Lease, more bool, err error) {
	f, err := found(result)
	if err != nil {
		return nil, false, err
	}
	more = f.more()
	for len(f.rest) > 0 && !f.bad {
		list = append(list, f.lease())
	}
	return list, more, f.end()
}

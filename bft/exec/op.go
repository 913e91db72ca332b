package exec

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

const (
	// MaxServiceName bounds the name of a service, in bytes.
	MaxServiceName = 64
	// MaxErrorText bounds what a result tells of the error of a Query, in bytes.
	MaxErrorText = 256
)

// flagRead marks an operation that is answered by Query.
const flagRead = 1

// ErrBadOp means that bytes are not a framed operation.
var ErrBadOp = errors.New("exec: malformed operation")

// Op is a framed operation, decoded. Its slices point into the frame.
type Op struct {
	// Service is the name of the service; empty means the only one of the cluster.
	Service []byte
	// Read: the operation is answered by Query, also when it is ordered.
	Read bool
	// Payload is what the service gets.
	Payload []byte
}

// EncodeOp frames an operation: flags, the length of the service's name, the name, the
// payload. It panics if the name is longer than MaxServiceName.
func EncodeOp(service string, read bool, payload []byte) []byte {
	if len(service) > MaxServiceName {
		panic(fmt.Sprintf("exec: service name of %d bytes, at most %d", len(service), MaxServiceName))
	}
	var flags byte
	if read {
		flags = flagRead
	}
	b := make([]byte, 0, 2+len(service)+len(payload))
	b = append(b, flags, byte(len(service)))
	b = append(b, service...)
	return append(b, payload...)
}

// DecodeOp undoes EncodeOp. The error is ErrBadOp.
func DecodeOp(b []byte) (Op, error) {
	if len(b) < 2 || b[0]&^flagRead != 0 || b[1] > MaxServiceName || len(b)-2 < int(b[1]) {
		return Op{}, ErrBadOp
	}
	end := 2 + int(b[1])
	return Op{Service: b[2:end], Read: b[0] == flagRead, Payload: b[end:]}, nil
}

// ValidServiceName tells whether a service may have this name: 1 to MaxServiceName lower-case
// letters, digits, dots, dashes and underscores.
func ValidServiceName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return len(name) >= 1 && len(name) <= MaxServiceName
}

// Status is the first byte of a result; the service's value follows StatusOK, and the text of
// an error StatusFailed. Nothing follows the others.
type Status bft.ResultStatus

// The statuses. All are final, but for StatusTooFar and StatusNotNow.
const (
	// StatusOK: executed, the value follows.
	StatusOK = Status(bft.ResultOK)
	// StatusUnknownSession: there is no such session of this client, or it has ended. Whether the
	// operation was executed earlier, in that session, is not known any more.
	StatusUnknownSession = Status(bft.ResultUnknownSession)
	// StatusExpired: the opening's NotAfter has passed. Whether it was executed before that is not
	// known any more.
	StatusExpired = Status(bft.ResultExpired)
	// StatusTooFar: the number is beyond the session's window. Not executed, and not final.
	StatusTooFar = Status(bft.ResultTooFar)
	// StatusSuperseded: another bundle opened the session with this nonce, without this number.
	// Never executed.
	StatusSuperseded = Status(bft.ResultSuperseded)
	// StatusRefused: no session was opened, the quota is used up. Never executed.
	StatusRefused = Status(bft.ResultRefused)
	// StatusNotNow: not executed, and not final: there was no room to remember the opening, or its
	// NotAfter is too far ahead. Until NotAfter the same bundle may be ordered again and succeed.
	StatusNotNow = Status(bft.ResultNotNow)
	// StatusUnknownService: no service has this name. Never executed.
	StatusUnknownService = Status(bft.ResultUnknownService)
	// StatusInvalid: malformed, or the service's Validator refuses it. Never executed.
	StatusInvalid = Status(bft.ResultInvalid)
	// StatusForgotten: the number was decided before, and its result dropped: the client said that it
	// has it (answered-below), or it went over the bound of kept results.
	StatusForgotten = Status(bft.ResultForgotten)
	// StatusTooLate: ordered after the bundle's Expires. Never executed: the number is used up.
	StatusTooLate = Status(bft.ResultTooLate)
	// StatusFailed: the query ended in an error, whose text follows.
	StatusFailed = Status(bft.ResultFailed)
	// StatusEnded: the session's lease ran out before the operation was ordered. Never executed.
	StatusEnded = Status(bft.ResultEnded)
	// StatusReplaced: a newer session of the instance has ended this one, or refused its opening, before the operation was
	// ordered. Never executed.
	StatusReplaced = Status(bft.ResultReplaced)
	// StatusCrowded: the results before it, of the same bundle or question, have ReplyBytes. Never executed: the number is
	// used up, and the client asks again with another one.
	StatusCrowded = Status(bft.ResultCrowded)
	statusEnd     = StatusCrowded + 1
)

// The errors for the statuses, see [Status.Err].
var (
	ErrUnknownSession = errors.New("exec: unknown session, or the session has ended")
	ErrExpired        = errors.New("exec: the time to open the session has passed")
	ErrTooFar         = errors.New("exec: number beyond the session's window")
	ErrSuperseded     = errors.New("exec: another bundle opened the session with this nonce")
	ErrRefused        = errors.New("exec: the quota of sessions is used up")
	ErrNotNow         = errors.New("exec: the session cannot be opened now")
	ErrUnknownService = errors.New("exec: unknown service")
	ErrInvalid        = errors.New("exec: invalid operation")
	ErrForgotten      = errors.New("exec: decided before, the result is not kept any more")
	ErrTooLate        = errors.New("exec: ordered after it expired, not executed")
	ErrFailed         = errors.New("exec: query failed")
	ErrEnded          = errors.New("exec: the session's lease ran out before, not executed")
	ErrReplaced       = errors.New("exec: a newer session of the instance replaced this one before, not executed")
	ErrCrowded        = errors.New("exec: no room for the result beside others, not executed")
	ErrBadResult      = errors.New("exec: malformed result")
)

var statusErrors = [statusEnd]error{nil, ErrUnknownSession, ErrExpired, ErrTooFar, ErrSuperseded,
	ErrRefused, ErrNotNow, ErrUnknownService, ErrInvalid, ErrForgotten, ErrTooLate, ErrFailed, ErrEnded, ErrReplaced, ErrCrowded}

var statusNames = [statusEnd]string{"ok", "unknown session", "expired", "too far", "superseded",
	"refused", "not now", "unknown service", "invalid", "forgotten", "too late", "failed", "ended", "replaced", "crowded"}

// statusResults are the results that consist of a status only; shared, for they are many.
var statusResults = func() (r [statusEnd][]byte) {
	for s := range r {
		r[s] = []byte{byte(s)}
	}
	return r
}()

// Err returns the error for s, nil for StatusOK.
func (s Status) Err() error {
	if s >= statusEnd {
		return ErrBadResult
	}
	return statusErrors[s]
}

// String names the status.
func (s Status) String() string {
	if s >= statusEnd {
		return fmt.Sprintf("status %d", byte(s))
	}
	return statusNames[s]
}

// Final tells whether the outcome cannot change when the same bundle is ordered again.
func (s Status) Final() bool { return bft.ResultStatus(s).Final() }

// Result splits a result into the service's value and the error of its status.
func Result(result []byte) (value []byte, err error) {
	if len(result) == 0 {
		return nil, ErrBadResult
	}
	switch s := Status(result[0]); {
	case s == StatusOK:
		return result[1:], nil
	case s == StatusFailed:
		return nil, fmt.Errorf("%w: %q", ErrFailed, result[1:])
	case len(result) > 1:
		return nil, ErrBadResult
	default:
		return nil, s.Err()
	}
}

// Reply is what became of a bundle: one result for each operation, or, if it has no
// operations, one result that tells what became of the bundle itself. Results are shared with
// the cache: they are not to be changed.
type Reply struct {
	Client bft.ClientID
	// Session is the bundle's session, or the one that it opened; 0 if it opened none.
	Session bft.SessionID
	// Nonce is the bundle's, if it opens a session, else zero.
	Nonce bft.Nonce
	// First is the number of the first operation.
	First   uint64
	Results [][]byte
	// Void: an operation was not executed for want of its update, and will be ordered again: this is no
	// reply to send.
	Void bool
	// Fresh: all operations of the bundle were executed just now, as part of this batch. Else a result may be that of
	// another operation, which was ordered under the same number before.
	Fresh bool
}

// Digest is what replicas must agree on, in a reply: the session and the results.
func (r *Reply) Digest() bft.Digest { return replyDigest(r.Session, ResultDigest(r.Results)) }

func replyDigest(s bft.SessionID, results bft.Digest) bft.Digest {
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], uint64(s))
	return crypto.Hash("baluarte/reply", id[:], results[:])
}

// ResultDigest is the digest of the results of one bundle, in order.
func ResultDigest(results [][]byte) bft.Digest { return bft.ResultsDigest(results) }

// HistoryLeaf is the leaf that an executed number adds to the history tree (rule 32). Results
// is crypto.MerkleRoot over Reply.Digest of the batch's bundles in order, so that a receipt
// for one bundle need not hold the results of the others.
func HistoryLeaf(seq bft.Seq, proposal, results bft.Digest) bft.Digest {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(seq))
	return crypto.Hash("baluarte/history", n[:], proposal[:], results[:])
}

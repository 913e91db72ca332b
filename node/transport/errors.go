package transport

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Why a connection was refused or ended; found with errors.Is in what
// LastError and the State callback report.
var (
	// ErrWrongVersion: the other end speaks another version of the protocol.
	ErrWrongVersion = errors.New("wrong protocol version")
	// ErrWrongCluster: the other end belongs to another cluster.
	ErrWrongCluster = errors.New("wrong cluster")
	// ErrNotAdmitted: the other end does not serve this key: it is no member,
	// or no client that it admits.
	ErrNotAdmitted = errors.New("not admitted")
	// ErrBusy: the other end has no place left; a later attempt may succeed.
	ErrBusy = errors.New("busy")
	// ErrBadHello: the other end could not read the hello.
	ErrBadHello = errors.New("malformed hello")
	// ErrClosedByPeer: the replica closed an established stream and said why.
	ErrClosedByPeer = errors.New("closed by the replica")
	// ErrWrongIdentity: another key than the member's answers at its address.
	ErrWrongIdentity = errors.New("another key answers at this address")
	// ErrFrame: the other end broke the framing, for instance by a length
	// beyond the limit or of zero.
	ErrFrame = errors.New("invalid frame")
	// ErrNotConnected: no attempt has succeeded or failed yet.
	ErrNotConnected = errors.New("not connected yet")
	// ErrClosed: the server or client was closed here.
	ErrClosed = errors.New("transport closed")
)

// Refusal is the error of a connection that the other end refused or closed
// with a reason. It unwraps to one of the Err values of this package.
type Refusal struct {
	// Err is the class of the refusal.
	Err error
	// Reason is the other end's text for humans: at most 256 bytes, printable.
	// It comes from the network and proves nothing.
	Reason string
}

func (r *Refusal) Error() string {
	if r.Reason == "" {
		return r.Err.Error()
	}
	return fmt.Sprintf("%v: %s", r.Err, r.Reason)
}

// Unwrap returns the class of the refusal.
func (r *Refusal) Unwrap() error { return r.Err }

// Codes of a refusal on the wire. They are never renumbered.
const (
	codeAccepted     = 0
	codeWrongVersion = 1
	codeWrongCluster = 2
	codeNotAdmitted  = 3
	codeBusy         = 4
	codeBadHello     = 5
)

var codeErrors = map[byte]error{
	codeWrongVersion: ErrWrongVersion,
	codeWrongCluster: ErrWrongCluster,
	codeNotAdmitted:  ErrNotAdmitted,
	codeBusy:         ErrBusy,
	codeBadHello:     ErrBadHello,
}

// refusalOf makes the error for a refusal as received. A code of a later
// version is a refusal all the same.
func refusalOf(code byte, reason []byte) *Refusal {
	err := codeErrors[code]
	if err == nil {
		err = ErrNotAdmitted
	}
	return &Refusal{Err: err, Reason: printable(string(reason))}
}

// codeOf is the inverse of refusalOf, for sending.
func codeOf(err error) byte {
	for code, e := range codeErrors {
		if errors.Is(err, e) {
			return code
		}
	}
	return codeNotAdmitted
}

// maxReasonBytes bounds a reason on the wire.
const maxReasonBytes = 256

// printable makes a text from the network fit for a log and a terminal.
func printable(s string) string {
	if len(s) > maxReasonBytes {
		s = s[:maxReasonBytes]
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '.'
		}
		return r
	}, s)
}

func isRefusal(err error) bool {
	var r *Refusal
	return errors.As(err, &r)
}

package bft

import (
	"errors"
	"strconv"
)

// ResultStatus is the first byte of every result, made by package exec, which says more about
// when each occurs. Whether it is final is part of its meaning: after one that is not, the same
// bundle may still be executed.
type ResultStatus byte

// The statuses of results. All are final, but for ResultTooFar and ResultNotNow.
const (
	ResultOK             ResultStatus = iota // executed, the value follows
	ResultUnknownSession                     // the session has ended; executed earlier in it, or not
	ResultExpired                            // the opening's NotAfter has passed; executed before, or not
	ResultTooFar                             // beyond the session's window; not final
	ResultSuperseded                         // another bundle used the nonce; never executed
	ResultRefused                            // the quota of sessions is used up; never executed
	ResultNotNow                             // the session cannot be opened now; not final
	ResultUnknownService                     // never executed
	ResultInvalid                            // the service refuses the operation; never executed
	ResultForgotten                          // decided before, the result is not kept any more
	ResultTooLate                            // ordered after the bundle's Expires; never executed
	ResultFailed                             // a read that ended in an error, whose text follows
	ResultEnded                              // the session's lease ran out before; never executed
	ResultReplaced                           // a newer session of the instance ended this one before; never executed
	ResultCrowded                            // the results before it in its frame left no room for its own; never executed, or not read
)

// Final tells whether the outcome cannot change when the same bundle is ordered again.
func (s ResultStatus) Final() bool { return s != ResultTooFar && s != ResultNotNow }

// How a call can end without a result. Which of them it is, and whether the operation may have
// been executed, errors.Is tells: every error of a call that was not executed, and never will
// be, is also ErrNotSubmitted or ErrRejected; every other one of an ordered call is also
// ErrOutcomeUnknown.
var (
	// ErrNotSubmitted: the operation did not leave the client, or its session ended before it was ordered; it is safe to
	// invoke it again.
	ErrNotSubmitted = errors.New("not submitted")
	// ErrOutcomeUnknown: the operation left, and the caller stopped waiting before f+1 replicas
	// answered alike. It may have been executed, may yet be, or never. The client goes on repeating it
	// in its session, so that it is executed at most once whatever happens.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrOverloaded: the same, and f+1 replicas had no room for the operation when they were last
	// asked; or, together with ErrNotSubmitted, the client itself has no room.
	ErrOverloaded = errors.New("overloaded")
	// ErrContended: the replicas that answered a query never agreed on a state, in the tries that
	// it has. An ordered read will succeed.
	ErrContended = errors.New("contended")
	// ErrRejected: the operation was refused for what it is: too large, malformed, for no service of
	// this cluster, or beyond the client's quota of sessions. It was not executed and never will be.
	ErrRejected = errors.New("rejected")
	// ErrSessionExpired: the session ended before an answer was accepted. The call had left in it,
	// so it may have been executed; calls that had not left move to a new session by themselves.
	ErrSessionExpired = errors.New("session expired")
	// ErrReplaced: a newer client of the same key and instance has taken over. The operation was not executed, and this
	// client calls nothing any more.
	ErrReplaced = errors.New("replaced")
	// ErrReadFailed: the service answered a read with an error, the text of which is in the message.
	ErrReadFailed = errors.New("read failed")
)

// CallError says how a call ended. It is one of the errors above by its Kind, and also by its
// Outcome where that says more.
type CallError struct {
	Kind    error
	Outcome error // ErrNotSubmitted, ErrOutcomeUnknown or nil
	Text    string
}

// Error is one line for humans.
func (e *CallError) Error() string {
	switch {
	case e.Outcome != nil && e.Outcome != e.Kind:
		return e.Kind.Error() + ", " + e.Outcome.Error() + ": " + e.Text
	case e.Text == "":
		return e.Kind.Error()
	}
	return e.Kind.Error() + ": " + e.Text
}

// Unwrap gives Kind and Outcome to errors.Is.
func (e *CallError) Unwrap() []error {
	if e.Outcome == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Outcome}
}

var resultErrors = [...]*CallError{
	ResultUnknownSession: {ErrSessionExpired, ErrOutcomeUnknown, "the session ended before the result was received"},
	ResultExpired: {ErrSessionExpired, ErrOutcomeUnknown,
		"the session was not opened in time (if this happens at once, check this machine's clock)"},
	ResultTooFar:         {ErrOverloaded, ErrOutcomeUnknown, "beyond the session's window"},
	ResultSuperseded:     {ErrRejected, nil, "another session was opened with the same nonce"},
	ResultRefused:        {ErrRejected, nil, "this key's quota of sessions is used up: close some, or wait until idle ones end"},
	ResultNotNow:         {ErrOverloaded, ErrOutcomeUnknown, "no session can be opened now"},
	ResultUnknownService: {ErrRejected, nil, "the cluster has no service of this name"},
	ResultInvalid:        {ErrRejected, nil, "the service does not accept this operation"},
	ResultForgotten:      {ErrOutcomeUnknown, nil, "decided earlier, but its result is not kept any more"},
	ResultEnded:          {ErrSessionExpired, ErrNotSubmitted, "the session's lease ran out before it was ordered"},
	ResultReplaced:       {ErrReplaced, ErrNotSubmitted, "a newer client of this instance has taken over"},
	ResultTooLate:        {ErrRejected, nil, "it was ordered after it had expired"},
	ResultCrowded:        {ErrOverloaded, ErrNotSubmitted, "not executed: there was no room for its result beside those of other calls"},
}

var (
	errBadResult = &CallError{ErrOutcomeUnknown, nil, "the replicas agree on a result that this version cannot read"}
	errWaiting   = &CallError{ErrNotSubmitted, nil, "it was still waiting to be sent"}
	errUnheard   = &CallError{ErrOutcomeUnknown, nil, "no f+1 replicas answered alike in time"}
	errBusy      = &CallError{ErrOverloaded, ErrOutcomeUnknown, "the replicas have no room for it at present"}
	errFull      = &CallError{ErrOverloaded, ErrNotSubmitted, "too many calls are outstanding in this client"}
	errClosing   = &CallError{ErrNotSubmitted, nil, "the client is closed"}
	errContended = &CallError{ErrContended, nil, "the replicas that answered were in different states, in every try; read it ordered"}
	errNoAnswer  = &CallError{ErrOutcomeUnknown, nil, "not enough replicas answered alike in time; a read may be repeated"}
	errNoReader  = &CallError{ErrOverloaded, nil, "the replicas have no room for the read at present"}
)

// splitResult gives the service's value, or how else the call ended.
func splitResult(result []byte) ([]byte, error) {
	if len(result) == 0 {
		return nil, errBadResult
	}
	switch s := ResultStatus(result[0]); {
	case s == ResultOK:
		return result[1:], nil
	case s == ResultFailed:
		return nil, &CallError{Kind: ErrReadFailed, Text: strconv.Quote(string(result[1:]))}
	case len(result) > 1 || int(s) >= len(resultErrors):
		return nil, errBadResult
	default:
		return nil, resultErrors[s]
	}
}

// sessionGone tells whether an operation found that its session has ended.
func sessionGone(results [][]byte) bool {
	for _, r := range results {
		if len(r) > 0 && ResultStatus(r[0]) == ResultUnknownSession {
			return true
		}
	}
	return false
}

// finalResults tells whether all statuses are final.
func finalResults(results [][]byte) bool {
	for _, r := range results {
		if len(r) > 0 && !ResultStatus(r[0]).Final() {
			return false
		}
	}
	return true
}

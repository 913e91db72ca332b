package bft

import "errors"

// The ways in which input can be of no use. Only ErrInvalid accuses its sender: the others
// happen between honest replicas.
var (
	// ErrInvalid: no honest sender sends this.
	ErrInvalid = errors.New("invalid message")
	// ErrTooOld: about a view or a number that is behind this replica.
	ErrTooOld = errors.New("too old")
	// ErrTooNew: about a view or a number ahead of what this replica can keep.
	ErrTooNew = errors.New("too new")
	// ErrNotRelevant: correct, but of no use now, such as a duplicate.
	ErrNotRelevant = errors.New("not relevant")
	// ErrBusy: the bundle or read is refused for now, for want of room.
	ErrBusy = errors.New("busy")
)

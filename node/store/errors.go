package store

import (
	"errors"
	"fmt"
)

// Why a store does not open; found with errors.Is.
var (
	// ErrNotInitialised: the directory has no birth record.
	ErrNotInitialised = errors.New("store: not initialised")
	// ErrUnfinished, which is an ErrNotInitialised too: an Init was cut short; it can be run again.
	ErrUnfinished = errors.New("init did not finish")
	// ErrInitialised: Init on a directory that has been initialised.
	ErrInitialised = errors.New("store: already initialised")
	// ErrForeign: the directory belongs to another member or cluster.
	ErrForeign = errors.New("store: belongs to another replica")
	// ErrLocked: another process has the store open.
	ErrLocked = errors.New("store: in use")
	// ErrDamaged: records were lost or changed. The error is a *DamageError.
	ErrDamaged = errors.New("store: damaged")
)

// DamageError says what is damaged. A replica whose store gives one is amnesiac (rule 19):
// it may have promised what it no longer knows.
type DamageError struct {
	Path string // of the file, or of the directory if it is not known which file
	What string // in one line
	Err  error  // the cause; may be nil
}

// Error says what is damaged and what to do.
func (e *DamageError) Error() string {
	s := fmt.Sprintf("store: %s is damaged: %s", e.Path, e.What)
	if e.Err != nil {
		s += ": " + oneLine(e.Err)
	}
	return s + "; put the undamaged files back if the disk still has them, else let the replica begin anew without a vote (accept the loss); an older copy is not safe"
}

// Is makes every DamageError an ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Err }

func damaged(path, what string, err error) error {
	return &DamageError{Path: path, What: what, Err: err}
}

// oneLine is the text of err without line breaks.
func oneLine(err error) string {
	b := []byte(err.Error())
	for i, c := range b {
		if c == '\n' || c == '\r' {
			b[i] = ' '
		}
	}
	return string(b)
}

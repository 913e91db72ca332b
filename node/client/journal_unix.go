//go:build unix

package client

import (
	"errors"
	"os"
	"syscall"
)

// lockJournal keeps other clients from using a journal, for as long as f is open.
func lockJournal(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errJournalUsed
	}
	return err
}

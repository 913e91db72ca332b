//go:build unix

package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// processLock is a lock that a process holds on a file for as long as it lives,
// however it ends. The kernel can tell who holds it, so a stale file or a process
// id that another process has by now never misleads.
//
// It is a POSIX record lock: a process must open a lock file only once while it
// holds the lock, because closing any descriptor of the file releases it.
type processLock struct{ f *os.File }

func wholeFile(kind int16) *syscall.Flock_t {
	return &syscall.Flock_t{Type: kind, Whence: io.SeekStart}
}

// acquireLock takes the lock at path. If another process holds it, the result is
// nil and the id of that process.
func acquireLock(path string) (*processLock, int, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, err
	}
	err = syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, wholeFile(syscall.F_WRLCK))
	if err == nil {
		return &processLock{f}, 0, nil
	}
	defer f.Close()
	if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES) {
		return nil, 0, fmt.Errorf("locking %s: %w", path, err)
	}
	holder, err := holderOf(f)
	return nil, holder, err
}

// lockHolder returns the id of the process that holds the lock at path, and 0 if
// none does. It must not be asked by the holder itself.
func lockHolder(path string) (int, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return holderOf(f)
}

func holderOf(f *os.File) (int, error) {
	l := wholeFile(syscall.F_WRLCK)
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, l); err != nil {
		return 0, fmt.Errorf("asking who locks %s: %w", f.Name(), err)
	}
	if l.Type == syscall.F_UNLCK {
		return 0, nil
	}
	if l.Pid <= 0 {
		return 0, fmt.Errorf("%s is locked by a process of another machine or container", f.Name())
	}
	return int(l.Pid), nil
}

// release gives the lock up; the file stays, for removing it would let two
// processes hold locks on two files of one name.
func (l *processLock) release() { l.f.Close() }

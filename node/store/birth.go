package store

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baluarte-bft/baluarte/crypto"
)

// Birth says who a store belongs to. It is written by Init into a file beside
// the log and into each file of the log, so that the loss of either is noticed.
type Birth struct {
	Cluster crypto.Digest    `json:"cluster"`
	Member  crypto.PublicKey `json:"member"`
	// Nonce tells two births of the same member apart; Init draws it.
	Nonce string `json:"nonce"`
	// Born is when Init ran, for people.
	Born time.Time `json:"born"`
	// Check is a digest of the other fields.
	Check crypto.Digest `json:"check"`
}

func (b *Birth) sum() crypto.Digest {
	return crypto.Hash("baluarte/birth", b.Cluster[:], b.Member[:], []byte(b.Nonce), []byte(b.Born.UTC().Format(time.RFC3339)))
}

const (
	birthName    = "birth"
	lockName     = "lock"
	markName     = "mark"
	logName      = "log"
	stateName    = "state"
	snapshotsDir = "snapshots"
)

// Identity is what a caller expects of a store.
type Identity struct {
	Cluster crypto.Digest
	Member  crypto.PublicKey
}

// Init makes the store of a replica that has never run, and its birth record.
// It gives ErrInitialised if dir has one: a member begins once.
// fsys is nil for the operating system's files.
func Init(fsys vfs.FS, dir string, id Identity) error {
	fsys = orDisk(fsys)
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	lock, err := lockDir(fsys, dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syncDir(fsys, fsys.PathDir(dir)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	switch begun, err := unfinished(fsys, dir); {
	case err != nil:
		return err
	case begun:
		// An earlier Init was cut short. The store was never opened, so nothing was promised with it.
		if err := fsys.RemoveAll(fsys.PathJoin(dir, logName)); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	default:
		for _, name := range []string{birthName, logName, markName} {
			if there, err := exists(fsys, fsys.PathJoin(dir, name)); err != nil {
				return err
			} else if there {
				return fmt.Errorf("%w: %s has a %s; start the replica instead", ErrInitialised, dir, name)
			}
		}
	}
	return create(fsys, dir, id, "")
}

// unfinished tells whether dir is what an Init that was cut short leaves: a mark that says that the
// store was never opened, and no birth file.
func unfinished(fsys vfs.FS, dir string) (bool, error) {
	if there, err := exists(fsys, fsys.PathJoin(dir, birthName)); err != nil || there {
		return false, err
	}
	m, err := openMark(fsys, dir)
	if errors.Is(err, ErrDamaged) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return m.starts == 0 && m.lsn == 0, m.file.Close()
}

// Begun tells whether dir holds a store that Init has made, whatever became of it since.
// fsys is nil for the operating system's files.
func Begun(fsys vfs.FS, dir string) (bool, error) {
	fsys = orDisk(fsys)
	return exists(fsys, fsys.PathJoin(dir, birthName))
}

func exists(fsys vfs.FS, path string) (bool, error) {
	_, err := fsys.Stat(path)
	if err == nil || notExist(err) {
		return err == nil, nil
	}
	return false, fmt.Errorf("store: %w", err)
}

// create writes mark, log and, last, the birth file: see unfinished.
func create(fsys vfs.FS, dir string, id Identity, amnesiac string) error {
	var nonce [16]byte
	rand.Read(nonce[:])
	b := Birth{Cluster: id.Cluster, Member: id.Member, Nonce: hex.EncodeToString(nonce[:]), Born: time.Now().UTC().Truncate(time.Second)}
	b.Check = b.sum()
	text, err := json.MarshalIndent(&b, "", "  ")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	text = append(text, '\n')
	if err := createMark(fsys, dir); err != nil {
		return fmt.Errorf("store: creating the mark in %s: %w", dir, err)
	}
	if err := createLog(fsys, dir, text, amnesiac); err != nil {
		return fmt.Errorf("store: creating the log in %s: %w", dir, err)
	}
	if err := writeFile(fsys, dir, birthName, text); err != nil {
		return fmt.Errorf("store: writing the birth record in %s: %w", dir, err)
	}
	return nil
}

func createLog(fsys vfs.FS, dir string, birth []byte, amnesiac string) (err error) {
	defer func() {
		if p := recover(); p != nil { // the answer to a disk that fails, by pebbleLog
			err = fmt.Errorf("%v", p)
		}
	}()
	l := newRecordLog(fsys, dir, birth)
	l.amnesiac, l.oldest = amnesiac, 1
	if err := fsys.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	if err := syncDir(fsys, dir); err != nil {
		return err
	}
	if err := l.start(nil, nil); err != nil {
		return err
	}
	return errors.Join(l.next(1), l.close())
}

// initOnce is what to do about a store that is not there.
const initOnce = "a new replica is made by init; if this one has ever run, its records are lost and it must not be initialised again under the same key"

// readBirth reads and checks the birth file.
func readBirth(fsys vfs.FS, dir string) (*Birth, []byte, error) {
	path := fsys.PathJoin(dir, birthName)
	text, err := readFile(fsys, path, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		if begun, err := unfinished(fsys, dir); err == nil && begun {
			return nil, nil, fmt.Errorf("%w: an earlier %w in %s; run it again", ErrNotInitialised, ErrUnfinished, dir)
		}
		if _, logErr := fsys.Stat(fsys.PathJoin(dir, logName)); logErr == nil {
			return nil, nil, damaged(path, "the birth record is gone though a log is there", nil)
		}
		return nil, nil, fmt.Errorf("%w: %s has no birth record; %s", ErrNotInitialised, dir, initOnce)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	var b Birth
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, nil, damaged(path, "it does not decode", err)
	}
	if b.Check != b.sum() {
		return nil, nil, damaged(path, "its digest does not match", nil)
	}
	return &b, text, nil
}

func (b *Birth) matches(dir string, id Identity) error {
	if b.Cluster != id.Cluster {
		return fmt.Errorf("%w: %s belongs to cluster %s, not %s; put the manifest back with which it was begun, or give this replica a directory of its own", ErrForeign, dir, b.Cluster.Short(), id.Cluster.Short())
	}
	if b.Member != id.Member {
		return fmt.Errorf("%w: %s belongs to the member with key %s, not %s; put that key back, or give this replica a directory of its own", ErrForeign, dir, b.Member.Fingerprint(), id.Member.Fingerprint())
	}
	return nil
}

// Rebuild begins anew in the directory of a damaged or lost store, as an amnesiac: the
// replica will execute and serve, but sign nothing. Log, birth record, mark and
// snapshots, as far as they are there, are moved to a directory lost-<n> beside them, whose
// path is returned. If it is cut short, it can be run again.
// reason is what Status will say.
func Rebuild(fsys vfs.FS, dir string, id Identity, reason string) (string, error) {
	fsys = orDisk(fsys)
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	lock, err := lockDir(fsys, dir)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	var aside string
	for n := 1; ; n++ {
		aside = fsys.PathJoin(dir, fmt.Sprintf("lost-%d", n))
		if _, err := fsys.Stat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", fmt.Errorf("store: %w", err)
		}
	}
	if err := fsys.MkdirAll(aside, 0o700); err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	for _, name := range []string{birthName, markName, snapshotsDir, logName} {
		err := fsys.Rename(fsys.PathJoin(dir, name), fsys.PathJoin(aside, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("store: moving the damaged store aside: %w", err)
		}
	}
	if err := errors.Join(syncDir(fsys, aside), syncDir(fsys, dir), syncDir(fsys, fsys.PathDir(dir))); err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	return aside, create(fsys, dir, id, reason)
}

func lockDir(fsys vfs.FS, dir string) (io.Closer, error) {
	lock, err := fsys.Lock(fsys.PathJoin(dir, lockName))
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no directory %s; %s", ErrNotInitialised, dir, initOnce)
	case errors.Is(err, fs.ErrPermission) && !lockHeld(err):
		return nil, fmt.Errorf("store: %w", err)
	}
	return nil, fmt.Errorf("%w: another process has %s open (%s); stop it first", ErrLocked, dir, oneLine(err))
}

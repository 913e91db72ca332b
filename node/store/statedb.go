package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// stateOptions are those of the database that holds what services keep in their
// [exec.Store]. Nothing in it outlives the process: each start makes it anew from the
// newest snapshot and the committed log behind it (rule 18). So it has no log of its
// own and never syncs; what a machine that lost its power left of it is thrown away unread.
func stateOptions(fsys vfs.FS, s *Store) *pebble.Options {
	o := &pebble.Options{
		FS:                          unsyncedFS{fsys},
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		MemTableSize:                32 << 20,
		MemTableStopWritesThreshold: 4,
		CacheSize:                   16 << 20,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       32,
		MaxOpenFiles:                256,
		Logger:                      pebbleLog{s},
		// A background write stall of some seconds is the operator's business, not a reason to stop.
		EventListener: &pebble.EventListener{
			DataCorruption:  s.onCorruption,
			DiskSlow:        func(i pebble.DiskSlowInfo) { log.Warnf("the disk is slow: %s", i) },
			WriteStallBegin: func(i pebble.WriteStallBeginInfo) { log.Warnf("writes wait for compactions: %s", i) },
		},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// openState makes the database of the services, empty.
func (s *Store) openState() (err error) {
	path := s.fs.PathJoin(s.opts.Dir, stateName)
	if err := s.fs.RemoveAll(path); err != nil && !notExist(err) {
		return fmt.Errorf("store: clearing %s: %w", path, err)
	}
	o := stateOptions(s.fs, s)
	o.ErrorIfExists = true
	if s.state, err = pebble.Open(path, o); err != nil {
		return fmt.Errorf("store: making %s: %w", path, err)
	}
	return nil
}

// unsyncedFS gives files whose syncs do nothing.
type unsyncedFS struct{ vfs.FS }

func unsynced(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

// Create makes a file that is not synced.
func (u unsyncedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return unsynced(u.FS.Create(name, c))
}

// OpenReadWrite opens a file that is not synced.
func (u unsyncedFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return unsynced(u.FS.OpenReadWrite(name, c, opts...))
}

// OpenDir opens a directory that is not synced.
func (u unsyncedFS) OpenDir(name string) (vfs.File, error) { return unsynced(u.FS.OpenDir(name)) }

// ReuseForWrite gives a file a new name; it is not synced.
func (u unsyncedFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return unsynced(u.FS.ReuseForWrite(from, to, c))
}

// Unwrap returns the file system below.
func (u unsyncedFS) Unwrap() vfs.FS { return u.FS }

type unsyncedFile struct{ vfs.File }

// Sync does nothing.
func (unsyncedFile) Sync() error { return nil }

// SyncData does nothing.
func (unsyncedFile) SyncData() error { return nil }

// SyncTo does nothing.
func (unsyncedFile) SyncTo(int64) (bool, error) { return false, nil }

// onCorruption hears of damage that reads and compactions meet, when there may be no caller
// to give an error to. A restart makes the database anew.
func (s *Store) onCorruption(i pebble.DataCorruptionInfo) {
	s.fatal(fmt.Errorf("store: %s is damaged: a block does not match its checksum; start the replica again, which makes it anew: %w", i.Path, i.Details))
}

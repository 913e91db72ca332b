package fault

import (
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// SlowFS is a file system on which every sync takes Delay longer, as on a disk that is worn, shared or far
// away. All else is as fast as on the file system below.
type SlowFS struct {
	vfs.FS
	Delay *Delay

	syncs atomic.Uint64
}

// Syncs is the number of syncs so far, delayed or not.
func (s *SlowFS) Syncs() uint64 { return s.syncs.Load() }

// Unwrap returns the file system below.
func (s *SlowFS) Unwrap() vfs.FS { return s.FS }

// sync waits as long as a sync takes longer.
func (s *SlowFS) sync() {
	s.syncs.Add(1)
	if d := s.Delay.Get(); d > 0 {
		time.Sleep(d)
	}
}

func (s *SlowFS) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &slowFile{File: f, fs: s}, nil
}

// Create is that of vfs.FS.
func (s *SlowFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(s.FS.Create(name, category))
}

// Open is that of vfs.FS.
func (s *SlowFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return s.file(s.FS.Open(name, opts...))
}

// OpenReadWrite is that of vfs.FS.
func (s *SlowFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return s.file(s.FS.OpenReadWrite(name, category, opts...))
}

// OpenDir is that of vfs.FS.
func (s *SlowFS) OpenDir(name string) (vfs.File, error) { return s.file(s.FS.OpenDir(name)) }

// ReuseForWrite is that of vfs.FS.
func (s *SlowFS) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(s.FS.ReuseForWrite(from, to, category))
}

// slowFile is a file, or a directory, of a SlowFS.
type slowFile struct {
	vfs.File
	fs *SlowFS
}

func (f *slowFile) Sync() error {
	f.fs.sync()
	return f.File.Sync()
}

func (f *slowFile) SyncData() error {
	f.fs.sync()
	return f.File.SyncData()
}

// SyncTo may only begin to write, which no disk makes anyone wait for.
func (f *slowFile) SyncTo(length int64) (fullSync bool, err error) {
	fullSync, err = f.File.SyncTo(length)
	if fullSync {
		f.fs.sync()
	}
	return fullSync, err
}

package store

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func orDisk(fsys vfs.FS) vfs.FS {
	if fsys == nil {
		return vfs.Default
	}
	return fsys
}

// lockHeld tells a lock that another process holds, which some systems report
// as EACCES, from a file that may not be opened.
func lockHeld(err error) bool {
	var no syscall.Errno
	return errors.As(err, &no) && no == syscall.EAGAIN
}

// readFile reads a file of at most max bytes.
func readFile(fsys vfs.FS, path string, max int) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(max)+1))
	if err == nil && len(b) > max {
		err = fmt.Errorf("%s: longer than %d bytes", path, max)
	}
	return b, err
}

// writeFile makes dir/name with the content, durably and all at once: under
// another name, synced, renamed, and the directory synced (rule 16).
func writeFile(fsys vfs.FS, dir, name string, content []byte) error {
	tmp, path := fsys.PathJoin(dir, name+".tmp"), fsys.PathJoin(dir, name)
	f, err := fsys.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(fsys, dir)
}

func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

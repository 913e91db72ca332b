package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"

	"github.com/baluarte-bft/baluarte/bft"
)

// notDamage tells refusals of the operating system, which say nothing about the
// contents, from damage.
func notDamage(err error) bool {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EMFILE, syscall.ENFILE, syscall.EROFS, syscall.ENOMEM, syscall.EAGAIN} {
		if errors.Is(err, no) {
			return true
		}
	}
	return errors.Is(err, fs.ErrPermission)
}

// blame makes a *DamageError of what reading a file came upon, unless the system refused it.
func blame(path string, err error) error {
	if notDamage(err) {
		return fmt.Errorf("store: reading %s: %w", path, err)
	}
	if errors.Is(err, ErrDamaged) {
		return err
	}
	return damaged(path, "records were lost or changed", err)
}

// errSeen ends the reading of a log.
var errSeen = errors.New("seen")

// readHeader returns the header of a file, nil if it has no whole commit.
func readHeader(file wal.LogicalLog) (h *logHeader, err error) {
	err = readLog(file, func(c *commit) error {
		if h = c.header; h == nil {
			return errBadCommit
		}
		return errSeen
	})
	if errors.Is(err, errSeen) {
		err = nil
	}
	return h, err
}

// load reads the log and compares it with birth record and mark. It begins no new file yet.
func (l *recordLog) load(m *mark) (*State, wal.Logs, error) {
	if _, err := l.fs.Stat(l.dir); notExist(err) {
		if old := l.fs.PathJoin(l.fs.PathDir(l.dir), "db"); isThere(l.fs, old) {
			return nil, nil, fmt.Errorf("store: %s holds the records of an earlier version of this program: start that one, this one does not read them", old)
		}
		return nil, nil, damaged(l.dir, "the log is gone though the birth record is there", nil)
	}
	logs, err := wal.Scan(wal.Dir{FS: l.fs, Dirname: l.dir})
	if err != nil {
		return nil, nil, blame(l.dir, err)
	}
	needed, err := l.needed(logs)
	if err != nil {
		return nil, nil, err
	}
	for i := range needed {
		if err := l.replay(needed[i], i == 0); err != nil {
			return nil, nil, blame(l.path(needed[i].Num), err)
		}
	}
	switch {
	case l.head.lsn < m.lsn:
		return nil, nil, damaged(l.dir, fmt.Sprintf("its records end at %d, but %d were durable", l.head.lsn, m.lsn), nil)
	case l.live.count != l.head.count || l.live.sum != l.head.sum:
		return nil, nil, damaged(l.dir, fmt.Sprintf("it has %d records where there were %d, or not the same", l.live.count, l.head.count), nil)
	}
	// What a process that was killed has written is read now; it must be there after a loss of power too, for
	// the next file says that this one ends where it does.
	newest := needed[len(needed)-1].Num
	if err := l.sync(newest); err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	l.num = newest
	earlier := slices.DeleteFunc(logs, func(file wal.LogicalLog) bool { return file.Num > newest })
	return &State{Records: l.live.take(), LSN: l.head.lsn, Amnesiac: l.amnesiac}, earlier, nil
}

func isThere(fsys vfs.FS, path string) bool {
	there, err := exists(fsys, path)
	return there && err == nil
}

// needed returns the files from the oldest one that is needed to the newest that has a commit.
// The newest file of all may have none, if the process ended as it was made.
func (l *recordLog) needed(logs wal.Logs) (wal.Logs, error) {
	var newest *logHeader
	for skipped := 0; newest == nil; skipped++ {
		if len(logs) == 0 || skipped > 1 {
			return nil, damaged(l.dir, "no log in it has a beginning", nil)
		}
		file := logs[len(logs)-1]
		var err error
		if newest, err = readHeader(file); err != nil {
			return nil, blame(l.path(file.Num), err)
		}
		if newest == nil {
			logs = logs[:len(logs)-1]
		}
	}
	l.oldest, l.amnesiac = newest.oldest, string(newest.amnesiac)
	i := 0
	for i < len(logs) && logs[i].Num < newest.oldest {
		i++
	}
	for k, file := range logs[i:] {
		if want := newest.oldest + wal.NumWAL(k); file.Num != want {
			return nil, damaged(l.path(want), "it is gone though it is needed", nil)
		}
	}
	return logs[i:], nil
}

// replay applies the commits of a file; first is set if no other one comes before it.
func (l *recordLog) replay(file wal.LogicalLog, first bool) error {
	path, begun := l.path(file.Num), false
	err := readLog(file, func(c *commit) error {
		switch {
		case begun != (c.header == nil):
			return errBadCommit
		case begun && c.head.lsn <= l.head.lsn:
			return damaged(path, fmt.Sprintf("records up to %d follow %d", c.head.lsn, l.head.lsn), nil)
		case begun:
		case !bytes.Equal(c.header.birth, l.birth):
			return damaged(path, "its birth record is not the one in the file birth, so the two do not belong together", nil)
		case first:
			begun = true
		case c.header.before != l.head:
			return damaged(l.path(file.Num-1), fmt.Sprintf("it ends at %d, but went on to %d", l.head.lsn, c.header.before.lsn), nil)
		default:
			begun = true
		}
		for _, e := range c.entries {
			if e.cut {
				l.live.deleteRange(e.key, e.to)
			} else {
				l.live.set(e.key, e.value, file.Num, e.value)
			}
		}
		l.head = c.head
		return nil
	})
	if err == nil && !begun {
		return damaged(path, "it has no beginning", nil)
	}
	return err
}

func (l *recordLog) sync(num wal.NumWAL) error {
	f, err := l.fs.OpenReadWrite(l.path(num), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), syncDir(l.fs, l.dir))
}

// take returns the live records, in the order of their keys, and keeps their values no longer.
func (l *live) take() []bft.KV {
	out := make([]bft.KV, 0, l.count)
	for _, area := range l.areas {
		for k, r := range area {
			out = append(out, bft.KV{Key: []byte(k), Value: bytes.Clone(r.value)})
			r.value = nil
			area[k] = r
		}
	}
	slices.SortFunc(out, compareKV)
	return out
}

func compareKV(a, b bft.KV) int { return bytes.Compare(a.Key, b.Key) }

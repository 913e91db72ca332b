package bench

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// usageWatch reads memory and disk of the processes of this machine about each usageEvery, on a goroutine of
// its own, until it is stopped.
type usageWatch struct {
	subjects []usageSubject
	begin    time.Time
	quit     chan struct{}
	reader   sync.WaitGroup
}

// usageSubject is one process, with its directory if it has one.
type usageSubject struct {
	name, home     string
	pid            int
	resident, disk tracker
}

// watchUsage begins to read: of this process, and of the replicas on this machine, whose directories are in dir.
func watchUsage(dir string, replicas []replicaReport) *usageWatch {
	w := &usageWatch{begin: time.Now(), quit: make(chan struct{}), subjects: []usageSubject{{name: loadName, pid: os.Getpid()}}}
	for i := range replicas {
		if r := &replicas[i]; r.local {
			w.subjects = append(w.subjects, usageSubject{name: r.Name, pid: r.PID, home: filepath.Join(dir, r.Name)})
		}
	}
	w.reader.Go(w.watch)
	return w
}

func (w *usageWatch) watch() {
	ticker := time.NewTicker(usageEvery)
	defer ticker.Stop()
	for {
		w.read()
		select {
		case <-ticker.C:
		case <-w.quit:
			w.read()
			return
		}
	}
}

// read takes one reading of each. What cannot be read, such as a process that has ended, is left out.
func (w *usageWatch) read() {
	const mebibyte = 1 << 20
	at := time.Since(w.begin).Seconds()
	for i := range w.subjects {
		s := &w.subjects[i]
		if bytes, ok := residentBytes(s.pid); ok {
			s.resident.add(at, float64(bytes)/mebibyte)
		}
		if s.home == "" {
			continue
		}
		if bytes, ok := diskBytes(s.home); ok {
			s.disk.add(at, float64(bytes)/mebibyte)
		}
	}
}

// stop ends the reading, with a last one, and returns what was read. w may be nil, and stopped more than once.
func (w *usageWatch) stop() []Usage {
	if w == nil {
		return nil
	}
	select {
	case <-w.quit:
	default:
		close(w.quit)
	}
	w.reader.Wait()
	var all []Usage
	for i := range w.subjects {
		s := &w.subjects[i]
		if u := (Usage{Name: s.name, ResidentMiB: s.resident.end(), DiskMiB: s.disk.end()}); u.ResidentMiB != nil || u.DiskMiB != nil {
			all = append(all, u)
		}
	}
	return all
}

// diskBytes is what the files of a directory take on the disk. Files that vanish meanwhile, as those of a database
// do, are not counted.
func diskBytes(dir string) (int64, bool) {
	sum := int64(0)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, os.ErrNotExist) && path != dir:
			return nil
		case err != nil:
			return err
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		sum += allocatedBytes(info)
		return nil
	})
	return sum, err == nil
}

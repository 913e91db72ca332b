package store

import (
	"fmt"
	"strings"
	"sync/atomic"
)

// stats are counters of one store.
type stats struct {
	commits, records, logBytes atomic.Uint64
}

// Stats are counters of a store since it was opened.
type Stats struct {
	Commits, Records uint64 // group commits, that is fsyncs, and records in them
	BacklogBytes     int    // waiting to be committed
	DiskBytes        uint64 // used by the log and the services' database
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	logs := s.log.manager.Stats()
	return Stats{Commits: s.stats.commits.Load(), Records: s.stats.records.Load(), BacklogBytes: s.Backlog(),
		DiskBytes: logs.LiveFileSize + logs.ObsoleteFileSize + s.stats.logBytes.Load() + s.state.Metrics().DiskSpaceUsage()}
}

// pebbleLog turns Pebble's messages into ours.
type pebbleLog struct{ s *Store }

// Infof logs what Pebble does in the normal course at debug level.
func (l pebbleLog) Infof(format string, args ...any) { log.Debugf(format, args...) }

// Errorf logs what Pebble finds wrong but survives.
func (l pebbleLog) Errorf(format string, args ...any) { log.Warnf(format, args...) }

// Fatalf is what Pebble calls when a write of it failed: it must not return.
func (l pebbleLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf("store: "+strings.TrimPrefix(format, "pebble: "), args...)
	if l.s == nil {
		panic(err)
	}
	l.s.fatal(fmt.Errorf("%w; check the disk and start again", err))
}

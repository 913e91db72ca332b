package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// fillDepth is how many records each client puts at a time.
	fillDepth = 64
	// fillTries is how often a record is tried before the load is given up.
	fillTries = 50
)

// needsRecords tells whether there must be records before the load begins.
func (o *Options) needsRecords() bool { return o.Mix != "" || o.Read != "" && o.Service == KV }

// fill puts records, before what reads them is measured.
type fill struct {
	records records
	next    atomic.Int64 // the next record
	put     atomic.Int64
	running sync.WaitGroup
	failed  atomic.Bool
	mu      sync.Mutex
	err     error // of the first record that was given up
}

// fillRecords puts all records through the clients, and calls tick about each sampleEvery with how many
// there are.
func fillRecords(ctx context.Context, r records, clients []issue, tick func(put int)) error {
	f := &fill{records: r}
	for client, issue := range clients {
		for slot := range fillDepth {
			f.running.Go(func() { f.loop(ctx, slotSeed(client, slot), issue) })
		}
	}
	ended := make(chan struct{})
	go func() {
		f.running.Wait()
		close(ended)
	}()
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return f.err
		case <-ticker.C:
			tick(int(f.put.Load()))
		}
	}
}

// loop puts one record after the other until there is none left.
func (f *fill) loop(ctx context.Context, seed uint64, issue issue) {
	put := f.records.puts(rand.NewPCG(seed, 1))
	ended := make(chan error, 1)
	done := func(result []byte, err error) {
		if err == nil {
			err = checkDone(result)
		}
		ended <- err
	}
	once := func(op operation) error {
		if err := issue(op, done); err != nil {
			return err
		}
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for ctx.Err() == nil && !f.failed.Load() {
		n := f.next.Add(1) - 1
		if n >= int64(f.records.count) {
			return
		}
		op := operation{update, put.of(uint64(n), seed+uint64(n))}
		err := once(op)
		for try := 1; err != nil && try < fillTries && ctx.Err() == nil; try++ {
			select {
			case <-time.After(retryPause):
			case <-ctx.Done():
			}
			err = once(op)
		}
		if err != nil {
			f.giveUp(fmt.Errorf("record %d could not be loaded: %w", n, err))
			return
		}
		f.put.Add(1)
	}
}

func (f *fill) giveUp(err error) {
	f.failed.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

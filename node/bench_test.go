package node

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
)

// loader keeps a number of counter operations outstanding.
type loader struct {
	*testClient
	outstanding int
	left        *atomic.Int64 // operations that may still begin
	pending     int
	done        sync.WaitGroup
	times       []time.Duration
	began       map[bft.CallID]time.Time
}

// load begins; done tells when no operation is left and all have ended.
func (l *loader) load() {
	op := exec.EncodeOp("counter", false, nil)
	l.done.Add(1)
	l.event(func() {
		l.began = map[bft.CallID]time.Time{}
		l.onResult = func(x bft.CallResult) {
			if x.Err != nil {
				l.t.Error(x.Err)
			}
			l.times = append(l.times, time.Since(l.began[x.ID]))
			delete(l.began, x.ID)
			l.pending--
			l.fill(op)
		}
		l.fill(op)
	})
}

func (l *loader) fill(op []byte) {
	for l.pending < l.outstanding && l.left.Add(-1) >= 0 {
		l.next++
		l.began[l.next] = time.Now()
		if err := l.core.Invoke(l.next, op, bft.CallOptions{}); err != nil {
			l.t.Error(err)
			break
		}
		l.pending++
	}
	if l.pending == 0 {
		l.onResult = nil
		l.done.Done()
	}
}

// BenchmarkCluster is the whole pipeline: four replicas, sockets, disks, signatures, and the clients, all
// in this process.
func BenchmarkCluster(b *testing.B) {
	for _, c := range []struct{ clients, outstanding int }{{1, 1}, {32, 128}, {200, 1}} {
		b.Run(fmt.Sprintf("%dx%d", c.clients, c.outstanding), func(b *testing.B) {
			r := newRig(b, 4, func(c *bft.Config) { c.Interval, c.Window = 512, 1024 })
			r.startAll()
			r.untilActive(0, 1, 2, 3)
			var left atomic.Int64
			loaders := make([]*loader, c.clients)
			for i := range loaders {
				loaders[i] = &loader{testClient: r.client(byte(i)), outstanding: c.outstanding, left: &left}
				loaders[i].wait(loaders[i].invoke("counter", nil)) // opens the session
			}
			left.Store(int64(b.N))
			b.ResetTimer()
			for _, l := range loaders {
				l.load()
			}
			for _, l := range loaders {
				l.done.Wait()
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
			if c.clients == 1 {
				b.ReportMetric(median(loaders[0].times).Seconds()*1000, "ms/median")
			}
			st, v := r.nodes[1].store.Stats(), r.nodes[1].verifier.Stats()
			b.ReportMetric(float64(st.Commits)/float64(b.N), "fsyncs/op")
			b.ReportMetric(float64(v.Claims)/float64(b.N), "verified/op")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

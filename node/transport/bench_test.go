package transport

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// benchNet starts servers in which server 1 echoes to server 0, and counts
// what comes back.
func benchNet(b *testing.B) (tn *testNet, returned *atomic.Int64, signal chan struct{}) {
	returned, signal = new(atomic.Int64), make(chan struct{}, 1)
	var echo atomic.Pointer[Server]
	tn = newNet(b, 2, func(i int, cfg *ServerConfig) {
		r := cfg.Handler.(*recorder)
		if i == 1 {
			r.onPeer = func(_ int, frame []byte) {
				for !echo.Load().Send(0, frame) {
					runtime.Gosched()
				}
			}
			return
		}
		r.onPeer = func(int, []byte) {
			returned.Add(1)
			select {
			case signal <- struct{}{}:
			default:
			}
		}
	})
	echo.Store(tn.servers[1])
	waitFor(b, "connected", tn.connected)
	return tn, returned, signal
}

// BenchmarkEcho: frames sent as fast as they are taken, and echoed.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			tn, returned, signal := benchNet(b)
			frame := make([]byte, size)
			window := int64(max(16, min(16384, 16<<20/size)))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for i := range int64(b.N) {
				for i-returned.Load() >= window {
					<-signal
				}
				for !tn.servers[0].Send(1, frame) {
					runtime.Gosched()
				}
			}
			for returned.Load() < int64(b.N) {
				<-signal
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
		})
	}
}

// BenchmarkRoundTrip: one frame at a time, there and back.
func BenchmarkRoundTrip(b *testing.B) {
	tn, returned, signal := benchNet(b)
	frame := make([]byte, 64)
	b.ResetTimer()
	for i := range int64(b.N) {
		tn.servers[0].Send(1, frame)
		for returned.Load() <= i {
			<-signal
		}
	}
}

// BenchmarkClients: the time and memory to connect 200 clients of their own
// identity to four replicas, both ends in this process.
func BenchmarkClients(b *testing.B) {
	for range b.N {
		tn := newNet(b, 4, nil)
		waitFor(b, "connected", tn.connected)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		goroutines := runtime.NumGoroutine()
		began := time.Now()
		var clients []*Client
		for k := range 200 {
			clients = append(clients, tn.client(fmt.Sprint("client ", k), nil))
		}
		dialled := time.Since(began)
		for _, c := range clients {
			waitFor(b, "up", allUp(c))
		}
		b.ReportMetric(dialled.Seconds(), "s-to-create")
		b.ReportMetric(time.Since(began).Seconds(), "s-to-connect")
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/800/1024, "KiB/conn")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/800, "goroutines/conn")
		for _, c := range clients {
			c.Close()
		}
		tn.close()
		tn.servers = nil
	}
}

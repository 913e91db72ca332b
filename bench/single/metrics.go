package single

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// httpTimeout bounds one request for the metrics.
const httpTimeout = 5 * time.Second

// metrics have the names of a replica's, so that the harness reads both alike.
type metrics struct {
	registry                        *prometheus.Registry
	batches, bundles, operations    prometheus.Counter
	queries, reads, snapshots, busy prometheus.Counter
}

func newMetrics(s *Server) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "baluarte", Name: name, Help: help})
		m.registry.MustRegister(c)
		return c
	}
	m.batches = counter("batches_executed_total", "Batches executed.")
	m.bundles = counter("bundles_executed_total", "Bundles executed.")
	m.operations = counter("operations_executed_total", "Operations executed.")
	m.queries = counter("queries_answered_total", "Queries answered.")
	m.reads = counter("reads_answered_total", "Reads in the queries answered.")
	m.snapshots = counter("snapshots_written_total", "Snapshots made durable.")
	m.busy = counter("busy_total", "Bundles refused for now.")
	read := func(name, help string, value func() uint64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "baluarte", Name: name, Help: help},
			func() float64 { return float64(value()) }))
	}
	read("client_signatures_checked_total", "Client signatures verified.", func() uint64 { return s.verifier.Stats().Claims })
	read("store_commits_total", "Group commits, each with one fsync.", func() uint64 { return s.store.Stats().Commits })
	read("store_records_total", "Records made durable.", func() uint64 { return s.store.Stats().Records })
	read("client_bytes_received_total", "Bytes from clients.", func() uint64 { return s.net.Stats().ClientBytesIn })
	read("client_bytes_sent_total", "Bytes to clients.", func() uint64 { return s.net.Stats().ClientBytesOut })
	read("client_frames_received_total", "Frames from clients.", func() uint64 { return s.net.Stats().ClientFramesIn })
	read("client_frames_sent_total", "Frames to clients.", func() uint64 { return s.net.Stats().ClientFramesOut })
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// serveHTTP serves the metrics. It has no authentication, so it belongs on loopback.
func (s *Server) serveHTTP() error {
	l, err := net.Listen("tcp", s.o.HTTP)
	if err != nil {
		return fmt.Errorf("single: listening on %s for metrics: %w", s.o.HTTP, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: httpTimeout}))
	s.http = &http.Server{Handler: mux, ReadTimeout: httpTimeout, WriteTimeout: 2 * httpTimeout, MaxHeaderBytes: 16 << 10}
	s.httpAddr = l.Addr().String()
	// It ends with Close.
	s.running.Go(func() { _ = s.http.Serve(l) })
	return nil
}

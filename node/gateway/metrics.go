package gateway

import (
	stdlog "log"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the gateway's own, in a registry of its own. Labels have few values, whatever users send.
type metrics struct {
	registry *prometheus.Registry
	handler  http.Handler

	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refused  prometheus.Counter
	received prometheus.Counter
	sent     prometheus.Counter
}

func newMetrics(g *Gateway) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "baluarte", Subsystem: "gateway", Name: name, Help: help}
	}
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts(opts("requests_total", "Requests answered, by route, account, status and code of the error.")),
		[]string{"route", "account", "status", "code"})
	m.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "baluarte", Subsystem: "gateway", Name: "request_seconds",
		Help: "From the head of a request to the end of its answer.", Buckets: prometheus.ExponentialBuckets(.001, 2, 15)}, []string{"route"})
	m.refused = prometheus.NewCounter(prometheus.CounterOpts(opts("connections_refused_total", "Connections closed because their source had more than its share.")))
	held := func(name, help string, s *shares) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts(name, help)), func() float64 { return float64(s.held()) })
	}
	m.received = prometheus.NewCounter(prometheus.CounterOpts(opts("received_bytes_total", "Bytes of bodies received.")))
	m.sent = prometheus.NewCounter(prometheus.CounterOpts(opts("sent_bytes_total", "Bytes of bodies sent.")))
	reachable := prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("replicas_reachable", "Replicas that the first account can reach.")), func() float64 {
		r := g.clusters[0].Reachable()
		return float64(r.N - len(r.Down))
	})
	m.registry.MustRegister(held("connections", "Connections that are open.", g.connections),
		held("requests_serving", "Requests that are being served.", g.serving), held("watches", "Watches that are being served.", g.watches),
		held("memory_bytes", "Bytes of bodies and answers that are held.", g.memory))
	m.registry.MustRegister(m.requests, m.seconds, m.refused, m.received, m.sent, reachable, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 5 * time.Second})
	return m
}

// serverLog directs what net/http has to say, of connections that fail mostly, to the log at its debug level.
func serverLog() *stdlog.Logger { return stdlog.New(debugLines{}, "", 0) }

type debugLines struct{}

// Write logs a line.
func (debugLines) Write(line []byte) (int, error) {
	log.Debug(strings.TrimSpace(string(line)))
	return len(line), nil
}

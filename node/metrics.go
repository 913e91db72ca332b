package node

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/baluarte-bft/baluarte/bft"
)

// onceFlag tells the first caller from the others.
type onceFlag struct{ done atomic.Bool }

func (o *onceFlag) first() bool { return o.done.CompareAndSwap(false, true) }

func (n *Node) lastBeat() bft.Time { return bft.Time(n.beat.Load()) }

// metrics are the node's own counters, in a registry of its own.
type metrics struct {
	registry *prometheus.Registry

	batches, bundles, operations                prometheus.Counter
	queries, reads                              prometheus.Counter
	signatures, checks, busy, badRequests       prometheus.Counter
	forgers                                     prometheus.Counter
	snapshots, snapshotErrors, snapshotsSkipped prometheus.Counter
	replyDrops                                  prometheus.Counter
	stepErrors                                  *prometheus.CounterVec
}

func newMetrics(n *Node) *metrics {
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
	m.signatures = counter("signatures_made_total", "Signatures of this member.")
	m.checks = counter("client_signatures_checked_total", "Client signatures verified.")
	m.busy = counter("busy_total", "Bundles and reads refused for now.")
	m.forgers = counter("forgers_total", "Connections of clients closed because a signature did not hold.")
	m.badRequests = counter("bad_requests_total", "Requests and queries that no correct client sends.")
	m.snapshots = counter("snapshots_written_total", "Snapshots made durable.")
	m.snapshotErrors = counter("snapshot_errors_total", "Snapshots that could not be taken or written.")
	m.snapshotsSkipped = counter("snapshots_skipped_total", "Snapshots skipped because the disk did not keep up.")
	m.replyDrops = counter("replies_dropped_total", "Replies that the client's connection did not take.")
	m.stepErrors = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "baluarte", Name: "messages_unused_total",
		Help: "Messages that the core had no use for, by reason."}, []string{"reason"})
	m.registry.MustRegister(m.stepErrors, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &nodeCollector{n})
	return m
}

// nodeCollector reads what is counted elsewhere when it is asked.
type nodeCollector struct{ n *Node }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("baluarte_"+name, help, labels, nil)
}

var (
	descView        = desc("view", "Present view.")
	descExecuted    = desc("executed", "Number of the last executed batch.")
	descCommitted   = desc("committed", "Highest number without a gap that is known to be committed.")
	descStable      = desc("stable", "Number of the stable checkpoint.")
	descActive      = desc("active", "1 if the replica takes part.")
	descAmnesiac    = desc("amnesiac", "1 if the replica signs nothing because it lost records.")
	descDiverged    = desc("diverged", "1 if the replica's state differs from the quorum's.")
	descPending     = desc("pending_bundles", "Bundles that wait to be ordered.")
	descInFlight    = desc("inflight", "Numbers proposed and not committed.")
	descTimeout     = desc("request_timeout_seconds", "Request timeout with its present back-off.")
	descInbox       = desc("inbox_messages", "Messages that wait for the core.")
	descBacklog     = desc("executor_backlog_batches", "Batches that wait to be executed.")
	descRoutes      = desc("routes", "Bundles whose connection is remembered.")
	descReads       = desc("reads_waiting", "Linearizable reads that wait.")
	descStore       = desc("store_backlog_bytes", "Records that wait for the disk.")
	descStoreDisk   = desc("store_disk_bytes", "Size of the log and of the services' database.")
	descCommits     = desc("store_commits_total", "Group commits, each with one fsync.")
	descRecords     = desc("store_records_total", "Records made durable.")
	descVerified    = desc("signatures_verified_total", "Signatures of members verified.")
	descVerifyBat   = desc("verify_batches_total", "Batches in which they were verified.")
	descKnown       = desc("signatures_known_total", "Signatures of members not verified again.")
	descInvalid     = desc("signatures_invalid_total", "Signatures of members that do not hold.")
	descClients     = desc("client_connections", "Client connections.")
	descClientIn    = desc("client_bytes_received_total", "Bytes from clients.")
	descClientOut   = desc("client_bytes_sent_total", "Bytes to clients.")
	descClientFrIn  = desc("client_frames_received_total", "Frames from clients.")
	descClientFrOut = desc("client_frames_sent_total", "Frames to clients.")
	descPeerUp      = desc("peer_connected", "1 if frames to the peer travel.", "peer")
	descPeerIn      = desc("peer_bytes_received_total", "Bytes from the peer.", "peer")
	descPeerOut     = desc("peer_bytes_sent_total", "Bytes to the peer.", "peer")
	descPeerFrIn    = desc("peer_frames_received_total", "Frames from the peer.", "peer")
	descPeerFrOut   = desc("peer_frames_sent_total", "Frames to the peer.", "peer")
	descPeerDrop    = desc("peer_frames_dropped_total", "Frames from the peer that were not looked at.", "peer")
	descPeerUnsent  = desc("peer_frames_unsent_total", "Frames for the peer that were dropped.", "peer")
	descPeerBad     = desc("peer_frames_invalid_total", "Frames that no correct replica sends.", "peer")
	descMember      = desc("member_state", "State of a member in this replica's table: 0 disconnected, 1 unresponsive, 2 awaiting confirmation, 3 active.", "peer")
	descMemberLink  = desc("member_link_broken", "1 if the member is not heard here, but by f+1 others.", "peer")
	descMemberMoves = desc("member_transitions_total", "Changes of the member's state or link.", "peer")
	descPeerLate    = desc("peer_votes_late_total", "Votes that were not needed any more and not verified.", "peer")
)

// Describe is for the registry: the metrics are not known beforehand.
func (c *nodeCollector) Describe(chan<- *prometheus.Desc) {}

// Collect reads all of them.
func (c *nodeCollector) Collect(ch chan<- prometheus.Metric) {
	n := c.n
	select {
	case <-n.up:
	default:
		return // not started yet
	}
	gauge := func(d *prometheus.Desc, v float64, l ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, l...)
	}
	count := func(d *prometheus.Desc, v uint64, l ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), l...)
	}
	info := n.info.Load()
	gauge(descView, float64(info.View))
	gauge(descExecuted, float64(n.executed.Load()))
	gauge(descCommitted, float64(info.Committed))
	gauge(descStable, float64(info.Stable))
	gauge(descActive, flag(n.Status().State == StateActive))
	gauge(descAmnesiac, flag(info.Amnesiac != ""))
	gauge(descDiverged, flag(info.Diverged != ""))
	gauge(descPending, float64(info.Pending))
	gauge(descInFlight, float64(info.InFlight))
	gauge(descTimeout, float64(info.Timeout)/float64(bft.Second))
	gauge(descInbox, float64(n.inbox.waiting()))
	gauge(descBacklog, float64(n.exec.backlog.Load()))
	gauge(descRoutes, float64(n.routes.len()))
	gauge(descReads, float64(n.queries.len()))
	st := n.store.Stats()
	gauge(descStore, float64(st.BacklogBytes))
	gauge(descStoreDisk, float64(st.DiskBytes))
	count(descCommits, st.Commits)
	count(descRecords, st.Records)
	v := n.verifier.Stats()
	count(descVerified, v.Claims)
	count(descVerifyBat, v.Batches)
	count(descKnown, v.Known)
	count(descInvalid, v.Invalid)
	for i, m := range n.MemberTable() {
		label := strconv.Itoa(i)
		gauge(descMember, float64(m.state), label)
		gauge(descMemberLink, flag(m.LinkBroken), label)
		count(descMemberMoves, n.watch.peers[i].transitions.Load(), label)
	}
	c.channels(gauge, count)
}

// channels collects what passed the channels of clients and members.
func (c *nodeCollector) channels(gauge func(*prometheus.Desc, float64, ...string), count func(*prometheus.Desc, uint64, ...string)) {
	n := c.n
	net := n.net.Stats()
	gauge(descClients, float64(net.Clients))
	count(descClientIn, net.ClientBytesIn)
	count(descClientOut, net.ClientBytesOut)
	count(descClientFrIn, net.ClientFramesIn)
	count(descClientFrOut, net.ClientFramesOut)
	for i := range net.Peers {
		if i == int(n.opts.Core.Self) {
			continue
		}
		label, p, s := strconv.Itoa(i), &n.peers[i], &net.Peers[i]
		gauge(descPeerUp, flag(p.up.Load()), label)
		count(descPeerIn, s.BytesIn, label)
		count(descPeerOut, s.BytesOut, label)
		count(descPeerFrIn, s.FramesIn, label)
		count(descPeerFrOut, s.FramesOut, label)
		count(descPeerDrop, p.dropped.Load(), label)
		count(descPeerUnsent, s.Dropped, label)
		count(descPeerBad, p.invalid.Load(), label)
		count(descPeerLate, p.late.Load(), label)
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

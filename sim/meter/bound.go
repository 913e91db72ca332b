package meter

import (
	"reflect"

	"github.com/baluarte-bft/baluarte/bft"
)

// Bounds of package bft that it does not export, and of its wire format.
const (
	maxVotes     = 16      // votes in one envelope
	maxWants     = 1 << 14 // digests that are fetched at a time
	maxRecent    = 1 << 14 // bundles remembered as executed
	maxReads     = 1 << 14 // reads that wait
	spareClients = 1024    // entries of clients that are kept for reuse, with room for spareBundles bundles
	spareBundles = 16
	// clients of a window in which the primary's punctuality is watched
	maxWatchedClients = 1024

	// The largest encodings: a field of n bytes takes 2 more below 128 and 5 at most, a number 11.
	envelopeWire   = 96
	voteWire       = 2 + 3 + 11 + 34
	voteLeast      = 2 + 2 + 2 + 34
	votesWire      = envelopeWire + 11 + maxVotes*voteWire
	headerWire     = envelopeWire + 11 + 11 + 34 + 9
	checkpointWire = envelopeWire + 11 + 34 + 34 + 11 + 34
	digestBytes    = 32
	pointerBytes   = 8
	// The smallest bundle: its client, session and first number, and the signature.
	bundleWire, opWire = 34 + 2 + 2 + 64, 2
)

// parts of a replica. Fields that lead to the same memory are one part.
var replicaParts = []part{
	{name: "configuration", fields: []string{"cfg.Members", "cfg.Clients"}},
	{name: "slots", fields: []string{"slots"}, bundles: logBundles},
	{name: "early", fields: []string{"early"}},
	{name: "bodies", fields: []string{"bodies", "held"}, bundles: logBundles},
	{name: "wants", fields: []string{"wanted", "wantOrder"}},
	{name: "lacking", fields: []string{"lacking"}},
	{name: "promises", fields: []string{"promises"}},
	{name: "pool", fields: []string{"pool.all", "pool.clients", "pool.spare", "pool.fresh.head", "pool.fresh.tail",
		"pool.passed.head", "pool.passed.tail", "pool.parked.head", "pool.parked.tail", "pool.members"}, bundles: poolBundles},
	{name: "sessions", fields: []string{"pool.sessions"}},
	{name: "punctual", fields: []string{"pool.punctual.waits"}},
	{name: "recent", fields: []string{"pool.recent", "pool.recentLog"}},
	{name: "checkpoints", fields: []string{"check.own", "check.mine", "check.said", "check.ahead", "check.votes"}},
	{name: "certificates", fields: []string{"stableCrt", "check.certified", "fetchS.cert"}},
	{name: "view-changes", fields: []string{"change.vcs"}},
	{name: "fetched view-changes", fields: []string{"change.extra"}},
	{name: "used view-changes", fields: []string{"change.used"}},
	{name: "new-views", fields: []string{"change.newView", "change.offered", "change.turn", "change.draft"}},
	{name: "draft", fields: []string{"change.proposing"}},
	{name: "help", fields: []string{"help.peers", "help.newest"}},
	{name: "start", fields: []string{"start.answers", "start.again"}},
	{name: "reads", fields: []string{"reads.waiting"}},
	{name: "signing", fields: []string{"out.pending", "out.waiting"}},
	{name: "reasons", fields: []string{"amnesiac", "diverged"}},
	{name: "outbox", fields: []string{"out.records", "out.sign", "out.checks", "out.messages", "out.execute", "out.replay", "out.busy",
		"out.reads", "out.serve", "out.stage", "out.install", "out.update", "out.judge", "out.votes", "out.progress"}, why: "the next Ready hands it to the host"},
	{name: "passive", fields: []string{"passive.drafted"}, bundles: poolBundles},
}

// Bundles count where they are reached from.
const (
	logBundles  = "bundles of the log"
	poolBundles = "bundles of the pool"
)

// sizes are those of the entries of a replica's queues, in bytes.
type sizes struct {
	of                            map[string]int64 // structs of package bft
	n, q, window, numbers, marks  int64
	votes, header, prePrepare     int64
	updates                       int64 // of a proposal
	checkpoint, certificate       int64
	viewChangeWire, viewChange    int64
	newView                       int64
	proposalBundles, bundleStruct int64
}

// Bound is the formula for a replica of cfg whose executed state has at most so many sessions,
// ended ones that it still remembers included. It is derived from the limits of cfg and the bounds
// of every queue and map of package bft; the terms say which. Each message counts with the
// largest canonical encoding that an honest member could send, whoever sent it.
func Bound(cfg *bft.Config, sessions int) Formula {
	s := newSizes(cfg)
	f := Formula{Peers: s.n, of: reflect.TypeFor[bft.Replica](), parts: replicaParts}
	f.Terms = append(f.Terms, s.log()...)
	f.Terms = append(f.Terms, s.waiting(cfg, int64(sessions))...)
	f.Terms = append(f.Terms, s.changes()...)
	f.Terms = append(f.Terms, s.rest(cfg)...)
	return f
}

func newSizes(cfg *bft.Config) *sizes {
	s := &sizes{of: structSizes(reflect.TypeFor[bft.Replica]())}
	s.n, s.q = int64(cfg.N()), int64(bft.Quorum(cfg.N()))
	s.window, s.numbers = int64(cfg.Window), 2*int64(cfg.Window)
	s.marks = s.numbers/int64(cfg.Interval) + 2
	envelope := s.of["Envelope"]
	s.votes = frame(votesWire) + envelope + s.of["votes"] + maxVotes*s.of["vote"]
	s.header = frame(headerWire) + envelope + s.of["prePrepare"]
	const list = bft.MaxProposalBundles * digestBytes
	if cfg.Passive {
		s.updates = frame(bft.MaxUpdateBytes)
	}
	s.prePrepare = s.header + list + s.updates
	s.checkpoint = frame(checkpointWire) + envelope + s.of["checkpoint"]
	s.certificate = grown(s.q)*pointerBytes + s.q*s.checkpoint
	// For each number of the window a pre-prepare and Q-1 votes, however few votes envelopes share.
	s.viewChangeWire = min(bft.MaxFrameBytes, 32+s.q*checkpointWire+s.window*(headerWire+(s.q-1)*votesWire+16+6*s.q))
	envelopes := min(s.q+s.window*s.q, s.viewChangeWire/(envelopeWire/2))
	s.viewChange = frame(s.viewChangeWire) + s.of["viewChange"] + grown(s.q+s.window)*pointerBytes + s.q*s.of["checkpoint"] +
		s.window*(s.of["preparedCert"]+s.of["prePrepare"]+grown(s.q)*pointerBytes) +
		s.window*frame(headerWire) + envelopes*(envelope+s.of["votes"]) + min(s.window*(s.q-1)*maxVotes, s.viewChangeWire/voteLeast)*s.of["vote"]
	s.newView = s.of["newView"] + grown(s.q)*s.of["vcRef"] + s.q*48 + bft.MaxWindow*(s.header+headerWire+2*pointerBytes)
	s.bundleStruct = s.of["Bundle"] + 32 + opsCap(cfg.MaxBundleOps)*24
	s.proposalBundles = frame(bft.MaxProposalBytes) + bft.MaxProposalBundles*s.bundleStruct
	return s
}

// frame is the memory of so many bytes that came in a frame: whoever allocated it may have rounded
// up to the allocator's next class, which is a quarter larger at most.
func frame(n int64) int64 { return n + n/4 + 16 }

// grown is the capacity of a slice that append grew to n elements, at most.
func grown(n int64) int64 { return 2*n + 8 }

// opsCap is the capacity of the operations of a decoded bundle that has so many at most.
func opsCap(most int) int64 {
	var ops [][]byte
	for range most {
		ops = append(ops, nil)
	}
	return int64(cap(ops))
}

// log are the terms of what is kept by sequence number.
func (s *sizes) log() []Term {
	body := s.of["body"] + bft.MaxProposalBundles*(digestBytes+pointerBytes) + grown(s.numbers)*8 + s.updates
	bodies := s.numbers + 2*s.window
	const which = "the committed proposal of each number; in the window also the newest and the one that prepared"
	return []Term{
		{"slots", "numbers", "none above the stable checkpoint by more than two windows", Shared, s.numbers,
			s.of["slot"] + 2*s.n*s.of["voteBy"] + mapEntry(8, 8)},
		{"slots", "votes", "by number and signer: the newest prepare and commit, and one in each certificate", PerPeer, 3*s.numbers + s.window, s.votes},
		{"slots", "pre-prepares", "by number of the window: the newest, and the one that prepared", Shared, 2 * s.window, s.prePrepare},
		{"slots", "commit certificates", "one for each number, with the list of the bundles", Shared, s.numbers,
			s.of["committed"] + grown(s.q)*pointerBytes + bft.MaxProposalBundles*(digestBytes+2*pointerBytes)},
		{"slots", "prepared certificates", "one for each number of the window", Shared, s.window, s.of["preparedCert"] + grown(s.q)*pointerBytes},
		{"early", "pre-prepares before their time", "one for each number", Shared, s.numbers, s.prePrepare + mapEntry(8, 8)},
		{"bodies", "bodies", which, Shared, bodies, body + mapEntry(digestBytes, 8)},
		{"bodies", "index of their bundles", "an entry for each bundle of each body", Shared, bodies * bft.MaxProposalBundles,
			mapEntry(digestBytes, s.of["shelf"])},
		{logBundles, "in bodies", "each body of at most MaxProposalBundles bundles and MaxProposalBytes", Shared, bodies, s.proposalBundles},
		{"lacking", "numbers that lack something", "a slot each", Shared, s.numbers, mapEntry(8, 0)},
		{"promises", "promises", "by number and view: pre-prepare or prepare, and commit; cut behind the stable checkpoint", Shared,
			2 * viewsPerCheckpoint * s.numbers, mapEntry(s.of["promise"], digestBytes)},
	}
}

// viewsPerCheckpoint is in how many views this replica may have voted for a number before a stable
// checkpoint covers it. Rules 4 and 9 ask for all of them to be kept; back-off and the request
// timeout make them few, not the core.
const viewsPerCheckpoint = 64

// waiting are the terms of what waits to be ordered or answered.
func (s *sizes) waiting(cfg *bft.Config, sessions int64) []Term {
	keep := s.of["pending"] + mapEntry(digestBytes, 8) + 2*pointerBytes + s.of["clientPool"] + mapEntry(digestBytes, 8) + 8*pointerBytes
	// The bundle that occupies most for its size on the wire, by which the pool is bounded.
	wire, each := int64(bundleWire), s.of["Bundle"]+32
	for ops := 1; ops <= cfg.MaxBundleOps; ops++ {
		w, e := int64(bundleWire+ops*opWire), s.of["Bundle"]+32+opsCap(ops)*24 // larger operations only add to both
		if (e+keep)*wire > (each+keep)*w {
			wire, each = w, e
		}
	}
	count := int64(cfg.MaxPoolBytes) / wire
	proposed := s.window * bft.MaxProposalBundles
	const floor = "its share of PoolFloor operations; of more once more than twice as many are executed in a request timeout"
	return []Term{
		{poolBundles, "waiting", "the pool has MaxPoolBytes of them: so many of the least favourable size", Shared, count, each + frame(wire)},
		{"pool", "entries of waiting bundles", "one for each", Shared, count, keep},
		{poolBundles, "proposed", "by number of the window, each of at most MaxProposalBundles and MaxProposalBytes", Shared, s.window, s.proposalBundles},
		{"pool", "entries of proposed bundles", "those of the log that are not executed", Shared, proposed, keep},
		{"pool", "entries of clients kept for reuse", "at most spareClients", Shared, spareClients, s.of["clientPool"] + (spareBundles+2)*pointerBytes},
		{"pool", "shares of members", "one for each", Shared, 1, 3*64 + mapBytes(s.n, 4, s.of["share"]) + 2*mapBytes(0, 8, 8)},
		{poolBundles, "bytes passed on by one member", "its share of MaxPoolBytes", PeerShare, 1, frame(int64(cfg.MaxPoolBytes) / s.n)},
		{poolBundles, "bundles passed on by one member", floor, PeerShare, int64(cfg.PoolFloor) / s.n, s.of["Bundle"] + 32 + 2*24 + keep},
		{poolBundles, "bytes of one client", "a quarter of MaxPoolBytes", PerClient, 1, frame(int64(cfg.MaxPoolBytes) / 4)},
		{poolBundles, "bundles of one client", floor, PerClient, int64(max(cfg.PoolFloor, 2*cfg.MaxBundleOps)), s.of["Bundle"] + 32 + 2*24 + keep},
		{"sessions", "marks", "one for each session of the executed state, and a table of eight", Shared, sessions + 8, s.of["SessionMark"] + mapEntry(8, 8)},
		{"punctual", "clients of a window", "none is added above maxWatchedClients", Shared, 2 * maxWatchedClients, mapEntry(digestBytes, s.of["waited"])},
		{"recent", "digests of executed bundles", "the newest maxRecent", Shared, maxRecent + 1, mapEntry(digestBytes, 8) + 2*digestBytes},
		{"reads", "reads that wait", "refused above maxReads", Shared, grown(maxReads), s.of["waitingRead"]},
		{"wants", "what is being fetched", "none is added above maxWants", Shared, 2 * maxWants, s.of["want"] + mapEntry(digestBytes, 8) + 2*pointerBytes},
	}
}

// changes are the terms of view changes and checkpoints.
func (s *sizes) changes() []Term {
	entry := mapEntry(digestBytes, 8)
	return []Term{
		{"view-changes", "newest of each member", "one of the highest view", PerPeer, 1, s.viewChange + entry},
		{"used view-changes", "of the present new-view", "one of each member that it names", PerPeer, 1, s.viewChange + 4*pointerBytes},
		{"fetched view-changes", "named by new-views", "a quorum, for one of them at a time", Shared, s.q, s.viewChange + entry},
		{"draft", "view-changes of the own new-view", "one of each member", PerPeer, 1, s.viewChange + 4*pointerBytes},
		{"draft", "proposals of the own new-view", "one for each number of the window", Shared, 1,
			s.of["newViewDraft"] + grown(s.window)*(s.of["Proposal"]+2*pointerBytes+s.header) + grown(s.q)*pointerBytes},
		{"new-views", "newest of each member", "its pre-prepares are at most a window", PerPeer, 1, s.newView + entry},
		{"new-views", "the present one and the own draft", "one each", Shared, 2, s.newView},
		{"checkpoints", "of each member", "the newest of two windows", PerPeer, s.marks, s.checkpoint + mapEntry(4, 8)},
		{"checkpoints", "numbers", "those of all members and of this replica itself", Shared, (s.n + 3) * s.marks,
			mapBytes(1, 8, 8) + mapEntry(8, 160) + 2*s.of["CheckpointInfo"]},
		{"checkpoints", "own", "the newest", Shared, 1, s.checkpoint},
		{"certificates", "of checkpoints", "the stable one, the newest, and the one whose state is fetched",
			Shared, 3, s.certificate},
	}
}

// rest are the terms of everything else.
func (s *sizes) rest(cfg *bft.Config) []Term {
	again := 3*s.numbers + 3
	return []Term{
		{"configuration", "keys", "members and clients", Shared, int64(cap(cfg.Members) + cap(cfg.Clients)), digestBytes},
		{"help", "newest signed by each member", "votes, a pre-prepare and a view-change", PerPeer, 1,
			s.of["peer"] + s.of["newest"] + s.votes + s.prePrepare + s.viewChange},
		{"start", "answers", "one of each member", Shared, 1, mapBytes(s.n, 4, 1)},
		{"start", "what is said again after a start", "one for each record of the log", Shared, grown(again), pointerBytes + closureBytes},
		{"signing", "messages to be signed", "a vote or pre-prepare for each number and phase, and those of the view change", Shared, 4 * s.numbers,
			s.of["signing"] + s.votes + closureBytes + mapEntry(8, 8) + 2*pointerBytes},
		{"signing", "own view-change and new-view", "one for each view whose message is not durable yet", Shared, 4, frame(s.viewChangeWire) + s.window*headerWire},
		{"passive", "batch whose updates are computed", "one at a time", Shared, 1, s.of["Batch"] + bft.MaxProposalBundles*pointerBytes},
		{poolBundles, "in that batch", "at most MaxProposalBundles and MaxProposalBytes", Shared, passiveBatches(cfg), s.proposalBundles},
		{"reasons", "why this replica does not serve", "two sentences", Shared, 2, 256},
	}
}

// passiveBatches is how many batches there may be whose updates are being computed.
func passiveBatches(cfg *bft.Config) int64 {
	if cfg.Passive {
		return 1
	}
	return 0
}

// mapEntry is what one more entry of a large map takes at most: tables are at least seven
// sixteenths full, and the smallest has eight slots.
func mapEntry(key, value int64) int64 { return 3*(key+value+1) + 16 }

package bft

import (
	"errors"
	"fmt"
	"slices"
)

// Replica is one replica of the protocol. It is not safe for concurrent use.
//
// Invariants, checked whenever a Ready is handed out (validate):
//
//	stable ≤ executed ≤ delivered, unless a state transfer is under way
//	stable ≤ any slot's number; no slot above stable+2·Window
//	no two promises of one (view, number, phase); view, stable and promises never go back
//	a message leaves only after its record and every earlier one are durable
type Replica struct {
	cfg Config
	roster
	now, clock, hostNow Time // logical time, wall clock and the host's last monotonic reading

	// agreement
	view      View
	changing  bool // view is the target of a view change that is under way
	stable    Seq  // low watermark h
	stableCrt []*checkpoint
	delivered Seq // handed to the host for execution
	executed  Seq // reported as executed
	time      Time
	slots     map[Seq]*slot
	early     map[Seq]*prePrepare // kept for when the watermark moves or the view begins (rule 6)
	nextSeq   Seq                 // what this primary proposes next
	inO       Seq                 // max-s of the view's new-view: higher numbers are fresh
	bodies    map[Digest]*body
	wanted    map[Digest]*want // what is being fetched by digest
	wantOrder []*want
	wantNext  Time             // when the next of them is due
	held      library          // the bundles of all bodies
	lacking   map[Seq]struct{} // slots whose proposal waits for a body, a bundle or a signature
	retry     bool             // look at what is lacking before the next Ready
	promises  map[promise]Digest

	pool   pool
	check  checkpoints
	change change
	help   helping
	fetchS stateFetch
	start  starting
	reads  reading
	out    outbox

	passive passive

	amnesiac, diverged string
	installing         bool
}

// slot is what a replica knows of one sequence number.
type slot struct {
	seq  Seq
	pre  *prePrepare // accepted or taken over in view pre.view; nil: none yet
	dig  Digest      // proposal digest of pre
	inO  bool        // pre came in a new-view: authenticity and time are not checked again
	full bool        // every bundle is held and may be voted for
	// sound: the host found the updates of pre in order (bft/passive.go).
	sound bool
	// accepted: the acceptance in view pre.view is recorded, the prepare (or pre-prepare) promised.
	accepted bool
	since    Time // when pre was first seen, for timeouts and retransmission
	votedAt  Time // when it was accepted
	doneAt   Time // when it was committed

	// votes by signer, of the highest view in which it voted
	prepares, commits []voteBy
	prepared          *preparedCert // of the highest view (rule 9)
	committing        bool          // the commit in view pre.view is promised
	done              *committed    // commit certificate
	bundles           []*Bundle     // of done, when held
}

type voteBy struct {
	view   View
	digest Digest
	votes  *votes
}

// body is the content of a proposal that has been recorded for a number.
type body struct {
	content
	bundles []*Bundle
	seqs    []Seq // for which it is durable or about to be
}

type promise struct {
	seq   Seq
	view  View
	phase Phase
}

// New makes a replica from what its host found on disk. It fails on a bad configuration or on
// records that no replica has written.
func New(cfg Config, restored Restored) (*Replica, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Replica{
		cfg: cfg, roster: roster{cfg.N(), cfg.Epoch},
		slots: map[Seq]*slot{}, early: map[Seq]*prePrepare{}, bodies: map[Digest]*body{}, wanted: map[Digest]*want{},
		promises: map[promise]Digest{}, nextSeq: 1, lacking: map[Seq]struct{}{}, held: library{},
	}
	if restored.Born && (len(restored.Records) > 0 || restored.Executed > 0) {
		return nil, errors.New("bft: records before the first start: the directory belongs to another replica")
	}
	r.pool.init()
	r.check.init()
	r.change.init(r.n)
	r.help.init(r.n)
	r.out.pending = map[uint64]*signing{}
	r.out.lsn, r.out.durable = restored.LSN, restored.LSN
	r.start = starting{on: true, boot: restored.Boot, answers: map[ReplicaID]bool{}}
	if err := r.restore(restored); err != nil {
		return nil, err
	}
	// The view that a restart finds settled has not failed because this run saw no progress yet.
	r.change.progressed = !r.changing && len(restored.Records) > 0
	if restored.Amnesiac != "" {
		r.becomeAmnesiac(restored.Amnesiac)
	}
	return r, nil
}

// maxTickStep is how much one Tick may count. A process that was stopped for longer learns
// nothing about its peers from it, so it does not hold the gap against them.
const maxTickStep = 100 * Millisecond

// Tick tells the replica the time: now is monotonic, clock is the wall clock, which serves
// agreed time only. Hosts call it at least every 20 ms, and before Ready.
func (r *Replica) Tick(now, clock Time) {
	step := min(now-r.hostNow, maxTickStep)
	if r.hostNow == 0 || step < 0 {
		step = 0
	}
	r.hostNow, r.clock = now, clock
	r.now += step
	r.tickPool(step)
	r.tickView()
	r.takeTurns()
	r.tickHelp()
	r.tickStateFetch()
	r.propose()
}

// Step takes a message. Its error is one of the sentinel errors of this package; only ErrInvalid
// accuses the sender.
func (r *Replica) Step(m Verified) error {
	u := m.u
	if u == nil {
		return fmt.Errorf("%w: empty", ErrInvalid)
	}
	if u.peer {
		if u.from == r.cfg.Self {
			return fmt.Errorf("%w: own message", ErrNotRelevant)
		}
		r.help.heard(u.from, r.now)
	}
	switch x := u.msg.(type) {
	case *request:
		return r.onRequest(u, x)
	case *prePrepare:
		return r.onPrePrepare(x)
	case *votes:
		return r.onVotes(x)
	case *checkpoint:
		return r.onCheckpoint(x)
	case *viewChange:
		return r.onViewChange(x)
	case *newView:
		return r.onNewView(x)
	case *status:
		return r.onStatus(u.from, x)
	case *fetch:
		return r.onFetch(u.from, x)
	case *data:
		return r.onData(u.from, x)
	}
	panic(fmt.Sprintf("bft: verified message of type %T", u.msg))
}

// Advance takes what the host has done.
func (r *Replica) Advance(d Done) {
	r.onPersisted(d.Persisted)
	for _, s := range d.Signed {
		r.onSigned(s)
	}
	for _, c := range d.Checked {
		r.onChecked(c)
	}
	for i := range d.Executed {
		r.onExecuted(&d.Executed[i])
	}
	if d.Updated != nil {
		r.onUpdated(d.Updated)
	}
	if d.Judged != nil {
		r.onJudged(d.Judged)
	}
	for _, s := range d.Snapshots {
		r.onSnapshot(s)
	}
	for _, p := range d.Parts {
		r.onServed(p)
	}
	if d.Installed != nil {
		r.onInstalled(d.Installed)
	}
	r.propose()
}

// Info describes the replica, for status and metrics.
func (r *Replica) Info() Info {
	return Info{View: r.view, Primary: r.primary(), Changing: r.changing, Starting: r.start.on, Stable: r.stable,
		Executed: r.executed, Committed: r.delivered, Amnesiac: r.amnesiac, Diverged: r.diverged, Pending: len(r.pool.all),
		InFlight: int(r.inFlight()), SuspectAfter: r.suspectAfter(), SuspectMean: r.tolerated(), Timeout: r.timeout(),
		Suspicion: r.change.why, Suspected: r.change.left}
}

func (r *Replica) primary() ReplicaID { return Primary(r.view, r.n) }
func (r *Replica) isPrimary() bool    { return r.primary() == r.cfg.Self }
func (r *Replica) high() Seq          { return r.stable + r.cfg.Window }

// mayVote: the replica is a full member in the present view. One that is amnesiac or has just
// started signs nothing (rule 19), one that is changing views votes for none.
func (r *Replica) mayVote() bool { return r.maySign() && !r.changing }
func (r *Replica) maySign() bool { return !r.start.on && r.amnesiac == "" }

func (r *Replica) becomeAmnesiac(why string) {
	if r.amnesiac == "" {
		r.amnesiac = why
		r.record(keyAmnesiac(), []byte(why)) // a restart heals nothing (rule 19)
		// What waits for a signature was promised by records that are now in doubt.
		r.out.pending = map[uint64]*signing{}
		r.out.sign, r.out.votes = nil, nil
	}
}

func (r *Replica) slot(s Seq) *slot {
	x := r.slots[s]
	if x == nil {
		votes := make([]voteBy, 2*r.n)
		x = &slot{seq: s, prepares: votes[:r.n:r.n], commits: votes[r.n:]}
		r.slots[s] = x
	}
	return x
}

// promised notes what this replica votes for. A second digest for one (view, number, phase)
// would be a Byzantine fault of our own: better to stop (oracle S9).
func (r *Replica) promised(phase Phase, v View, s Seq, d Digest) {
	key := promise{s, v, phase}
	if old, ok := r.promises[key]; ok && old != d {
		panic(fmt.Sprintf("bft: second %v for view %d number %d", phase, v, s))
	}
	r.promises[key] = d
}

// outbox

// signing is a message of this member on its way: it leaves once it is signed and its record
// and all earlier ones are durable (rule 16).
type signing struct {
	id     uint64
	env    *Envelope
	after  LSN
	signed bool
	then   func(*Envelope)
}

type outbox struct {
	lsn, durable LSN
	records      []Record
	sign         []SignRequest
	checks       []*Bundle
	messages     []Outbound
	execute      []*Batch
	replay, busy []*Bundle
	reads        []ReadID
	serve        []PartRequest
	stage        []SnapshotPart
	install      *Install
	update       *Batch
	judge        *Batch
	votes        []vote
	nextID       uint64
	pending      map[uint64]*signing
	waiting      []*signing // signed, in the order of their records; some wait for the disk
	stable       Seq
	progress     []Progress
}

func (r *Replica) record(key, value []byte) {
	r.out.lsn++
	r.out.records = append(r.out.records, Record{LSN: r.out.lsn, Key: key, Value: value})
}

func (r *Replica) erase(from, to []byte) {
	r.out.lsn++
	r.out.records = append(r.out.records, Record{LSN: r.out.lsn, Key: from, To: to})
}

// reached tells the host how far a number has come. The proposal's body is known if its bundles are.
func (r *Replica) reached(step Step, s Seq, v View, body Digest) {
	p := Progress{Seq: s, View: v, Step: step}
	if b := r.bodies[body]; b != nil {
		p.Body = b.list
	}
	r.out.progress = append(r.out.progress, p)
}

// signThen has a payload signed; then runs once the signature is there and everything recorded
// up to now is durable.
func (r *Replica) signThen(t MessageType, payload []byte, then func(*Envelope)) {
	if !r.maySign() {
		return
	}
	r.out.nextID++
	s := &signing{id: r.out.nextID, after: r.out.lsn, then: then,
		env: &Envelope{Type: t, Signer: r.cfg.Self, Epoch: r.cfg.Epoch, Payload: payload}}
	r.out.pending[s.id] = s
	r.out.sign = append(r.out.sign, SignRequest{ID: s.id, Type: t, Message: SigningBytes(r.cfg.Cluster, r.cfg.Epoch, t, payload)})
}

func (r *Replica) onSigned(x Signed) {
	s := r.out.pending[x.ID]
	if s == nil || s.signed {
		return
	}
	s.signed = true
	s.env.Signature = x.Signature
	r.release(s)
}

func (r *Replica) onPersisted(l LSN) {
	if l <= r.out.durable {
		return
	}
	if l > r.out.lsn {
		panic("bft: the host reports a record durable that it was never given")
	}
	r.out.durable = l
	waiting := r.out.waiting
	r.out.waiting = nil
	for _, s := range waiting {
		r.release(s)
	}
}

func (r *Replica) release(s *signing) {
	if s.after > r.out.durable {
		r.out.waiting = append(r.out.waiting, s)
		return
	}
	if r.out.pending[s.id] == nil {
		return // given up meanwhile
	}
	delete(r.out.pending, s.id)
	s.then(s.env)
}

func (r *Replica) send(to ReplicaID, frame []byte) {
	if to != r.cfg.Self {
		r.out.messages = append(r.out.messages, Outbound{To: to, Frame: frame})
	}
}

func (r *Replica) vote(phase Phase, s Seq, d Digest) {
	r.promised(phase, r.view, s, d)
	if r.maySign() {
		r.out.votes = append(r.out.votes, vote{phase, s, d})
	}
}

// flushVotes puts all that this turn votes under few signatures.
func (r *Replica) flushVotes() {
	for len(r.out.votes) > 0 {
		k := min(len(r.out.votes), maxVotes)
		vs := r.out.votes[:k:k]
		r.out.votes = r.out.votes[k:]
		view := r.view
		r.signThen(TypeVotes, encodeVotes(view, vs), func(e *Envelope) {
			r.send(Everyone, envelopeFrame(e))
			r.countVotes(&votes{env: e, view: view, votes: vs})
		})
	}
	r.out.votes = nil
}

// Ready gives what the host must do; ok is false if that is nothing.
func (r *Replica) Ready() (ready Ready, ok bool) {
	if r.retry {
		r.retry = false
		r.retryAccepts()
	}
	r.flushVotes()
	r.flushWants()
	o := &r.out
	ready = Ready{Records: o.records, Sign: o.sign, Check: o.checks, Messages: o.messages, Execute: o.execute,
		Replay: o.replay, Busy: o.busy, Reads: o.reads, Serve: o.serve, Stage: o.stage, Install: o.install, Update: o.update, Judge: o.judge, Stable: r.stable,
		Progress: o.progress}
	ok = len(ready.Records)+len(ready.Sign)+len(ready.Check)+len(ready.Messages)+len(ready.Execute)+len(ready.Replay)+
		len(ready.Busy)+len(ready.Reads)+len(ready.Serve)+len(ready.Stage) > 0 || ready.Install != nil ||
		ready.Update != nil || ready.Judge != nil || o.stable != r.stable
	o.records, o.sign, o.checks, o.messages, o.execute, o.replay, o.busy, o.reads, o.serve, o.stage, o.install, o.progress =
		nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil
	o.update, o.judge, o.stable = nil, nil, r.stable
	if ok {
		r.validate(&ready)
	}
	return ready, ok
}

// validate asserts what must be true of our own doing: a breach is a bug, and stopping is safer.
func (r *Replica) validate(ready *Ready) {
	switch {
	case r.executed > r.delivered:
		panic(fmt.Sprintf("bft: executed %d ahead of delivered %d", r.executed, r.delivered))
	case !r.maySign() && len(ready.Sign) > 0:
		panic("bft: a replica that may not sign asks for signatures")
	}
	for i, b := range ready.Execute {
		if i > 0 && b.Seq != ready.Execute[i-1].Seq+1 {
			panic(fmt.Sprintf("bft: batch %d handed out after %d", b.Seq, ready.Execute[i-1].Seq))
		}
	}
	for i := range ready.Records {
		if i > 0 && ready.Records[i].LSN != ready.Records[i-1].LSN+1 {
			panic("bft: records out of order")
		}
	}
}

// sortedSeqs gives the keys of m above low in order: no map order may escape.
func sortedSeqs[T any](m map[Seq]T, low Seq) []Seq {
	out := make([]Seq, 0, len(m))
	for s := range m {
		if s > low {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

package bft

import (
	"fmt"
	"math/bits"
	"sort"

	"github.com/baluarte-bft/baluarte/crypto"
)

// waitingCall is a call that has not left.
type waitingCall struct {
	id       CallID
	op       []byte
	deadline Time
	traced   bool
	class
	idempotent bool
	moves      uint8 // to a new session
	backoff    Time  // of its next bundle, if it left before
}

// sentCall is a call in a bundle or query.
type sentCall struct {
	id       CallID
	deadline Time
	size     int
	ended    bool
	traced   bool
	// As in waitingCall.
	idempotent bool
	moves      uint8
	again      bool // it left before, in another bundle
}

// sentBundle is a bundle that f+1 replicas have not yet answered alike.
type sentBundle struct {
	Bundle
	class
	voids    bool // see void
	calls    []sentCall
	deadline Time // the earliest of calls that have not ended
	signID   uint64
	signed   bool

	votes []resultVote // by replica
	// replier is named in the last request: one member, or Everyone. asked is who shall answer at all.
	replier ReplicaID
	asked   uint64
	retried bool
	blamed  bool   // one that was asked was silent while others answered
	quick   uint64 // who first said alike
	sentAt  Time
	// matchedAt is when f+1 alike were first counted, if matched.
	matchedAt Time
	matched   bool
	retryAt   Time
	backoff   Time
	// busy: bit i tells that replica i refused it since it was last sent.
	busy uint64
}

// resultVote is the last thing that a replica said of a bundle or query. A replica has one vote
// whatever it says, so that f liars are f votes.
type resultVote struct {
	cast    bool
	key     voteKey
	results [][]byte // in full, if it sent them and there was room
	size    int      // of the frame that results are part of
}

// voteKey is what must be alike (rule 27): the results, and the session that was opened or the
// epoch that was read in. The view, the replier and the number executed do not count.
type voteKey struct {
	of     uint64
	digest Digest
}

// sentAtOnce is how many bundles, and how many frames of reads, may be under way before calls that would not fill
// another one wait for the end of one of them: under load they then leave together, under one signature.
const sentAtOnce = 4

// formBundles makes bundles of what waits. With fewer than sentAtOnce under way a bundle never waits for more calls, and
// none waits for a timer: what was invoked since the last Ready leaves together.
func (c *Client) formBundles() {
	for c.waiting.len() > 0 || c.closing && !c.closed {
		switch {
		case c.over && !c.leaveSession():
			return
		case c.replaced && c.waiting.len() > 0:
			c.endReplaced()
		case c.closing && c.phase == phaseNone && c.calls == 0:
			c.closed = true
		case c.up == 0:
			return // a call that has not left may still be withdrawn
		case c.phase == phaseOpening:
			return // they need the id of the session that is being opened
		case c.phase == phaseOpen && len(c.bundles) == 0 && c.now-c.lastUsed > c.cfg.MaxIdle:
			c.endSession() // the replicas may be about to give it up
			continue
		case c.opensFirst():
			b := c.newBundle()
			b.deadline = never
			c.issue(b)
			return
		case c.waiting.len() > 0:
			if len(c.bundles) >= sentAtOnce && !c.fills(&c.waiting) || !c.formBundle() {
				return
			}
		case c.phase == phaseNone || c.calls > 0 || len(c.bundles) > 0:
			return // a close must not be ordered before an operation
		default:
			b := c.newBundle()
			b.Close, b.deadline = true, never
			c.issue(b)
			return
		}
	}
}

// fills tells whether the calls that wait fill a bundle or frame.
func (c *Client) fills(calls *queue[waitingCall]) bool {
	size := c.overhead()
	for i := range min(calls.len(), c.cfg.MaxBundleOps) {
		if size += len(calls.at(i).op) + opOverhead; size >= c.cfg.MaxBundleBytes {
			return true
		}
	}
	return calls.len() >= c.cfg.MaxBundleOps
}

// formBundle makes one bundle of the calls that have waited longest, if they are of one class; false if the window
// is full.
func (c *Client) formBundle() bool {
	room := c.lowest() + WindowOps - c.next
	count, size, of := 0, c.overhead(), c.waiting.at(0).class
	for count < c.waiting.len() && count < c.cfg.MaxBundleOps && uint64(count) < room && c.waiting.at(count).class == of {
		size += len(c.waiting.at(count).op) + opOverhead
		if size > c.cfg.MaxBundleBytes {
			break
		}
		count++
	}
	if count == 0 {
		return false
	}
	b := c.newBundle()
	b.deadline, b.class, b.Expires = never, of, of.expires
	b.backoff = c.cfg.RetryAfter
	for range count {
		w := c.waiting.pop()
		b.Ops = append(b.Ops, w.op)
		b.calls = append(b.calls, sentCall{id: w.id, deadline: w.deadline, size: len(w.op), idempotent: w.idempotent, moves: w.moves, again: w.left(), traced: w.traced})
		b.deadline = min(b.deadline, w.deadline)
		b.backoff = max(b.backoff, w.backoff)
	}
	c.wakeAt(b.deadline)
	// Closing with the last operations saves a round, unless earlier bundles are outstanding: the
	// close must not be ordered before them.
	b.Close = c.cfg.Ephemeral || c.closing && c.waiting.len() == 0 && len(c.bundles) == 0
	c.issue(b)
	return true
}

// lowest is the lowest number that has no accepted result.
func (c *Client) lowest() uint64 {
	if len(c.bundles) > 0 {
		return c.bundles[0].First
	}
	return c.next
}

// issue gives b its numbers and asks for its signature.
func (c *Client) issue(b *sentBundle) {
	if c.phase == phaseNone {
		c.nonce, c.phase = c.nextNonce(), phaseOpening
		b.Nonce, b.NotAfter = c.nonce, c.clock+c.cfg.OpenWithin
		if c.cfg.Claim != (Claim{}) {
			b.Claim = &c.cfg.Claim
		}
	}
	b.Client, b.Session, b.First, b.AnsweredBelow = c.cfg.Key, c.session, c.next, c.lowest()
	b.Payload = EncodeBundle(&b.Bundle)
	c.next += uint64(len(b.Ops))
	c.lastSent = c.now
	clear(b.Ops) // the payload has them
	b.Ops = b.Ops[:0]
	if b.votes == nil {
		b.votes = make([]resultVote, c.cfg.N)
	}
	b.backoff = max(b.backoff, c.cfg.RetryAfter)
	c.signID++
	b.signID = c.signID
	c.bundles = append(c.bundles, b)
	c.ready.Sign = append(c.ready.Sign, SignRequest{ID: b.signID, Type: TypeRequest,
		Message: RequestSigningBytes(c.cfg.Cluster, b.Payload)})
}

// Signed reports a signature that Ready asked for. The bundle then leaves, with the next Ready.
func (c *Client) Signed(id uint64, sig crypto.Signature) {
	for i := len(c.bundles) - 1; i >= 0; i-- {
		b := c.bundles[i]
		if b.signID == id && !b.signed {
			b.Signature, b.signed = sig, true
			if c.cfg.Journal && len(b.calls) > 0 && !b.voids {
				left := b.Bundle
				left.Ops = nil
				c.ready.Leaving = append(c.ready.Leaving, &left)
			}
			if c.choose(b); b.semantics == Maybe {
				b.replier, b.asked, b.retryAt, b.retried = Everyone, c.all(), never, true // nobody is asked a second time
			}
			c.send(Everyone, AskingFrame(&b.Bundle, b.replier, b.asked), b.calls)
			return
		}
	}
}

// retry sends b again, the same bytes to all, and asks all for the full results (rule 28).
func (c *Client) retry(b *sentBundle) {
	if b.semantics == AtLeastOnce {
		c.anew(b)
		return
	}
	c.failedReplier(b.replier, b.votes)
	b.replier, b.asked, b.busy, b.retried = Everyone, c.all(), 0, true
	b.backoff = min(2*b.backoff, c.cfg.MaxRetry)
	b.retryAt = c.now + b.backoff
	c.wakeAt(b.retryAt)
	c.send(Everyone, RequestFrame(&b.Bundle, b.replier), b.calls)
}

// find returns the index of the bundle that a replica speaks of, or -1.
func (c *Client) find(opening bool, session SessionID, nonce Nonce, first uint64) int {
	switch {
	case opening:
		if c.phase != phaseOpening || nonce != c.nonce {
			return -1
		}
	case c.phase != phaseOpen || session != c.session:
		return -1
	}
	i := sort.Search(len(c.bundles), func(i int) bool { return c.bundles[i].First >= first })
	if i == len(c.bundles) || c.bundles[i].First != first || !c.bundles[i].signed {
		return -1
	}
	return i
}

func (c *Client) onBusy(from ReplicaID, frame []byte) error {
	m, err := DecodeBusy(frame)
	if err != nil {
		return err
	}
	i := c.find(m.Opening, m.Session, m.Nonce, m.First)
	if i < 0 {
		return ErrNotRelevant
	}
	// Nothing else: the bundle may be executed all the same, and is sent again in time (rule 26).
	c.bundles[i].busy |= 1 << from
	return nil
}

// onReply counts a reply, and accepts the results once f+1 replicas sent alike (rule 27).
func (c *Client) onReply(from ReplicaID, frame []byte) error {
	var m Reply
	if err := m.decode(frame); err != nil {
		return err
	}
	i := c.find(m.Opening, m.Session, m.Nonce, m.First)
	if i < 0 {
		return ErrNotRelevant
	}
	b := c.bundles[i]
	key := voteKey{of: uint64(m.Session), digest: m.Digest}
	if key.digest.IsZero() {
		if len(m.Results) != max(1, len(b.calls)) {
			return fmt.Errorf("%w: %d results for %d operations", ErrInvalid, len(m.Results), len(b.calls))
		}
		key.digest = ResultsDigest(m.Results)
	}
	results := m.Results
	c.vote(&b.votes[from], from, key, results, len(frame))
	who := alike(b.votes, key)
	if bits.OnesCount64(who) < c.need {
		if c.disagree(b) {
			c.widen(b)
		}
		return nil
	}
	if b.quick == 0 {
		b.quick = who
	}
	if results == nil {
		results = fullResults(b.votes, key)
	}
	switch {
	case results == nil:
		c.wantFull(b, key)
	case len(results) != max(1, len(b.calls)):
		// f+1 agree on what makes no sense: more than f are faulty. It must not harm this process.
		return fmt.Errorf("%w: %d results for %d operations", ErrInvalid, len(results), len(b.calls))
	case !finalResults(results):
		c.notFinal(b)
	default:
		c.judgeReplier(b, key, results)
		c.learn(b, from, key)
		c.accept(i, m.Session, results)
	}
	return nil
}

// vote records what a replica says last, and its full results while there is room for them.
func (c *Client) vote(v *resultVote, from ReplicaID, key voteKey, results [][]byte, size int) {
	if v.cast && v.key == key && v.results != nil {
		return // the same again, or its digest only
	}
	c.kept[from] -= v.size
	*v = resultVote{cast: true, key: key}
	if results != nil && c.kept[from]+size <= keptPerReplica {
		v.results, v.size = results, size
		c.kept[from] += size
	}
}

// forget drops all votes.
func (c *Client) forget(votes []resultVote) {
	for i := range votes {
		c.kept[i] -= votes[i].size
		votes[i] = resultVote{}
	}
}

func fullResults(votes []resultVote, key voteKey) [][]byte {
	for i := range votes {
		if votes[i].cast && votes[i].key == key && votes[i].results != nil {
			return votes[i].results
		}
	}
	return nil
}

// wantFull: f+1 agree, but the replier has not sent the results. It gets as long again as the
// others took; if it has sent something else, no time at all (rule 28).
func (c *Client) wantFull(b *sentBundle, key voteKey) {
	if b.replier == Everyone {
		return // asked before; the retry is on its way, or its back-off runs
	}
	if !b.matched {
		b.matched, b.matchedAt = true, c.now
	}
	wait := patience(b.sentAt, b.matchedAt)
	if v := &b.votes[b.replier]; v.cast && v.key != key {
		wait = c.now
	}
	b.retryAt = min(b.retryAt, wait)
	c.wakeAt(b.retryAt)
}

// patience is until when a replier may send results whose digest f+1 sent by matchedAt.
func patience(sentAt, matchedAt Time) Time { return matchedAt + (matchedAt - sentAt) + 10*Millisecond }

// judgeReplier moves on from a replier that did not do its part, or did it just slowly enough to
// hold the client up.
func (c *Client) judgeReplier(b *sentBundle, key voteKey, results [][]byte) {
	if b.replier == Everyone || InFull(0, 1, results) {
		return // all were asked, or all answer in full anyway
	}
	v := &b.votes[b.replier]
	if v.cast && v.key != key || b.matched && c.now > patience(b.sentAt, b.matchedAt) {
		c.rotate(b.replier)
	}
}

// notFinal: f+1 say that b was ordered but could not be executed yet: the same as being busy.
func (c *Client) notFinal(b *sentBundle) {
	for i := range b.votes {
		if b.votes[i].cast {
			b.busy |= 1 << i
		}
	}
	c.forget(b.votes)
}

// accept ends the calls of bundle i with their results.
func (c *Client) accept(i int, session SessionID, results [][]byte) {
	b := c.bundles[i]
	c.bundles = append(c.bundles[:i], c.bundles[i+1:]...)
	c.lastUsed = c.now
	c.noteEnd(results)
	for k := range b.calls {
		if call := &b.calls[k]; !call.ended && !c.crowded(b, k, results[k]) && !c.move(b, k, results[k]) {
			value, err := b.outcome(results[k])
			c.end(call.id, value, said(err, call.again), call.size)
			r := &c.ready.Results[len(c.ready.Results)-1]
			r.Session, r.First, r.Index = session, b.First, k
		}
	}
	switch {
	case b.Close || b.Opens() && session == 0:
		c.endSession()
		if len(b.calls) == 0 && session == 0 && b.Opens() {
			c.notOpened(results[0])
		}
	case b.Opens():
		c.phase, c.session = phaseOpen, session
	case sessionGone(results):
		c.expire()
	}
	c.release(b)
}

// expire: f+1 replicas do not know the session any more. What else left in it has an unknown
// outcome: it may have been executed while the session lived. What has not left is not
// concerned and goes into the next session.
func (c *Client) expire() {
	for _, b := range c.bundles {
		for k := range b.calls {
			if call := &b.calls[k]; !call.ended && !c.move(b, k, []byte{byte(ResultUnknownSession)}) {
				c.end(call.id, nil, resultErrors[ResultUnknownSession], call.size)
			}
		}
		c.release(b)
	}
	c.bundles = c.bundles[:0]
	c.endSession()
}

// endSession: the next bundle opens a session.
func (c *Client) endSession() {
	c.phase, c.session, c.next, c.over, c.resumed = phaseNone, 0, 1, false, false
}

// newBundle takes a bundle for reuse, or makes one.
func (c *Client) newBundle() *sentBundle {
	if k := len(c.spare); k > 0 {
		b := c.spare[k-1]
		c.spare = c.spare[:k-1]
		return b
	}
	return new(sentBundle)
}

func (c *Client) release(b *sentBundle) {
	c.forget(b.votes)
	if c.cfg.Journal && b.signed {
		c.ready.Answered = append(c.ready.Answered, b.Name())
	}
	if len(c.spare) < 64 {
		clear(b.Ops)
		*b = sentBundle{Bundle: Bundle{Ops: b.Ops[:0]}, calls: b.calls[:0], votes: b.votes}
		c.spare = append(c.spare, b)
	}
}

// endCalls ends those calls that the predicate names, each by what is known of it, and tells
// whether there were any.
func (c *Client) endCalls(which func(CallID, Time) bool) bool {
	before := c.calls
	c.waiting.filter(func(w *waitingCall) bool { return c.endWaiting(w, which) })
	for _, b := range c.bundles {
		b.deadline = never
		for k := range b.calls {
			switch call := &b.calls[k]; {
			case call.ended:
			case which(call.id, call.deadline):
				call.ended = true
				c.end(call.id, nil, c.openOutcome(b), call.size)
			default:
				b.deadline = min(b.deadline, call.deadline)
			}
		}
	}
	c.endReads(which)
	if c.calls == before {
		return false
	}
	c.dropEnded()
	return true
}

func (c *Client) endWaiting(w *waitingCall, which func(CallID, Time) bool) bool {
	if !which(w.id, w.deadline) {
		return false
	}
	c.end(w.id, nil, said(errWaiting, w.left()), len(w.op))
	return true
}

// openOutcome says why nothing is known of the operations of b.
func (c *Client) openOutcome(b *sentBundle) error {
	busy := 0
	for i := range c.cfg.N {
		busy += int(b.busy >> i & 1)
	}
	if busy >= c.need {
		return errBusy
	}
	return errUnheard
}

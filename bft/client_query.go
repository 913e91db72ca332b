package bft

import (
	"bytes"
	"fmt"
	"math/bits"
)

// sentQuery is a frame of reads of one consistency that await answers. It does not change the
// order of anything, so that asking again is always harmless.
type sentQuery struct {
	id          uint64
	consistency Consistency
	calls       []sentCall
	ops         [][]byte
	replier     ReplicaID
	votes       []resultVote // by replica, on this id
	refused     uint64       // bit i: replica i has no room for it
	sentAt      Time
	matchedAt   Time // when enough alike were first counted, if matched
	matched     bool
	retryAt     Time
	backoff     Time
	tries       int // that ended without agreement
	// paused: the last try ended, the next begins at retryAt under a new id.
	paused bool
}

// contendedBackoff is the pause after the first contended try; it doubles, up to 64 times.
const contendedBackoff = Millisecond

func (q *sentQuery) frame() []byte {
	return QueryFrame(&Query{ID: q.id, Consistency: q.consistency, Ops: q.ops, Replier: q.replier})
}

// needOf is how many replicas must answer alike (rule 27). For a linearizable read a quorum: it
// has an honest member in common with the quorum that committed any operation answered before,
// and f+1 for ordered calls stays enough only because of that.
func (c *Client) needOf(consistency Consistency) int {
	if consistency == Linearizable {
		return c.quorum
	}
	return c.need
}

// formQueries sends the reads that wait, those of one consistency in one frame.
func (c *Client) formQueries() {
	for k := range c.reads {
		for c.reads[k].len() > 0 && c.up != 0 && c.mayAsk(Consistency(k+1)) {
			c.formQuery(&c.reads[k], Consistency(k+1))
		}
	}
}

// mayAsk tells whether another frame of reads may leave beside those that await answers. Each consistency has half of
// the places, for linearizable reads may find no quorum where f+1 answer stale ones; those that pause between two tries
// keep no others waiting.
func (c *Client) mayAsk(consistency Consistency) bool {
	all, asking := 0, 0
	for _, q := range c.queries {
		if q.consistency != consistency {
			continue
		}
		if all++; !q.paused {
			asking++
		}
	}
	return all < maxQueries/2 && (asking < sentAtOnce || c.fills(&c.reads[consistency-1]))
}

func (c *Client) formQuery(reads *queue[waitingCall], consistency Consistency) {
	q := &sentQuery{consistency: consistency, backoff: c.cfg.RetryAfter, replier: c.replier,
		votes: make([]resultVote, c.cfg.N)}
	size := bundleOverhead
	for reads.len() > 0 && len(q.calls) < c.cfg.MaxBundleOps {
		if size += len(reads.at(0).op) + opOverhead; size > c.cfg.MaxBundleBytes {
			break
		}
		w := reads.pop()
		q.ops = append(q.ops, w.op)
		q.calls = append(q.calls, sentCall{id: w.id, deadline: w.deadline, size: len(w.op), traced: w.traced})
		c.wakeAt(w.deadline)
	}
	c.queries = append(c.queries, q)
	c.ask(q)
}

// ask begins a try of q, which has no votes, under a new id: answers to an earlier one do not
// count any more.
func (c *Client) ask(q *sentQuery) {
	c.queryID++
	q.id, q.refused, q.paused, q.matched = c.queryID, 0, false, false
	q.sentAt, q.retryAt = c.now, c.now+q.backoff
	c.wakeAt(q.retryAt)
	c.send(Everyone, q.frame(), q.calls)
}

// retryQueries looks at the queries whose time has come.
func (c *Client) retryQueries() {
	for i := 0; i < len(c.queries); i++ {
		q := c.queries[i]
		if q.retryAt > c.now {
			continue
		}
		switch {
		case q.paused:
			c.ask(q)
		case c.answered(q) >= c.needOf(q.consistency) && !q.matched:
			// Enough answered, though not alike, and the others are silent.
			if c.contended(q) {
				i--
			}
		default:
			// Loss, or a replier that owes the results: the same id, so that late answers count.
			c.failedReplier(q.replier, q.votes)
			q.replier = Everyone
			q.backoff = min(2*q.backoff, c.cfg.MaxRetry)
			q.sentAt, q.retryAt = c.now, c.now+q.backoff
			c.send(Everyone, q.frame(), q.calls)
		}
	}
}

func (c *Client) answered(q *sentQuery) (n int) {
	for i := range q.votes {
		if q.votes[i].cast {
			n++
		}
	}
	return n
}

// onAnswer counts an answer.
func (c *Client) onAnswer(from ReplicaID, frame []byte) error {
	m, err := DecodeAnswer(frame)
	if err != nil {
		return err
	}
	at := c.findQuery(m.ID)
	if at < 0 {
		return ErrNotRelevant
	}
	q := c.queries[at]
	if m.Refused() {
		q.refused |= 1 << from
		return nil
	}
	if q.consistency == Linearizable && m.Epoch != c.cfg.Epoch {
		return ErrNotRelevant // members of another epoch are no part of this one's quorum
	}
	key := voteKey{digest: m.Digest}
	if q.consistency == Linearizable {
		key.of = uint64(m.Epoch)
	}
	if m.Digest.IsZero() {
		if len(m.Results) != len(q.calls) {
			return fmt.Errorf("%w: %d results for %d reads", ErrInvalid, len(m.Results), len(q.calls))
		}
		key.digest = ResultsDigest(m.Results)
	}
	q.refused &^= 1 << from
	c.vote(&q.votes[from], from, key, m.Results, len(frame))
	c.count(at, key)
	return nil
}

func (c *Client) findQuery(id uint64) int {
	for i, q := range c.queries {
		if q.id == id && !q.paused {
			return i
		}
	}
	return -1
}

// count ends query i if enough votes are alike, or its try if they cannot be any more.
func (c *Client) count(i int, key voteKey) {
	q := c.queries[i]
	need := c.needOf(q.consistency)
	if bits.OnesCount64(alike(q.votes, key)) >= need {
		results := fullResults(q.votes, key)
		if results == nil {
			c.wantFullAnswer(q, key)
			return
		}
		if len(results) != len(q.calls) {
			return // more than f are faulty
		}
		for k := range q.calls {
			if c.endRead(&q.calls[k], results[k]); !q.calls[k].ended {
				c.readAgain(q, k)
			}
		}
		c.dropQuery(i)
		return
	}
	silent := 0
	for r := range q.votes {
		if !q.votes[r].cast && c.isUp(ReplicaID(r)) && q.refused>>r&1 == 0 {
			silent++
		}
	}
	best := 0
	for r := range q.votes {
		if q.votes[r].cast {
			best = max(best, bits.OnesCount64(alike(q.votes, q.votes[r].key)))
		}
	}
	switch {
	case c.answered(q) < need:
	case best+silent < need:
		c.contended(q)
	default: // who is silent, and may be faulty, gets as long again as the others took
		q.retryAt = min(q.retryAt, patience(q.sentAt, c.now))
		c.wakeAt(q.retryAt)
	}
}

// wantFullAnswer: see wantFull.
func (c *Client) wantFullAnswer(q *sentQuery, key voteKey) {
	if q.replier == Everyone {
		return
	}
	if !q.matched {
		q.matched, q.matchedAt = true, c.now
	}
	wait := patience(q.sentAt, q.matchedAt)
	if v := &q.votes[q.replier]; v.cast && v.key != key {
		wait = c.now
	}
	q.retryAt = min(q.retryAt, wait)
	c.wakeAt(q.retryAt)
}

// contended ends a try in which the replicas answered from different states. Reads on which enough
// agree by themselves end; the others are tried again, or end if they had their tries. It
// tells whether q has ended.
func (c *Client) contended(q *sentQuery) bool {
	need := c.needOf(q.consistency)
	for k := range q.calls {
		for r := range q.votes {
			if q.calls[k].ended || q.votes[r].results == nil || len(q.votes[r].results) != len(q.calls) {
				continue
			}
			if result := q.votes[r].results[k]; !crowdedOut(result) && alikeAt(q.votes, k, result) >= need {
				c.endRead(&q.calls[k], result)
			}
		}
	}
	q.tries++
	if q.tries >= c.cfg.QueryTries {
		for k := range q.calls {
			if call := &q.calls[k]; !call.ended {
				call.ended = true
				c.end(call.id, nil, errContended, call.size)
			}
		}
	}
	c.forget(q.votes)
	kept := 0
	for k := range q.calls {
		if !q.calls[k].ended {
			q.calls[kept], q.ops[kept] = q.calls[k], q.ops[k]
			kept++
		}
	}
	clear(q.ops[kept:])
	q.calls, q.ops = q.calls[:kept], q.ops[:kept]
	if kept == 0 {
		c.dropQuery(c.findQuery(q.id))
		return true
	}
	q.paused, q.replier, q.backoff = true, Everyone, c.cfg.RetryAfter // nothing was lost
	q.retryAt = c.now + contendedBackoff<<min(q.tries-1, 6)
	c.wakeAt(q.retryAt)
	return false
}

// alikeAt counts the full answers that have this result for read k.
func alikeAt(votes []resultVote, k int, result []byte) (n int) {
	for i := range votes {
		if r := votes[i].results; r != nil && k < len(r) && bytes.Equal(r[k], result) {
			n++
		}
	}
	return n
}

// readAgain has a read wait once more that was not answered. The first of a question always is, so that each has an end.
func (c *Client) readAgain(q *sentQuery, k int) {
	call := &q.calls[k]
	c.reads[q.consistency-1].push(waitingCall{id: call.id, op: q.ops[k], deadline: call.deadline, traced: call.traced})
}

// crowdedOut tells whether there was no room for a result beside those of others.
func crowdedOut(result []byte) bool {
	return len(result) == 1 && ResultStatus(result[0]) == ResultCrowded
}

// endRead ends a read with its result, unless there was no room for it.
func (c *Client) endRead(call *sentCall, result []byte) {
	if call.ended || crowdedOut(result) {
		return
	}
	call.ended = true
	value, err := splitResult(result)
	c.end(call.id, value, err, call.size)
}

func (c *Client) dropQuery(i int) {
	c.forget(c.queries[i].votes)
	c.queries = append(c.queries[:i], c.queries[i+1:]...)
}

// endReads is endCalls for reads.
func (c *Client) endReads(which func(CallID, Time) bool) {
	for k := range c.reads {
		c.reads[k].filter(func(w *waitingCall) bool { return c.endWaiting(w, which) })
	}
	for i := 0; i < len(c.queries); i++ {
		q, open := c.queries[i], 0
		for k := range q.calls {
			call := &q.calls[k]
			if !call.ended && which(call.id, call.deadline) {
				call.ended = true
				c.end(call.id, nil, c.openRead(q), call.size)
			}
			if !call.ended {
				open++
			}
		}
		if open == 0 {
			c.dropQuery(i)
			i--
		}
	}
}

// openRead says why the reads of q have no result.
func (c *Client) openRead(q *sentQuery) error {
	refused := 0
	for i := range c.cfg.N {
		refused += int(q.refused >> i & 1)
	}
	switch {
	case refused >= c.need:
		return errNoReader
	case q.tries > 0:
		return errContended
	}
	return errNoAnswer
}

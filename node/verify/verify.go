// Package verify checks signatures for one replica, in batches across messages and senders.
//
// There is no standing pool of goroutines. Whoever brings a signature while nobody verifies does
// it at once, so that a lone message is not handed over; those who come meanwhile leave
// theirs, and it goes with the next batch. So batches grow with the load: one signature
// costs 50 µs alone and 31 µs in a batch of 128.
package verify

import (
	"crypto/sha256"
	"sync"

	"github.com/baluarte-bft/baluarte/crypto"
)

const (
	// batchClaims is how many claims go into one batch: more gain nothing (see crypto).
	batchClaims = 128
	// helpFrom is the number of waiting claims from which another goroutine verifies beside.
	helpFrom = 64
	// inlineRounds is how many batches a caller of Submit verifies before a goroutine of its own takes
	// over: it has a stream to read.
	inlineRounds = 2
)

// Job is the signatures of one message, or of one client's bundle.
type Job struct {
	Claims []crypto.Claim
	// Done gets one verdict for each claim, once. It runs on whichever goroutine verified and
	// does not keep the slice.
	Done func(valid []bool)
}

// Pool verifies. Its methods may be called by any goroutine.
//
// Invariants: claims is the number of claims in pending; active is at most workers; if
// pending is not empty then active is not 0.
type Pool struct {
	verifier  *crypto.Ed25519
	workers   int
	maxClaims int

	mu      sync.Mutex
	pending []Job
	claims  int
	active  int
	idle    *sync.Cond // active has become 0
	stats   Stats

	seen seen
}

// Stats are counters of a Pool.
type Stats struct {
	Claims  uint64 // verified
	Batches uint64
	Invalid uint64
	Known   uint64 // not verified again, for they were verified before
	Refused uint64 // jobs refused because too much waited
	Waiting int    // claims that wait
}

// New returns a pool in which at most workers goroutines verify at a time and at most maxClaims
// claims wait. It remembers at least remember claims that held, and at most twice as many, at
// about 50 bytes each.
func New(v *crypto.Ed25519, workers, maxClaims, remember int) *Pool {
	p := &Pool{verifier: v, workers: max(workers, 1), maxClaims: max(maxClaims, batchClaims)}
	p.seen.size = remember
	p.idle = sync.NewCond(&p.mu)
	return p
}

// Submit has the job verified, perhaps before it returns if inline is set: the caller then gives
// its own goroutine for it. It returns false, and the job is dropped, if too much waits.
func (p *Pool) Submit(j Job, inline bool) bool {
	p.mu.Lock()
	if p.claims+len(j.Claims) > p.maxClaims && p.claims > 0 {
		p.stats.Refused++
		p.mu.Unlock()
		return false
	}
	p.pending = append(p.pending, j)
	p.claims += len(j.Claims)
	work := p.active == 0 || p.active < p.workers && p.claims >= helpFrom*p.active
	if work {
		p.active++
	}
	p.mu.Unlock()
	switch {
	case work && inline:
		p.run(inlineRounds)
	case work:
		go p.run(-1)
	}
	return true
}

// Drain waits until nothing is being verified. Nothing may be submitted meanwhile.
func (p *Pool) Drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.active > 0 {
		p.idle.Wait()
	}
}

// Stats returns the counters.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Waiting = p.claims
	return s
}

// run verifies batches until nothing waits, or rounds of them; then a goroutine goes on.
func (p *Pool) run(rounds int) {
	var b batch
	for ; rounds != 0; rounds-- {
		p.mu.Lock()
		b.take(p)
		if len(b.jobs) == 0 {
			if p.active--; p.active == 0 {
				p.idle.Broadcast()
			}
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		b.verify(p)
	}
	go p.run(-1)
}

// batch is what one goroutine verifies at a time.
type batch struct {
	jobs   []Job
	claims []crypto.Claim // those that are not known to hold
	keys   []seenKey      // of these
	at     []int          // their place among all claims of jobs
	valid  []bool         // for all claims of jobs
}

// take moves waiting jobs into the batch. Called with the lock held.
func (b *batch) take(p *Pool) {
	clear(b.jobs)
	b.jobs = b.jobs[:0]
	n, claims := 0, 0
	for n < len(p.pending) && (n == 0 || claims+len(p.pending[n].Claims) <= batchClaims) {
		b.jobs = append(b.jobs, p.pending[n])
		claims += len(p.pending[n].Claims)
		n++
	}
	p.claims -= claims
	rest := copy(p.pending, p.pending[n:])
	clear(p.pending[rest:])
	p.pending = p.pending[:rest]
}

func (b *batch) verify(p *Pool) {
	b.claims, b.keys, b.at, b.valid = b.claims[:0], b.keys[:0], b.at[:0], b.valid[:0]
	known := uint64(0)
	for i := range b.jobs {
		for c := range b.jobs[i].Claims {
			claim := &b.jobs[i].Claims[c]
			key := keyOf(claim)
			if p.seen.has(key) {
				known++
				b.valid = append(b.valid, true)
				continue
			}
			b.claims, b.keys, b.at = append(b.claims, *claim), append(b.keys, key), append(b.at, len(b.valid))
			b.valid = append(b.valid, false)
		}
	}
	invalid := uint64(0)
	if len(b.claims) > 0 {
		for i, ok := range p.verifier.VerifyBatch(b.claims) {
			b.valid[b.at[i]] = ok
			if ok {
				p.seen.add(b.keys[i])
			} else {
				invalid++
			}
		}
	}
	p.mu.Lock()
	p.stats.Claims += uint64(len(b.claims))
	p.stats.Batches++
	p.stats.Known += known
	p.stats.Invalid += invalid
	p.mu.Unlock()
	clear(b.claims)
	at := 0
	for i := range b.jobs {
		n := len(b.jobs[i].Claims)
		b.jobs[i].Done(b.valid[at : at+n])
		at += n
	}
}

// seen remembers claims that hold. A vote comes back in certificates, view-changes and
// retransmissions; that it was verified once is enough. It says nothing about claims that do not hold.
type seen struct {
	size       int // of a generation
	mu         sync.Mutex
	young, old map[seenKey]struct{}
}

// seenKey is half a digest of a claim: finding two claims with the same takes 2^64 work, and
// one with that of a given valid claim 2^128.
type seenKey [16]byte

func keyOf(c *crypto.Claim) (k seenKey) {
	var head [crypto.PublicKeySize + crypto.SignatureSize + sha256.Size]byte
	copy(head[:], c.Key[:])
	copy(head[crypto.PublicKeySize:], c.Sig[:])
	msg := sha256.Sum256(c.Msg)
	copy(head[crypto.PublicKeySize+crypto.SignatureSize:], msg[:])
	sum := sha256.Sum256(head[:])
	copy(k[:], sum[:])
	return k
}

func (s *seen) has(k seenKey) bool {
	if s.size == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.young[k]; ok {
		return true
	}
	_, ok := s.old[k]
	return ok
}

func (s *seen) add(k seenKey) {
	if s.size == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young == nil || len(s.young) >= s.size {
		s.old, s.young = s.young, make(map[seenKey]struct{}, 256)
	}
	s.young[k] = struct{}{}
}

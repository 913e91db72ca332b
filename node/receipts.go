package node

import (
	"sync"

	"golang.org/x/time/rate"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/receipt"
	"github.com/baluarte-bft/baluarte/node/transport"
)

const (
	// receiptBundles and receiptBytes bound the executed bundles that are remembered for receipts; the oldest makes room.
	receiptBundles = 4096
	receiptBytes   = 8 << 20
	// receiptRate bounds the questions that are answered in a second; clients repeat those that were not.
	receiptRate = 2000
)

// receiptBook remembers what was executed last, with its results, so that clients can have it signed. A signature is made
// when the first of a bundle's operations is asked for, and serves all of them.
//
// Only bundles that were executed as a whole are in it: of one that was ordered twice, or that uses numbers again, the
// results may be those of other operations.
type receiptBook struct {
	limit *rate.Limiter

	mu    sync.Mutex
	byKey map[receiptKey]*receiptEntry
	order []*receiptEntry // a ring from next on, the oldest first
	next  int
	held  int
	bytes int
}

type receiptKey struct {
	client  bft.ClientID
	session bft.SessionID
	first   uint64
}

type receiptEntry struct {
	key          receiptKey
	seq          bft.Seq
	time         bft.Time
	ops, results [][]byte
	size         int

	once      sync.Once
	leaves    []bft.Digest
	root      bft.Digest
	signature crypto.Signature
}

func newReceiptBook() *receiptBook {
	return &receiptBook{limit: rate.NewLimiter(receiptRate, receiptRate), byKey: map[receiptKey]*receiptEntry{},
		order: make([]*receiptEntry, receiptBundles)}
}

// add remembers a bundle that was just executed. Operations and results are shared, not copied.
func (b *receiptBook) add(bundle *bft.Bundle, r *exec.Reply, seq bft.Seq, now bft.Time) {
	if !r.Fresh || len(r.Results) != len(bundle.Ops) {
		return
	}
	e := &receiptEntry{key: receiptKey{bundle.Client, r.Session, r.First}, seq: seq, time: now, ops: bundle.Ops, results: r.Results}
	for i := range e.ops {
		e.size += len(e.ops[i]) + len(e.results[i])
	}
	if e.size > receiptBytes {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.held == len(b.order) || b.bytes+e.size > receiptBytes {
		old := b.order[b.next]
		b.order[b.next] = nil
		b.next = (b.next + 1) % len(b.order)
		b.held--
		b.bytes -= old.size
		delete(b.byKey, old.key)
	}
	if b.byKey[e.key] != nil {
		return // cannot be: each number of a session is executed once
	}
	b.byKey[e.key] = e
	b.order[(b.next+b.held)%len(b.order)] = e
	b.held++
	b.bytes += e.size
}

func (b *receiptBook) find(k receiptKey) *receiptEntry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byKey[k]
}

// receipt answers a client's question for a signature. An error is one that no correct client makes.
func (n *Node) receipt(c *transport.ClientConn, frame []byte) error {
	name, err := receipt.DecodeAsk(frame)
	if err != nil {
		return err
	}
	info := n.info.Load()
	if info == nil || info.Diverged != "" || info.Amnesiac != "" || !n.receipts.limit.Allow() {
		return nil // who signs nothing, or has no time, says nothing
	}
	a := receipt.Answer{Name: name}
	if e := n.receipts.find(receiptKey{c.Key(), name.Session, name.First}); e != nil && int(name.Index) < len(e.ops) {
		e.once.Do(func() {
			e.leaves = exec.ReceiptLeaves(e.key.first, e.ops, e.results)
			e.root = crypto.MerkleRoot(e.leaves)
			said := exec.Receipted{Client: e.key.client, Session: e.key.session, First: e.key.first, Seq: e.seq, Time: e.time, Root: e.root}
			e.signature = n.opts.Key.Sign(said.SigningBytes(n.opts.Core.Cluster, n.opts.Core.Epoch))
			n.metrics.signatures.Inc()
		})
		a.Known, a.Executed, a.Time, a.Count, a.Root, a.Signature = true, e.seq, e.time, uint32(len(e.ops)), e.root, e.signature
		a.Path = crypto.MerkleProve(e.leaves, int(name.Index))
	}
	c.Send(a.Encode())
	return nil
}

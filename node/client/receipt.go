package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/receipt"
)

// ErrNoReceipt: the operation was executed, and f+1 replicas did not sign that in time. They remember only what they
// executed last.
var ErrNoReceipt = errors.New("no receipt")

const (
	// receiptPause is the first wait before replicas that have said nothing are asked again for a signature; it doubles
	// up to receiptPauseMax. The operation was executed by f+1 when they are asked, and by the others soon.
	receiptPause    = 5 * time.Millisecond
	receiptPauseMax = 200 * time.Millisecond
)

// InvokeReceipt is Invoke, and has f+1 replicas sign what was executed, for others to believe: see package receipt. It is
// one more round to the replicas. If the error is ErrNoReceipt the operation was executed, and the answer is good.
func (s *Service) InvokeReceipt(ctx context.Context, op []byte) ([]byte, *receipt.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, &callError{err: errNotBegun, ended: err}
	}
	frame, err := s.encode(op, write)
	if err != nil {
		return nil, nil, err
	}
	out, err := s.invokeNoted(ctx, frame)
	if err != nil {
		return nil, nil, err
	}
	r := &receipt.Receipt{Format: receipt.Format, Cluster: s.c.manifest.ID(), Client: s.c.key.Public(), Session: out.at.Session,
		First: out.at.First, Number: out.at.First + uint64(out.at.Index), Service: s.name, Operation: bytes.Clone(op), Result: out.value}
	if r.Operation == nil {
		r.Operation = []byte{}
	}
	return out.value, r, s.c.sign(ctx, r, out.at, exec.ReceiptLeaf(r.Number, frame, append([]byte{byte(exec.StatusOK)}, out.value...)))
}

// sign asks replicas for their signatures until f+1 agree, and completes the receipt.
func (c *Client) sign(ctx context.Context, r *receipt.Receipt, at receipt.Name, leaf bft.Digest) error {
	n := len(c.manifest.Members)
	w := &wantedReceipt{at: at, answers: make([]*receipt.Answer, n), news: make(chan struct{}, 1)}
	c.receipts.add(w)
	defer c.receipts.remove(w)
	for pause := receiptPause; ; pause = min(2*pause, receiptPauseMax) {
		missing := c.receipts.missing(w)
		for _, id := range missing {
			c.net.Send(id, receipt.Ask(at))
		}
		again := time.NewTimer(pause)
		for waiting := true; waiting; {
			select {
			case <-w.news:
				if c.complete(r, w, leaf) {
					again.Stop()
					return nil
				}
			case <-again.C:
				waiting = false
			case <-ctx.Done():
				again.Stop()
				return fmt.Errorf("%w: the operation was executed, and %d of %d replicas had signed that when the time was up; %w",
					ErrNoReceipt, n-len(c.receipts.missing(w)), n, ctx.Err())
			case <-c.closing:
				again.Stop()
				return fmt.Errorf("%w: the operation was executed, and the client was closed", ErrNoReceipt)
			}
		}
	}
}

// complete fills in what f+1 replicas have signed alike, if they have.
func (c *Client) complete(r *receipt.Receipt, w *wantedReceipt, leaf bft.Digest) bool {
	answers := c.receipts.answers(w)
	need := bft.WeakQuorum(len(answers))
	for _, a := range answers {
		if a == nil {
			continue
		}
		r.Executed, r.Time, r.Count, r.Path, r.Root = a.Executed, time.Unix(0, int64(a.Time)).UTC(), int(a.Count), a.Path, a.Root
		if !crypto.MerkleVerify(a.Root, leaf, int(w.at.Index), int(a.Count), a.Path) {
			continue // of something else
		}
		r.Signatures = r.Signatures[:0]
		for id, b := range answers {
			if b != nil && b.Executed == a.Executed && b.Time == a.Time && b.Root == a.Root && len(r.Signatures) < need {
				m := &c.manifest.Members[id]
				s := receipt.Signature{Member: m.Name, Key: m.Key.PublicKey, Signature: receipt.HexSignature(b.Signature)}
				// One that does not hold must not take the place of one that does.
				if r.Holds(&s) {
					r.Signatures = append(r.Signatures, s)
				}
			}
		}
		if len(r.Signatures) == need && r.Check(c.manifest) == nil {
			return true
		}
	}
	return false
}

// wantedReceipt is an operation for which signatures are gathered.
type wantedReceipt struct {
	at      receipt.Name
	news    chan struct{}     // of capacity 1: an answer has come
	answers []*receipt.Answer // by replica, guarded by the board's mu
}

// receiptBoard has the operations for which signatures are gathered.
type receiptBoard struct {
	mu     sync.Mutex
	wanted map[receipt.Name]*wantedReceipt
}

func (b *receiptBoard) add(w *wantedReceipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wanted == nil {
		b.wanted = map[receipt.Name]*wantedReceipt{}
	}
	b.wanted[w.at] = w
}

func (b *receiptBoard) remove(w *wantedReceipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.wanted, w.at)
}

// missing are the replicas that have not signed.
func (b *receiptBoard) missing(w *wantedReceipt) (ids []int) {
	for id, a := range b.answers(w) {
		if a == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func (b *receiptBoard) answers(w *wantedReceipt) []*receipt.Answer {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(w.answers)
}

// receive takes an answer. What nobody wants, or cannot be read, is dropped: f+1 others decide.
func (b *receiptBoard) receive(replica int, frame []byte) {
	a, err := receipt.DecodeAnswer(frame)
	if err != nil || !a.Known {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.wanted[a.Name]
	if w == nil || replica >= len(w.answers) {
		return
	}
	w.answers[replica] = a
	select {
	case w.news <- struct{}{}:
	default:
	}
}

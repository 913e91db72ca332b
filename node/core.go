package node

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
)

const (
	// tick is how often the core is told the time when nothing else happens.
	tick = 10 * time.Millisecond
	// inlineSigns is how many signatures the core makes itself in one turn: a hand-over would
	// take as long, and they are needed before anything else can happen.
	inlineSigns = 2
	// executorBacklog is the number of batches waiting to be executed above which clients get Busy.
	executorBacklog = 64
	// checkBatch is how many client signatures are verified before the core hears of them.
	checkBatch = 128
)

// coreLoop is the goroutine of the core: it alone touches replica.
func (n *Node) coreLoop() {
	defer n.running.Done()
	// One channel wakes it, whatever happened: a select of several costs much where turns are short.
	var due atomic.Bool
	ticker := time.AfterFunc(tick, func() {
		due.Store(true)
		n.inbox.nudge()
	})
	defer ticker.Stop()
	defer context.AfterFunc(n.ctx, n.inbox.nudge)()
	var ins []input
	for {
		var done bft.Done
		var any bool
		ins, done, any = n.inbox.take(ins[:0])
		if due.Swap(false) {
			any = true
			n.verifyVotes(n.demand.tick(bft.Seq(n.committed.Load())))
			ticker.Reset(tick)
		}
		if !any {
			<-n.inbox.wake
			if n.ctx.Err() != nil {
				return
			}
			continue
		}
		n.turn(ins, done)
		clear(ins)
		if n.ctx.Err() != nil {
			return
		}
	}
}

// turn gives the core all that waited, then the time, and carries out what it wants done.
func (n *Node) turn(ins []input, done bft.Done) {
	for i := range ins {
		in := &ins[i]
		if in.read != 0 {
			if err := n.replica.Read(in.read); err != nil {
				if w, ok := n.queries.take(in.read); ok {
					n.refuse(w)
				}
			}
			continue
		}
		if err := n.replica.Step(in.msg); err != nil {
			n.metrics.stepErrors.WithLabelValues(errorLabel(err)).Inc()
			if in.from >= 0 && errors.Is(err, bft.ErrInvalid) {
				n.accuse(in.from, err)
			}
		}
	}
	n.replica.Advance(done)
	n.replica.Tick(n.now(), bft.Time(time.Now().UnixNano()))
	for {
		ready, ok := n.replica.Ready()
		if !ok {
			break
		}
		n.dispatch(&ready)
	}
	n.observe()
}

func errorLabel(err error) string {
	for _, e := range []struct {
		err  error
		name string
	}{{bft.ErrInvalid, "invalid"}, {bft.ErrTooOld, "too old"}, {bft.ErrTooNew, "too new"}, {bft.ErrNotRelevant, "not relevant"}, {bft.ErrBusy, "busy"}} {
		if errors.Is(err, e.err) {
			return e.name
		}
	}
	return "other"
}

// dispatch carries out a Ready. The store comes first, for it is what the rest waits for.
func (n *Node) dispatch(r *bft.Ready) {
	// A promise is signed. Records of a Ready that asks for no signature, such as a commit
	// certificate, hold nothing back, and share the fsync of those that do.
	n.store.Append(r.Records, len(r.Sign) > 0)
	for i := range r.Messages {
		if m := &r.Messages[i]; m.To == bft.Everyone {
			n.net.Broadcast(m.Frame)
		} else {
			n.net.Send(int(m.To), m.Frame)
		}
	}
	n.tracer.progress(r.Progress) // before execution looks for them
	n.exec.take(r)
	n.sign(r.Sign)
	n.check(r.Check)
	for _, b := range r.Busy {
		n.metrics.busy.Inc()
		if to, ok := n.routes.take(b.Digest); ok {
			to.conn.Send(bft.BusyFrame(b))
		}
	}
	n.released(r.Reads)
	for _, p := range r.Serve {
		n.disk.serve(p)
	}
	n.disk.prune(r.Stable)
}

// sign makes the signatures of this member.
func (n *Node) sign(reqs []bft.SignRequest) {
	if len(reqs) == 0 {
		return
	}
	n.metrics.signatures.Add(float64(len(reqs)))
	if len(reqs) > inlineSigns || n.signer.len() > 0 {
		n.signer.put(reqs...)
		return
	}
	signed := make([]bft.Signed, len(reqs))
	for i, q := range reqs {
		signed[i] = bft.Signed{ID: q.ID, Signature: n.opts.Key.Sign(q.Message)}
	}
	n.replica.Advance(bft.Done{Signed: signed})
}

// signLoop is the goroutine that makes the signatures of turns with many, such as a new view.
func (n *Node) signLoop() {
	defer n.running.Done()
	for {
		reqs, ok := n.signer.take()
		if !ok {
			return
		}
		for _, q := range reqs {
			s := bft.Signed{ID: q.ID, Signature: n.opts.Key.Sign(q.Message)}
			n.inbox.report(func(d *bft.Done) { d.Signed = append(d.Signed, s) })
		}
	}
}

// check has the client signatures of bundles verified; a single one at once, as with sign.
func (n *Node) check(bundles []*bft.Bundle) {
	switch {
	case len(bundles) == 0:
	case len(bundles) == 1 && n.checks.len() == 0:
		n.replica.Advance(bft.Done{Checked: n.checked(bundles)})
	default:
		n.checks.put(bundles...)
	}
}

// checkLoop is the goroutine that verifies client signatures, all that wait in few batches.
func (n *Node) checkLoop() {
	defer n.running.Done()
	for {
		bundles, ok := n.checks.take()
		if !ok {
			return
		}
		for len(bundles) > 0 {
			k := min(len(bundles), checkBatch)
			verdicts := n.checked(bundles[:k])
			bundles = bundles[k:]
			n.inbox.report(func(d *bft.Done) { d.Checked = append(d.Checked, verdicts...) })
		}
	}
}

// checked verifies the client signatures of bundles.
func (n *Node) checked(bundles []*bft.Bundle) []bft.Checked {
	claims := make([]crypto.Claim, len(bundles))
	for i, b := range bundles {
		claims[i] = crypto.Claim{Key: b.Client, Msg: bft.RequestSigningBytes(n.opts.Core.Cluster, b.Payload), Sig: b.Signature}
	}
	out := make([]bft.Checked, len(bundles))
	for i, ok := range n.clientKeys.VerifyBatch(claims) {
		// A key of small order signs anything (rule 23).
		out[i] = bft.Checked{Digest: bundles[i].Digest, Valid: ok && n.clientKeys.CheckKey(bundles[i].Client) == nil}
	}
	n.metrics.checks.Add(float64(len(bundles)))
	n.tracer.verified(bundles)
	n.forged(bundles, out)
	return out
}

// observe publishes what other goroutines need to know of the core.
func (n *Node) observe() {
	info := n.replica.Info()
	if last := n.info.Swap(&info); last != nil {
		n.tellViews(last, &info)
	}
	n.committed.Store(uint64(info.Committed))
	n.view.Store(uint64(info.View))
	n.beat.Store(int64(n.now()))
	behind := n.store.Full()
	n.behind.Store(behind)
	n.overloaded.Store(behind || n.exec.backlog.Load() > executorBacklog)
}

// tellViews logs what happened to the view since the last turn.
func (n *Node) tellViews(last, now *bft.Info) {
	if now.Suspicion != last.Suspicion || now.Suspected != last.Suspected {
		log.Warnf("suspects %s, the primary of view %d: %v", n.opts.Names[bft.Primary(now.Suspected, len(n.opts.Names))], now.Suspected, now.Suspicion)
	}
	if now.View != last.View && now.Changing {
		log.Infof("changes to view %d", now.View)
	}
	if !now.Changing && (now.View != last.View || last.Changing) {
		log.Infof("view %d, its primary is %s", now.View, n.opts.Names[now.Primary])
	}
}

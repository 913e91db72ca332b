package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/receipt"
)

// Once has operations executed once even if they are invoked again, by this client or by others with the same key, also
// after a restart: those with the same name, service and bytes, until that time. Each is ordered in a session of its own, whose
// nonce they are, and the replicas remember that session until then: a repetition gets the result of the first. Later it
// is a new operation, unless its own time says that it comes too late: then it ends in ErrSessionExpired.
//
// Names are drawn at random by whoever may have to repeat an operation. The time is at most half of the cluster's
// protocol.session_ahead away, and each such operation takes one of the key's protocol.openings_per_client until then.
// It is for Invoke and InvokeReceipt, and for the semantics ExactlyOnce.
func Once(name string, until time.Time) CallOption {
	return func(o *callOptions) { o.once = &once{name, until} }
}

type once struct {
	name  string
	until time.Time
}

// MaxOnce bounds the operations by Once of a client that have not ended.
const MaxOnce = 1024

// apart is a session of its own for one operation, with those calls that wait for its result: all with the same operation.
type apart struct {
	nonce bft.Nonce
	core  *bft.Client
	first bft.CallID // that which the core knows; it may have ended
	ids   []bft.CallID
	// clock is the one that the core is told, always the same: its session must be opened until a time that the caller chose.
	clock bft.Time
}

// noted is what became of an operation, and where it was executed.
type noted struct {
	value []byte
	at    receipt.Name
	err   error
}

// invokeNoted invokes a framed operation.
func (s *Service) invokeNoted(ctx context.Context, frame []byte) (noted, error) {
	r := request{op: frame, consistency: write, opts: s.opts.of(ctx, write), once: s.opts.once}
	ended := make(chan noted, 1)
	id, err := s.c.enter(r, func(value []byte, err error) { ended <- noted{bytes.Clone(value), s.c.at, err} })
	if err != nil {
		return noted{}, err
	}
	var out noted
	var why error
	select {
	case out = <-ended:
	case <-ctx.Done():
		s.c.cancel(id)
		out, why = <-ended, ctx.Err()
	}
	if out.err != nil {
		return noted{}, s.c.explain(out.err, why)
	}
	return out, nil
}

// checkOnce refuses what Once is not for.
func (o *callOptions) checkOnce() error {
	if o.once != nil && o.semantics != ExactlyOnce {
		return errors.New("client: Once is for operations that are executed exactly once")
	}
	return nil
}

// beginApart begins an operation in a session of its own, or has the call wait for the one that is under way.
func (c *Client) beginApart(r *request) error {
	until, ahead := r.once.until, time.Duration(c.manifest.Protocol.SessionAhead)/2
	switch now := time.Now(); {
	case until.Before(now):
		// It may have been executed when it was invoked before.
		return &bft.CallError{Kind: ErrSessionExpired, Outcome: ErrOutcomeUnknown, Text: "the time until which it is executed once has passed"}
	case until.After(now.Add(ahead)):
		return &bft.CallError{Kind: ErrRejected, Text: fmt.Sprintf("executed once for more than %v", ahead)}
	}
	seed := [32]byte(crypto.Hash("baluarte/once", []byte(r.once.name), r.op))
	nonce := bft.SessionNonce(seed, 0)
	if a := c.aparts[nonce]; a != nil {
		a.ids = append(a.ids, r.id)
		return nil
	}
	if len(c.aparts) >= MaxOnce {
		return &bft.CallError{Kind: ErrOverloaded, Outcome: ErrNotSubmitted, Text: fmt.Sprintf("%d operations that are executed once are outstanding in this client", MaxOnce)}
	}
	cfg := c.cfg
	cfg.Ephemeral, cfg.Seed, cfg.OpenWithin = true, seed, bft.Second
	core, err := bft.NewClient(cfg)
	if err != nil {
		return err
	}
	for id, up := range c.net.Connected() {
		if !up {
			core.ReplicaDown(bft.ReplicaID(id))
		}
	}
	a := &apart{nonce: nonce, core: core, first: r.id, ids: []bft.CallID{r.id}, clock: bft.Time(until.UnixNano()) - cfg.OpenWithin}
	core.Tick(c.now(), a.clock)
	if err := core.Invoke(r.id, r.op, r.opts); err != nil {
		return err
	}
	if c.aparts == nil {
		c.aparts = map[bft.Nonce]*apart{}
	}
	c.aparts[nonce] = a
	return nil
}

// stepApart gives a frame to the session that it is for, if it is for one of these.
func (c *Client) stepApart(from bft.ReplicaID, frame []byte) bool {
	if len(c.aparts) == 0 || len(frame) == 0 {
		return false
	}
	var nonce bft.Nonce
	switch bft.MessageType(frame[0]) {
	case bft.TypeReply:
		r, err := bft.DecodeReply(frame)
		if err != nil || !r.Opening {
			return false
		}
		nonce = r.Nonce
	case bft.TypeBusy:
		b, err := bft.DecodeBusy(frame)
		if err != nil || !b.Opening {
			return false
		}
		nonce = b.Nonce
	default:
		return false
	}
	a := c.aparts[nonce]
	if a == nil {
		return false
	}
	_ = a.core.Step(from, frame) // an error accuses the replica: f+1 others decide
	return true
}

// endApart gives all calls of a session its outcome.
func (c *Client) endApart(a *apart, r *bft.CallResult, freed []uint32) []uint32 {
	delete(c.aparts, a.nonce)
	for _, id := range a.ids {
		c.finish(id, r.Value, r.Err)
		freed = append(freed, slotOf(id))
	}
	return freed
}

var errLeft = &bft.CallError{Kind: ErrOutcomeUnknown, Text: "no f+1 replicas answered alike in time"}

// tellAparts tells them whether a replica can be reached.
func (c *Client) tellAparts(u upDown) {
	for _, a := range c.aparts {
		if u.up {
			a.core.ReplicaUp(u.replica)
		} else {
			a.core.ReplicaDown(u.replica)
		}
	}
}

// cancelCall ends a call, in whichever session it is. One of its own ends with its last call.
func (c *Client) cancelCall(id bft.CallID) {
	if c.core.Cancel(id) {
		return
	}
	for _, a := range c.aparts {
		i := slices.Index(a.ids, id)
		switch {
		case i < 0:
			continue
		case len(a.ids) > 1:
			a.ids = slices.Delete(a.ids, i, i+1)
			c.finish(id, nil, errLeft)
			c.release([]uint32{slotOf(id)})
		default:
			a.core.Cancel(a.first)
		}
		return
	}
}

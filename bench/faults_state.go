package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/crypto"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/config"
	"github.com/baluarte-bft/baluarte/node/transport"
)

const (
	// agreeTimeout bounds the wait until all replicas, restarted ones too, hold the same state.
	agreeTimeout = 60 * time.Second
	// askEvery is how often they are asked.
	askEvery = 50 * time.Millisecond
)

// witness asks each replica for its own state. A client asks for what a quorum says alike, which hides the one
// that differs.
type witness struct {
	manifest *config.Manifest
	net      *transport.Client

	mu     sync.Mutex
	states []FaultReplica
	round  uint64
}

func newWitness(m *config.Manifest) (*witness, error) {
	key, err := crypto.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	w := &witness{manifest: m, states: make([]FaultReplica, len(m.Members))}
	members := make([]transport.Member, len(m.Members))
	for i, x := range m.Members {
		w.states[i].Name = x.Name
		members[i] = transport.Member{Key: x.Key.PublicKey, Addrs: x.Addresses}
	}
	// A replica that was down is found again soon.
	w.net, err = transport.Dial(transport.ClientConfig{Key: key, Cluster: m.ID(), Members: members, Receive: w.receive,
		Limits: transport.Limits{ReconnectMax: 200 * time.Millisecond, MaxFrameBytes: bft.MaxFrameBytes, ClientQueueBytes: 2 * bft.MaxFrameBytes}})
	return w, err
}

// receive notes the answer of one replica. What it cannot read counts as none.
func (w *witness) receive(replica int, frame []byte) {
	a, err := bft.DecodeAnswer(frame)
	if err != nil || a.Refused() || len(a.Results) != 1 {
		return
	}
	r := a.Results[0]
	if len(r) == 0 || bft.ResultStatus(r[0]) != bft.ResultOK {
		return
	}
	value, err := counter.DecodeValue(r[1:])
	if err != nil || value < 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.ID != w.round {
		return // of an earlier question
	}
	s := &w.states[replica]
	s.Answered, s.Executed, s.Counter = true, uint64(a.Executed), uint64(value)
}

// ask asks all replicas anew.
func (w *witness) ask() {
	w.mu.Lock()
	w.round++
	for i := range w.states {
		w.states[i] = FaultReplica{Name: w.states[i].Name}
	}
	frame := bft.QueryFrame(&bft.Query{ID: w.round, Consistency: bft.Stale, Replier: bft.Everyone,
		Ops: [][]byte{exec.EncodeOp(Counter, true, counter.Get())}})
	w.mu.Unlock()
	for i := range w.states {
		w.net.Send(i, frame) // one that is not connected is asked again
	}
}

// alike tells whether all have answered the same.
func (w *witness) alike() ([]FaultReplica, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	states := append([]FaultReplica(nil), w.states...)
	return states, agree(states)
}

// agree tells whether all replicas have answered, and with the same state.
func agree(states []FaultReplica) bool {
	for _, s := range states {
		if !s.Answered || s.Executed != states[0].Executed || s.Counter != states[0].Counter {
			return false
		}
	}
	return len(states) > 0
}

// await waits until all replicas hold the same state, for at most agreeTimeout, and returns what they
// said last. The error is that of ctx.
func (w *witness) await(ctx context.Context) (states []FaultReplica, alike bool, err error) {
	give := time.After(agreeTimeout)
	for {
		w.ask()
		select {
		case <-time.After(askEvery):
		case <-give:
			states, alike = w.alike()
			return states, alike, nil
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		if states, alike = w.alike(); alike {
			return states, true, nil
		}
	}
}

func (w *witness) close() { w.net.Close() }

// readCounter is what a quorum says that the counter is.
func readCounter(ctx context.Context, r *run) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, agreeTimeout)
	defer cancel()
	c, err := r.dialOne(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the counter after the load: %w", err)
	}
	defer c.Close()
	result, err := c.Service(Counter).Query(ctx, counter.Get(), consistencies[ReadLinearizable])
	if err != nil {
		return 0, fmt.Errorf("reading the counter after the load: %w", err)
	}
	value, err := counter.DecodeValue(result)
	if err != nil || value < 0 {
		return 0, fmt.Errorf("reading the counter after the load: it is %q", result)
	}
	return uint64(value), nil
}

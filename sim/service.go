package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/anishathalye/porcupine"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
)

// ownService is the name under which a run hosts a Service. The adversary's clients call kv, which is hosted beside it.
const ownService = "service"

// Service is a service under test, in place of the simulator's own. Package simtest makes one of what the
// programmer of a service gives it.
type Service struct {
	// New makes the service of a replica that starts, empty.
	New func(p Place) (exec.StateMachine, error)
	// Passive: what New makes is an exec.Updater.
	Passive bool
	// Next draws what a client, from 0, calls next: an operation, or a question if read is set.
	Next func(r *rand.Rand, client int, read bool) []byte
	// Reads tells whether Next draws questions; without them all calls are operations.
	Reads bool
	// Ended is told of each call of an honest client that ended with a result, and of those that the service
	// refused. An error says that it should not have ended so, and breaks the oracle RESULT.
	Ended func(c *Call) error
	// Model, if set, is what the history of calls is linearizable to. An input is a Call without its Result,
	// an output the []byte of the Result, nil if it is not known.
	Model *porcupine.Model
}

// Place is where a service runs: one replica, from its start until it crashes.
type Place struct {
	Replica bft.ReplicaID
	// Honest tells whether the replica follows the protocol and its records are in order; Sound tells, of the others
	// too, whether its operations are those that were ordered.
	Honest, Sound func() bool
	// Executed is the number of the batch that is being executed, or was the last.
	Executed func() bft.Seq
	// Fail ends the run: an oracle broke.
	Fail func(oracle, format string, args ...any)
}

// Call is one call of an honest client.
type Call struct {
	Client int
	Op     []byte
	Read   bool
	Result []byte
	// Err is an error of Query, or that Validate refused the operation; the call then has no result.
	Err error
}

// DrawService chooses the options of a seed for a service under test, as Draw does, but with few replicas most of the
// time, fewer numbers and more checkpoints: what a service can do wrong shows among four replicas as well as
// among ten, and the runs are shorter.
func DrawService(seed uint64, s *Service) Options {
	o := Options{Seed: seed, Signatures: "fast", Service: s}
	drawProtocol(&o)
	r := stream(seed, "service options")
	o.Protocol.N = 4
	if chance(r, 10) {
		o.Protocol.N = 5 + r.IntN(3)
	}
	o.Protocol.Interval = pick(r, bft.Seq(4), 8, 8, 16)
	o.Protocol.Window = o.Protocol.Interval * pick(r, bft.Seq(2), 3, 4)
	drawMachines(&o)
	o.Load = drawLoad(seed, o.Heal)
	o.Load.Sequences /= 2
	drawAdversary(&o)
	o.Load.Service = ownService
	o.Signatures = "fast"
	o.Faults = drawFaults(&o)
	o.outages()
	return o
}

// place is where an executor's service runs.
func (x *executor) place() Place {
	h := x.h
	return Place{Replica: h.id, Honest: h.honest, Sound: func() bool { return !h.rotten }, Fail: h.w.verdict.fail,
		Executed: func() bft.Seq {
			if x.machine == nil {
				return 0
			}
			return x.machine.Executed()
		}}
}

// These are services of which only the parts that every service has were wrapped.
type (
	validated struct {
		exec.StateMachine
		exec.Validator
	}
	updated struct {
		exec.StateMachine
		exec.Updater
	}
	validatedUpdated struct {
		exec.StateMachine
		exec.Validator
		exec.Updater
	}
)

// dressed gives a wrapped service what the one within has besides, as far as it has none of its own.
func dressed(wrapped, within exec.StateMachine) exec.StateMachine {
	v, validates := within.(exec.Validator)
	if own, ok := wrapped.(exec.Validator); ok {
		v, validates = own, true
	}
	u, updates := within.(exec.Updater)
	if own, ok := wrapped.(exec.Updater); ok {
		u, updates = own, true
	}
	switch {
	case validates && updates:
		return validatedUpdated{wrapped, v, u}
	case updates:
		return updated{wrapped, u}
	case validates:
		return validated{wrapped, v}
	}
	return wrapped
}

// ownCall draws a call of a Service: of the reads a part is ordered, a part is not.
func (l *load) ownCall(how way, read bool) (input, way) {
	if !read || !l.service.Reads {
		return input{kind: opOwn, value: string(l.service.Next(l.r, l.client, false))}, ordered
	}
	return l.ownRead(), how
}

// ownRead draws a question to a Service.
func (l *load) ownRead() input {
	return input{kind: opAsk, value: string(l.service.Next(l.r, l.client, true))}
}

// ownEnded tells the Service of a call that ended, and tells whether it has a result that the history can use.
func (c *clientHost) ownEnded(x *ongoing, r *bft.CallResult) bool {
	refused := errors.Is(r.Err, bft.ErrRejected) && x.in.kind == opOwn || errors.Is(r.Err, bft.ErrReadFailed) && x.in.kind == opAsk
	if r.Err != nil && !refused {
		return true // what became of it is not known
	}
	call := Call{Client: c.id, Op: []byte(x.in.value), Read: x.in.kind == opAsk, Result: r.Value, Err: r.Err}
	if err := c.w.opts.Service.Ended(&call); err != nil {
		c.w.verdict.fail("RESULT", "client %d: %s: %v", c.id, describeCall(x.in, output{value: string(r.Value)}), err)
	}
	if refused {
		c.w.count(x, c.w.q.now)
	}
	return !refused
}

// lastCalls are what a client does when disks were lost.
func (c *clientHost) lastCalls() []input {
	var todo []input
	switch o := &c.w.opts; o.Load.Service {
	case ownService:
		for range 4 {
			in, _ := c.load.ownCall(ordered, chance(c.load.r, 50))
			todo = append(todo, in)
		}
	case "counter", passiveCounter:
		todo = append(todo, input{kind: opNumber})
	default:
		for k := range o.Load.Keys {
			todo = append(todo, input{kind: opGet, key: fmt.Sprint("k", k)})
		}
	}
	return todo
}

// ownOperations are the calls of a Service as its model sees them.
func (h *history) ownOperations() []porcupine.Operation {
	var ops []porcupine.Operation
	for i := range h.calls {
		c := &h.calls[i]
		op := porcupine.Operation{ClientId: c.client, Call: int64(c.from), Return: int64(c.till),
			Input: Call{Client: c.client, Op: []byte(c.in.value), Read: c.in.kind == opAsk}}
		if c.out == nil {
			op.Return = openEnded
		} else {
			op.Output = []byte(c.out.value)
		}
		ops = append(ops, op)
	}
	return ops
}

// checkOwn is oracle S5 for a Service with a model.
func (h *history) checkOwn(model *porcupine.Model) (err error, unknown bool) {
	if model == nil {
		return nil, false
	}
	ops := h.ownOperations()
	switch porcupine.CheckOperationsTimeout(*model, ops, unknownAfter) {
	case porcupine.Illegal:
		return fmt.Errorf("what the clients were told is not what the model says:%s", explain(*model, ops)), false
	case porcupine.Unknown:
		return nil, true
	}
	return nil, false
}

// describeOwn prints a call of a service under test.
func describeOwn(i *input, o output, known bool) string {
	verb, result := "apply", "?"
	if i.kind == opAsk {
		verb = "query"
	}
	if known {
		result = quoteOwn(o.value)
	}
	return fmt.Sprintf("%s %s → %s", verb, quoteOwn(i.value), result)
}

// quoteOwn prints an operation or a result for a reader.
func quoteOwn(s string) string {
	if s == "" {
		return `""`
	}
	return blob([]byte(s))
}

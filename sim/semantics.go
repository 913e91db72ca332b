package sim

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/bftpb"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/sim/wire"
)

// Semantics are the shares of call semantics among the puts and additions of honest clients, in percent. What is left
// is called exactly once, as are all other operations. If all are 0 executions are not counted.
type Semantics struct {
	AtMostOnce  int `json:"at_most_once_percent,omitempty"`
	AtLeastOnce int `json:"at_least_once_percent,omitempty"`
	Maybe       int `json:"maybe_percent,omitempty"`
}

// mixed tells whether calls have different semantics.
func (s *Semantics) mixed() bool { return *s != Semantics{} }

// draw draws the semantics of a call.
func (s *Semantics) draw(r *rand.Rand) bft.Semantics {
	switch d := r.IntN(100); {
	case d < s.AtMostOnce:
		return bft.AtMostOnce
	case d < s.AtMostOnce+s.AtLeastOnce:
		return bft.AtLeastOnce
	case d < s.AtMostOnce+s.AtLeastOnce+s.Maybe:
		return bft.Maybe
	}
	return bft.ExactlyOnce
}

// drawSemantics chooses them for one seed of four, with messages of clients lost, for it takes f+1 of these to lose a reply,
// and perhaps with a client that crashes. Each operation that is executed again may be ordered anywhere after
// its call, which makes histories hard to check: so there are few of them.
func drawSemantics(o *Options) {
	r := stream(o.Seed, "calls options")
	if !chance(r, 25) {
		return
	}
	o.Load.Semantics = Semantics{AtMostOnce: pick(r, 10, 30), AtLeastOnce: pick(r, 5, 15), Maybe: pick(r, 10, 30)}
	o.Network.ClientLoss, o.Load.Crashes = pick(r, 20, 40, 60), r.IntN(2)
}

// counted tells whether the executions of a call are counted: its operation must be of no other call.
func (i *input) counted() bool { return i.kind == opPut || i.kind == opAdd }

// choose draws the semantics of a call, and makes its operation one that no other call has.
func (l *load) choose(in *input) {
	if l.calls == nil || !in.counted() {
		return
	}
	in.semantics = l.opts.Semantics.draw(l.calls)
	if in.kind == opAdd {
		in.n += 1000 * int64(l.opts.Clients*l.count+l.client)
	}
}

// callDeadline draws when a call is given up, beside those for which deadlineOf has drawn it: of those that are executed
// at most once most have one, for it ends their execution too.
func (l *load) callDeadline(in *input, now, timeout bft.Time) bft.Time {
	if in.semantics != bft.AtMostOnce || !chance(l.calls, 75) {
		return 0
	}
	return now + between(l.calls, timeout/10, 2*timeout)
}

// expiryStep is what the end of at-most-once operations in agreed time is rounded up to, as docs/calls.md says.
const expiryStep = 100 * bft.Millisecond

// tally counts how often the operation of each call is executed, and holds that to what the semantics of the call
// promise: oracle C1.
type tally struct {
	*verdict
	of map[string]*tallied // by what the service gets
}

// tallied is a call whose executions are counted.
type tallied struct {
	client   int
	in       input
	from     bft.Time
	expires  bft.Time // in agreed time; 0: never
	executed int
	sent     map[bft.ReplicaID]bool // of Maybe, to whom it was sent
	outcome  outcome
}

// outcome is what the caller knows.
type outcome int

const (
	callOpen outcome = iota
	callAnswered
	callUnknown
	callNever // not executed, and never will be
)

func newTally(v *verdict) *tally { return &tally{v, make(map[string]*tallied)} }

func (x *tallied) String() string {
	return fmt.Sprintf("client %d: %s, %v", x.client, describeCall(x.in, nil), x.in.semantics)
}

// begin notes a call, made at now with a deadline or 0.
func (t *tally) begin(client int, in input, now, deadline bft.Time) {
	x := &tallied{client: client, in: in, from: now}
	if in.semantics == bft.AtMostOnce && deadline != 0 {
		x.expires = epochStart + (deadline+expiryStep-1)/expiryStep*expiryStep
	}
	t.of[string(in.payload())] = x
}

// executed counts an execution, the first by an honest replica of that number of that session.
func (t *tally) executed(id bft.ReplicaID, ctx *exec.Context, op []byte) {
	x := t.of[string(op)]
	if x == nil {
		return
	}
	x.executed++
	switch late := ctx.Nanos() - x.expires; {
	case x.executed > 1 && x.in.semantics != bft.AtLeastOnce:
		t.fail("C1", "%v: executed a second time, at number %d by replica %d", x, ctx.Seq, id)
	case x.expires != 0 && late > 0:
		t.fail("C1", "%v: executed at number %d by replica %d, %v after its deadline in agreed time", x, ctx.Seq, id, Duration(late))
	case x.outcome == callNever:
		t.fail("C1", "%v: executed at number %d by replica %d, and its caller was told that it never would be", x, ctx.Seq, id)
	}
}

// ended notes what the caller was told.
func (t *tally) ended(in *input, err error) {
	x := t.of[string(in.payload())]
	if x == nil {
		return
	}
	switch {
	case err == nil:
		if x.outcome = callAnswered; x.executed == 0 {
			t.fail("C1", "%v: answered, and never executed", x)
		}
	case errors.Is(err, bft.ErrNotSubmitted) || errors.Is(err, bft.ErrRejected):
		if x.outcome = callNever; x.executed > 0 {
			t.fail("C1", "%v: executed, and its caller is told that it never will be: %v", x, err)
		}
	default:
		x.outcome = callUnknown
	}
}

// left notes a frame that a client sends: nothing of a Maybe may go to a replica twice.
func (t *tally) left(n int, m *bft.Outbound) {
	var r bftpb.Request
	if wire.Read(bft.TypeRequest, m.Frame, &r) != nil {
		return
	}
	b, err := bft.DecodeBundle(r.Payload, bft.Bundle{}.Signature, bft.WindowOps, len(r.Payload))
	if err != nil {
		return
	}
	for _, framed := range b.Ops {
		op, err := exec.DecodeOp(framed)
		x := t.of[string(op.Payload)]
		if err != nil || x == nil || x.in.semantics != bft.Maybe {
			continue
		}
		if x.sent == nil {
			x.sent = make(map[bft.ReplicaID]bool)
		}
		for to := range bft.ReplicaID(n) {
			if m.To != bft.Everyone && m.To != to {
				continue
			}
			if x.sent[to] {
				t.fail("C1", "%v: sent to replica %d again", x, to)
			}
			x.sent[to] = true
		}
	}
}

// all are the calls, in the order in which they were made.
func (t *tally) all() []*tallied {
	var out []*tallied
	for _, x := range t.of {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *tallied) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.client, b.client), strings.Compare(string(a.in.payload()), string(b.in.payload())))
	})
	return out
}

// complete adds to the history what no entry of it stands for: the executions of a call beyond its first.
func (t *tally) complete(h *history) {
	for _, x := range t.all() {
		for range max(0, x.executed-1) {
			h.calls = append(h.calls, call{client: x.client, in: x.in, from: x.from, till: x.from})
		}
	}
}

// Calls counts the calls of one semantics whose executions are counted.
type Calls struct {
	Semantics string `json:"semantics"`
	Calls     int    `json:"calls"`
	// Answered had a result; of Unknown the caller does not know whether they were executed; Never were not and never
	// will be, and their callers know that. The clients of the others crashed.
	Answered int `json:"answered"`
	Unknown  int `json:"outcome_unknown"`
	Never    int `json:"told_never"`
	// Executions are all that there were. Once and More are the calls with one and with several, the others have none.
	Executions int `json:"executions"`
	Once       int `json:"executed_once"`
	More       int `json:"executed_more_than_once"`
}

// add adds the counts of another run.
func (c *Calls) add(x *Calls) {
	c.Calls, c.Answered, c.Unknown, c.Never = c.Calls+x.Calls, c.Answered+x.Answered, c.Unknown+x.Unknown, c.Never+x.Never
	c.Executions, c.Once, c.More = c.Executions+x.Executions, c.Once+x.Once, c.More+x.More
}

// String tells the counts in a line.
func (c *Calls) String() string {
	return fmt.Sprintf("%s: %d, of which executed once %d, more often %d; answered %d, unknown %d, told never %d", c.Semantics, c.Calls, c.Once, c.More, c.Answered, c.Unknown, c.Never)
}

// calls are the counts of each semantics, in the order of bft.Semantics.
func (t *tally) calls() []Calls {
	if t == nil {
		return nil
	}
	out := make([]Calls, bft.Maybe+1)
	for i := range out {
		out[i].Semantics = bft.Semantics(i).String()
	}
	for _, x := range t.of {
		c := &out[x.in.semantics]
		c.Calls++
		c.Executions += x.executed
		for _, n := range []struct {
			of *int
			is bool
		}{{&c.Answered, x.outcome == callAnswered}, {&c.Unknown, x.outcome == callUnknown}, {&c.Never, x.outcome == callNever},
			{&c.Once, x.executed == 1}, {&c.More, x.executed > 1}} {
			if n.is {
				*n.of++
			}
		}
	}
	return out
}

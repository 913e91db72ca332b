package sim

import (
	"fmt"
	"math/rand/v2"

	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/bft/exec"
	"github.com/baluarte-bft/baluarte/node/app/counter"
	"github.com/baluarte-bft/baluarte/node/app/kv"
)

// load draws what one client does.
type load struct {
	opts   Load
	r      *rand.Rand
	client int
	prefix string // of the keys
	count  int
	// seen are the values that the client last read or wrote, by key, to swap from.
	seen map[string]string
	// service is the one under test, if there is one.
	service *Service
	// calls draws the semantics of calls, if they differ.
	calls *rand.Rand
}

// way is how a call travels.
type way int

const (
	ordered way = iota
	linearizable
	stale
)

// newLoad makes the load of a client. Bad ones stay away from what the others read and write,
// for nobody knows which of their operations are executed.
func newLoad(o *Options, client int, bad bool) *load {
	l := &load{opts: o.Load, r: stream(o.Seed, fmt.Sprint("load ", client)), client: client, prefix: "k", seen: make(map[string]string),
		service: o.Service}
	if bad {
		l.opts.Service, l.prefix = "kv", "bad"
	} else if l.opts.Semantics.mixed() {
		l.calls = stream(o.Seed, fmt.Sprint("semantics ", client))
	}
	return l
}

// next draws a call.
func (l *load) next() (input, way) {
	l.count++
	draw := l.r.IntN(100)
	how, read := ordered, true
	switch o := &l.opts; {
	case draw < o.Linearizable:
		how = linearizable
	case draw < o.Linearizable+o.Stale:
		how = stale
	case draw < o.Linearizable+o.Stale+o.Ordered:
	default:
		read = false
	}
	switch l.opts.Service {
	case ownService:
		return l.ownCall(how, read)
	case "counter", passiveCounter:
		switch {
		case read:
			return input{kind: opNumber}, how
		case chance(l.r, 10):
			return input{kind: opNegate}, ordered
		}
		return input{kind: opAdd, n: 1 + l.r.Int64N(1000)}, ordered
	}
	in := input{kind: opGet, key: fmt.Sprint(l.prefix, l.r.IntN(l.opts.Keys))}
	if read {
		return in, how
	}
	in.value = fmt.Sprintf("c%d.%d", l.client, l.count)
	switch draw := l.r.IntN(100); {
	case draw < 10:
		in.kind, in.value = opDelete, ""
	case draw < 35:
		in.kind, in.old = opSwap, l.seen[in.key]
	default:
		in.kind = opPut
	}
	return in, ordered
}

// reads tells whether the operation changes nothing.
func (i *input) reads() bool { return i.kind == opGet || i.kind == opNumber || i.kind == opAsk }

// encode makes the operation that leaves the client.
func (i *input) encode() []byte {
	service, read := "kv", false
	switch i.kind {
	case opOwn, opAsk:
		service, read = ownService, i.kind == opAsk
	case opGet:
		read = true
	case opAdd, opNegate:
		service = "counter"
	case opNumber:
		service, read = "counter", true
	}
	return exec.EncodeOp(service, read, i.payload())
}

// payload is what the service gets of the operation.
func (i *input) payload() []byte {
	switch i.kind {
	case opOwn, opAsk:
		return []byte(i.value)
	case opPut:
		return kv.Put([]byte(i.key), []byte(i.value))
	case opGet:
		return kv.Get([]byte(i.key))
	case opDelete:
		return kv.Delete([]byte(i.key))
	case opSwap:
		if i.old == "" {
			return kv.Create([]byte(i.key), []byte(i.value))
		}
		return kv.CompareAndSet([]byte(i.key), []byte(i.old), []byte(i.value))
	case opAdd:
		return counter.Add(i.n)
	case opNegate:
		return counter.Mul(-1)
	}
	return counter.Get()
}

// decode reads the result. What the service can never say is an error.
func (l *load) decode(i *input, result []byte) (*output, error) {
	switch i.kind {
	case opOwn, opAsk:
		return &output{value: string(result)}, nil
	case opGet:
		v, err := kv.DecodeGet(result)
		if err != nil && err != kv.ErrNotFound {
			return nil, err
		}
		l.seen[i.key] = string(v)
		return &output{value: string(v), found: err == nil}, nil
	case opPut:
		_, err := kv.DecodeDone(result)
		l.seen[i.key] = i.value
		return &output{}, err
	case opDelete:
		_, err := kv.DecodeDone(result)
		if err != nil && err != kv.ErrNotFound {
			return nil, err
		}
		l.seen[i.key] = ""
		return &output{found: err == nil}, nil
	case opSwap:
		current, err := kv.DecodeDone(result)
		switch err {
		case nil:
			l.seen[i.key] = i.value
			return &output{done: true}, nil
		case kv.ErrCompareFailed:
			l.seen[i.key] = string(current)
			return &output{value: string(current), found: true}, nil
		case kv.ErrNotFound:
			l.seen[i.key] = ""
			return &output{}, nil
		}
		return nil, err
	}
	n, err := counter.DecodeValue(result)
	return &output{n: n}, err
}

// checkStale checks a stale read: some honest replica must have been in that state, so what it
// says must have been written, or be the result of something that was.
func (w *world) checkStale(i *input, out *output) {
	switch {
	case i.kind == opGet && out.found && !w.written[i.key+" "+out.value]:
		w.verdict.fail("S5", "a stale read of %s says %q, which nobody wrote", i.key, out.value)
	case i.kind == opNumber && out.n != 0 && !w.order.values[fmt.Sprint(out.n)]:
		w.verdict.fail("S5", "a stale read of the counter says %d, at which it never stood", out.n)
	}
}

// deadlineOf draws when a call is given up, 0 for never: most callers wait.
func (l *load) deadlineOf(now, timeout bft.Time) bft.Time {
	if !chance(l.r, 4) {
		return 0
	}
	return now + between(l.r, timeout/10, 2*timeout)
}

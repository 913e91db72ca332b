package sim

import (
	"bytes"
	"fmt"
	"math"
	"sort"
	"strconv"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/baluarte-bft/baluarte/bft"
)

// opKind is what a call does.
type opKind int

const (
	opPut opKind = iota
	opGet
	opDelete
	opSwap
	opAdd
	opNegate
	opNumber
	opOwn // of a service under test
	opAsk
)

// input is a call as the models see it. An empty string stands for no value.
type input struct {
	kind       opKind
	key        string
	value, old string
	n          int64
	semantics  bft.Semantics
}

// output is what the call ended with; nil stands for any outcome, also that of never having happened.
type output struct {
	value string // read, or found instead of the one that was expected
	found bool   // there was a value
	done  bool   // the swap was made
	n     int64
}

// call is one entry of the history that clients see.
type call struct {
	client     int
	in         input
	from, till bft.Time
	out        *output // nil: unknown
}

// history is what the clients called and what they were told: oracle S5.
type history struct {
	calls []call
	// picture is a page that shows why the history is not linearizable.
	picture []byte
}

// openEnded is the time at which a call without an outcome is taken to end.
const openEnded = math.MaxInt64

// check tells whether the history is linearizable. It gives up after a time of the wall clock,
// and then takes it to be: the second result tells that.
func (h *history) check(within time.Duration) (err error, unknown bool) {
	byKey := make(map[string][]porcupine.Operation)
	for i := range h.calls {
		c := &h.calls[i]
		op := porcupine.Operation{ClientId: c.client, Input: c.in, Call: int64(c.from), Return: int64(c.till)}
		if c.out == nil {
			op.Return = openEnded
		} else {
			op.Output = *c.out
		}
		byKey[c.in.key] = append(byKey[c.in.key], op)
	}
	keys := make([]string, 0, len(byKey))
	for k := range byKey {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		model := keyModel
		if k == "" {
			model = counterModel
		}
		switch porcupine.CheckOperationsTimeout(model, byKey[k], within) {
		case porcupine.Illegal:
			h.draw(model, byKey[k], within)
			return fmt.Errorf("the calls on %s are not linearizable:%s", nameOf(k), explain(model, byKey[k])), false
		case porcupine.Unknown:
			unknown = true
		}
	}
	return nil, unknown
}

// draw makes the picture of a history that is not linearizable: the longest parts of it that are.
func (h *history) draw(model porcupine.Model, ops []porcupine.Operation, within time.Duration) {
	_, info := porcupine.CheckOperationsVerbose(model, ops, within)
	var page bytes.Buffer
	if porcupine.Visualize(model, info, &page) == nil {
		h.picture = page.Bytes()
	}
}

func nameOf(key string) string {
	if key == "" {
		return "the counter"
	}
	return "key " + strconv.Quote(key)
}

// explain lists the shortest prefix of the history, by end, that is not linearizable: its last
// call is the one that cannot be explained.
func explain(model porcupine.Model, ops []porcupine.Operation) string {
	var ended []porcupine.Operation
	for _, o := range ops {
		if o.Return != openEnded {
			ended = append(ended, o)
		}
	}
	sort.SliceStable(ended, func(i, j int) bool { return ended[i].Return < ended[j].Return })
	// What ends later is open at the end of the prefix.
	prefix := func(k int) []porcupine.Operation {
		out := append([]porcupine.Operation(nil), ended[:k]...)
		last := ended[k-1].Return
		for _, o := range ops {
			if o.Return > last && o.Call <= last {
				o.Return, o.Output = openEnded, nil
				out = append(out, o)
			}
		}
		return out
	}
	k := sort.Search(len(ended), func(i int) bool {
		return porcupine.CheckOperationsTimeout(model, prefix(i+1), time.Second) == porcupine.Illegal
	})
	if k == len(ended) {
		return ""
	}
	text := ""
	for _, o := range ended[max(0, k-11) : k+1] {
		text += fmt.Sprintf("\n  %10.6f to %10.6f  c%d  %s", float64(o.Call)/1e9, float64(o.Return)/1e9, o.ClientId, model.DescribeOperation(o.Input, o.Output))
	}
	return text
}

// keyModel is one key of kv: its value, empty if it has none.
var keyModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		s, i := state.(string), in.(input)
		o, known := out.(output)
		switch i.kind {
		case opPut:
			return true, i.value
		case opGet:
			return !known || o.found == (s != "") && o.value == s, s
		case opDelete:
			return !known || o.found == (s != ""), ""
		}
		if s == i.old { // swap; no value stands for one that must not be there
			return !known || o.done, i.value
		}
		return !known || !o.done && o.value == s && o.found == (s != ""), s
	},
	DescribeOperation: describeCall,
}

// counterModel is the counter.
var counterModel = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, in, out any) (bool, any) {
		s, i := state.(int64), in.(input)
		o, known := out.(output)
		switch i.kind {
		case opAdd:
			s += i.n
		case opNegate:
			s = -s
		}
		return !known || o.n == s, s
	},
	DescribeOperation: describeCall,
}

func describeCall(in, out any) string {
	i := in.(input)
	var text string
	switch i.kind {
	case opPut:
		text = fmt.Sprintf("put %s %s", i.key, i.value)
	case opGet:
		text = "get " + i.key
	case opDelete:
		text = "delete " + i.key
	case opSwap:
		text = fmt.Sprintf("swap %s from %q to %s", i.key, i.old, i.value)
	case opAdd:
		text = fmt.Sprintf("add %d", i.n)
	case opNegate:
		text = "negate"
	case opNumber:
		text = "get"
	}
	o, known := out.(output)
	switch {
	case i.kind == opOwn || i.kind == opAsk:
		return describeOwn(&i, o, known)
	case !known:
		return text + " → ?"
	case i.key == "":
		return fmt.Sprintf("%s → %d", text, o.n)
	}
	return fmt.Sprintf("%s → %q found %v done %v", text, o.value, o.found, o.done)
}

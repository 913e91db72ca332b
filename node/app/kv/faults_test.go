package kv_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/baluarte-bft/baluarte/node/app"
	"github.com/baluarte-bft/baluarte/node/app/kv"
	"github.com/baluarte-bft/baluarte/sim/simtest"
)

// uneven makes services that remove what ended leases left behind each at its own pace: nobody must notice.
func uneven(store app.Store) (app.StateMachine, error) {
	m, err := kv.New(store)
	if err == nil {
		kv.Sweeps(m, rand.IntN(3))
	}
	return m, err
}

// 1,000 seeds: go test ./node/app/kv -run UnderFaults -simtest.seeds=1..1000
func TestUnderFaults(t *testing.T) {
	operation := func(r *rand.Rand, _ int) []byte {
		if r.IntN(20) == 0 {
			return []byte("nonsense")
		}
		return draw(r)
	}
	query := func(r *rand.Rand, _ int) []byte { return ask(r) }
	simtest.Run(t, uneven, 8, simtest.Operations(operation), simtest.Queries(query))
}

// accounts is how much is on two accounts together.
const accounts = 6

// TestTransfersUnderFaults: what clients are told of transactions and scans is linearizable, and whoever looks sees the same
// sum on two accounts. One call after the other, by a service of its own, explains what they are told.
func TestTransfersUnderFaults(t *testing.T) {
	a, b := []byte("account/a"), []byte("account/b")
	put := func(key []byte, n int) kv.Op {
		return kv.Op{Kind: kv.OpPut, Key: key, Value: strconv.AppendInt(nil, int64(n), 10)}
	}
	gets := []kv.Op{{Kind: kv.OpGet, Key: a}, {Kind: kv.OpGet, Key: b}}
	transfer := func(r *rand.Rand, _ int) []byte {
		if r.IntN(4) == 0 {
			return kv.Transact(&kv.Txn{If: []kv.Compare{kv.IfAbsent(a)}, Then: []kv.Op{put(a, 1), put(b, accounts-1)}, Else: gets})
		}
		from, to := r.IntN(accounts+1), r.IntN(accounts+1)
		return kv.Transact(&kv.Txn{If: []kv.Compare{kv.IfValue(a, kv.Equal, put(a, from).Value)}, Then: []kv.Op{put(a, to), put(b, accounts-to)}, Else: gets})
	}
	look := func(*rand.Rand, int) []byte { return kv.Scan([]byte("account/"), nil, 0, 0) }
	sum := func(op, result []byte, read bool) error {
		page, err := kv.DecodeScan(result)
		total := 0
		for _, item := range page.Items {
			n, _ := strconv.Atoi(string(item.Value))
			total += n
		}
		if read && (err != nil || len(page.Items) > 0 && total != accounts) {
			return fmt.Errorf("%+v, %v: the sum is %d", page, err, total)
		}
		return nil
	}
	step := func(state string, op []byte, read bool) (string, []byte) {
		m := start(t)
		if state != "" {
			if err := m.Restore(strings.NewReader(state)); err != nil {
				t.Error(err)
			}
		}
		result := m.Apply(app.Context{}, op)
		if read {
			return state, result
		}
		return string(saved(t, m)), result
	}
	simtest.Run(t, kv.New, 4, simtest.Operations(transfer), simtest.Queries(look), simtest.Results(sum), simtest.Model("", step))
}

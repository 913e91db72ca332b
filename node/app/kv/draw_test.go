package kv_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/baluarte-bft/baluarte/node/app/kv"
)

func drawKey(r *rand.Rand) []byte { return fmt.Appendf(nil, "k%d", r.IntN(5)) }

func drawValue(r *rand.Rand) []byte { return fmt.Appendf(nil, "v%d", r.IntN(3)) }

// drawLease is the number of a lease that may be there.
func drawLease(r *rand.Rand) uint64 { return 1 + uint64(r.IntN(20)) }

func drawOps(r *rand.Rand) (ops []kv.Op) {
	for range r.IntN(4) {
		switch r.IntN(5) {
		case 0:
			ops = append(ops, kv.Op{Kind: kv.OpGet, Key: drawKey(r)})
		case 1:
			ops = append(ops, kv.Op{Kind: kv.OpDelete, Key: drawKey(r)})
		case 2:
			ops = append(ops, kv.Op{Kind: kv.OpDeleteRange, Key: drawKey(r), Value: drawKey(r)})
		case 3:
			ops = append(ops, kv.Op{Kind: kv.OpPut, Key: drawKey(r), Value: drawValue(r), Lease: drawLease(r)})
		default:
			ops = append(ops, kv.Op{Kind: kv.OpPut, Key: drawKey(r), Value: drawValue(r)})
		}
	}
	return ops
}

func drawTxn(r *rand.Rand) []byte {
	relation := []kv.Relation{kv.Equal, kv.NotEqual, kv.Less, kv.Greater}[r.IntN(4)]
	compare := []kv.Compare{kv.IfValue(drawKey(r), relation, drawValue(r)), kv.IfRevision(drawKey(r), relation, uint64(r.IntN(200))),
		kv.IfExists(drawKey(r)), kv.IfAbsent(drawKey(r))}[r.IntN(4)]
	return kv.Transact(&kv.Txn{If: []kv.Compare{compare}, Then: drawOps(r), Else: drawOps(r)})
}

// draw draws an operation.
func draw(r *rand.Rand) []byte {
	switch r.IntN(14) {
	case 0:
		return kv.Create(drawKey(r), drawValue(r))
	case 1, 2:
		return kv.Delete(drawKey(r))
	case 3:
		return kv.CompareAndSet(drawKey(r), drawValue(r), drawValue(r))
	case 4, 5, 6:
		return drawTxn(r)
	case 7:
		return kv.Grant(time.Duration(100+r.IntN(3000)) * time.Millisecond)
	case 8:
		return kv.KeepAlive(drawLease(r))
	case 9:
		return kv.Revoke(drawLease(r))
	case 10, 11:
		return kv.PutOn(drawLease(r), drawKey(r), drawValue(r))
	case 12:
		return ask(r) // a query is an operation too
	}
	return kv.Put(drawKey(r), drawValue(r))
}

// ask draws a query.
func ask(r *rand.Rand) []byte {
	switch r.IntN(7) {
	case 0:
		return kv.Read(drawKey(r))
	case 1:
		return kv.Scan([]byte("k"), nil, 3, 40)
	case 2:
		return kv.List(nil, drawKey(r), 3, 40)
	case 3:
		return kv.Revision()
	case 4:
		from := 1 + uint64(r.IntN(100))
		return kv.Changes(drawKey(r), from, from+uint64(r.IntN(50)), 5, 0)
	case 5:
		return kv.Leases(uint64(r.IntN(10)), 5)
	}
	return kv.Get(drawKey(r))
}

package kv

import (
	"github.com/baluarte-bft/baluarte/bft"
	"github.com/baluarte-bft/baluarte/node/app"
)

// Sweeps has a service remove at most n leftovers at a time.
func Sweeps(m app.StateMachine, n int) { m.(*machine).sweeps = n }

// OnLeases is how many keys are on leases, or left behind by some.
func OnLeases(m app.StateMachine) int { return m.(*machine).leases.keys.Len() }

// EndLeases ends the leases whose time is over, and returns how many changes the history then has.
func EndLeases(m app.StateMachine, now bft.Time) int {
	m.(*machine).expire(now)
	return len(m.(*machine).history.changes)
}

// Again decodes an operation and encodes what it is.
func Again(op []byte) ([]byte, error) {
	o, err := decodeOp(op)
	if err != nil {
		return nil, err
	}
	after := o.after
	if !o.first && after == nil {
		after = []byte{}
	}
	switch o.kind {
	case opPut:
		if o.number != 0 {
			return PutOn(o.number, o.key, o.value), nil
		}
		return Put(o.key, o.value), nil
	case opGet:
		return Get(o.key), nil
	case opRead:
		return Read(o.key), nil
	case opDelete:
		return Delete(o.key), nil
	case opSwap:
		if o.absent {
			return Create(o.key, o.value), nil
		}
		return CompareAndSet(o.key, o.expected, o.value), nil
	case opScan:
		return Scan(o.key, after, o.items, o.bytes), nil
	case opList:
		return List(o.key, after, o.items, o.bytes), nil
	case opTxn:
		return Transact(o.txn), nil
	case opGrant:
		return Grant(o.time), nil
	case opKeepAlive:
		return KeepAlive(o.number), nil
	case opRevoke:
		return Revoke(o.number), nil
	case opRevision:
		return Revision(), nil
	case opChanges:
		return Changes(o.key, o.from, o.to, o.items, o.bytes), nil
	case opLeases:
		return Leases(o.number, o.items), nil
	}
	return Advance(), nil
}

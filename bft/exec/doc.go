// Package exec is the replicated execution layer: it routes ordered operations to named
// services, keeps the sessions of clients and so exactly-once execution, the agreed time and
// the history tree, makes replies, and serialises all of it.
//
// Like package bft it is a function of its inputs: no goroutine, clock, randomness or log,
// and no I/O beyond the reader or writer it is handed. Equal batches give equal replies,
// snapshots and history roots at every replica.
//
// # Concurrency
//
// One goroutine at a time calls Execute, Replay, Snapshot, Restore, Marks and the other
// accessors of a [Machine]. [Machine.Query] and [Machine.Validate] may be called by any number
// of goroutines beside it. [Snapshot.WriteTo] may run in another goroutine while execution
// goes on. A service guards its own state accordingly, see [StateMachine].
//
// # What a client can rely on
//
// Every result begins with a [Status]. Whether it is final is part of its meaning: after a
// final one the operation has, or will ever have, exactly that outcome; after one that is not
// ([StatusTooFar], [StatusNotNow]) the same bundle may still be executed when it is ordered
// again.
package exec

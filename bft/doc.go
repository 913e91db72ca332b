// Package bft is the protocol: a replica and a client of PBFT (Castro and Liskov, OSDI'99 and
// TOCS'02, "the paper"; DESIGN.md lists the deviations) as pure state machines.
//
// There is no goroutine, channel, lock, clock, random number, file, socket or log in this
// package. What a replica does next is a function of the calls made on it, so that the same
// code runs on real machines (package node) and, through every kind of failure, under virtual
// time (package sim).
//
// # The host's contract
//
// A host drives a replica from one goroutine:
//
//	replica, err := bft.New(config, restored)
//	for {
//		select {
//		case m := <-verified: // decoded and checked by Checker
//			replica.Step(m)
//		case d := <-done: // results of earlier Readys
//			replica.Advance(d)
//		case <-ticker:
//		}
//		replica.Tick(now, wallClock)
//		if ready, ok := replica.Ready(); ok {
//			// append ready.Records to the store, then Advance(Done{Persisted: …})
//			// sign, check, execute, serve, …; each reported by Advance
//			// send ready.Messages at once
//		}
//	}
//
// Draining what waits in the channels before calling Ready makes one turn of many inputs; what
// a turn votes leaves under one signature and one fsync.
//
// Persist, then send (rule 16) is kept here, not by the host: Ready.Messages has a message only
// once Done.Persisted has reached the record that it binds.
package bft

// Package sim runs a whole cluster, clients and all, in one goroutine under virtual time, and
// watches it for every promise that the protocol makes.
//
// The replicas are the real bft.Replica over the real exec.Machine and services, the clients the
// real bft.Client: only what surrounds them is simulated, and hostile. The network delays,
// loses, doubles, reorders and cuts; processes crash and lose what they had not synced; clocks
// disagree; up to f replicas belong to an adversary (package byz), which knows everything that
// they know and signs with their keys, but not with anyone else's.
//
// # A run is a function of its seed
//
// Everything that is drawn comes from one seed, split by name for each part (see stream), so
// that a part which draws more does not change what the others draw. Events happen in the order
// of (time, number). There is no wall clock, no goroutine and no iteration over a map whose order
// matters. Report.TraceHash covers every delivery, signature, execution and result: two runs of
// one seed must agree on it, in any process and with any GOMAXPROCS.
//
// # Three phases
//
// In the first phase the faults of Options.Faults happen. At Options.Heal they end: the network
// behaves, who was down comes back, and only permanent faults and the adversary stay. From then on
// liveness is demanded: every request ends within ten request timeouts, every honest replica catches
// up. In the last phase all crash at once and the disks of f replicas are lost; the others start again,
// and the last reads must see all that was acknowledged.
//
// # Oracles
//
// Each watches one promise. The first that breaks ends the run; honest replicas and clients alone are held
// to anything. docs/simulator.md says of each what breaks it.
//
//	S1     one proposal for each number                order, executing
//	S2     histories are prefixes of each other        order, executing and executed
//	S3     only requests that were issued              order, checkIssued
//	S4     at most once, the same reply on a retry     order, applied and replied
//	S5     linearizable                                history, check
//	S6     certificates prove what they say            promises, sent, by package wire
//	S7     one state at each checkpoint                order, snapshot and installed
//	S8     promises never go back                      promises, started and observe; host, checkSigning
//	S9     no two digests signed for one thing         promises, ready and sent
//	D1     accepted replies survive the loss of disks  world, lose
//	D2     persist, then send                          promises, sent and checkVote
//	L1     calls end                                   clientHost, demand and mayFail; world, poll
//	L2     replicas catch up                           world, demandLevel
//	L3     views settle after the heal                 world, calm
//	R1     memory within its formula                   resources, turned, by package meter
//	R2     work is paid for with bytes                 resources, judge and answered
//	P1     throughput under attack                     Share
//	T1     agreed time is sound                        order, checkTime
//	C1     calls are executed as often as promised     tally, executed, ended and left
//	A1     more than f liars are named                 accounts, settle, by package account
//	A2     no honest replica is accused                accounts, settle; host, judge; clientHost, receive
//	M1     one seed, one trace hash                    Fuzz
//	PANIC  the assertions of the core hold             world, guarded
package sim

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
// # Two phases
//
// In the first phase the faults of Options.Faults happen. At Options.Heal they end: the network
// behaves, who was down comes back, and only the adversary stays. From then on liveness is
// demanded: every request ends within ten request timeouts, every honest replica catches up.
//
// # Oracles
//
// The oracles bear the names of the table in DESIGN.md: S1 one digest per number, S2 prefixes,
// S3 only issued requests, S4 at most once, S5 linearizable, S6 certificates, S7 checkpoints, S8
// no regress, S9 no two digests signed, D1 durable replies, D2 persist then send, L1 requests
// end, L2 replicas catch up, A2 no honest replica accused, M1 same seed same trace. The first
// that breaks ends the run.
package sim

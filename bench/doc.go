// Package bench puts load on a cluster and measures what it does: operations a second, latency,
// and what each operation costs.
//
// [Run] is a whole measurement. It makes a cluster of real processes with the shipped defaults, or uses
// one that runs; measures how many Ed25519 verifications one idle core does; lets clients with keys
// and channels of their own load the cluster from this one process; and returns a [Result] in
// which everything that could have bought the figures stands beside them.
//
// # What is measured
//
// Every client keeps a fixed number of operations outstanding (a closed loop): one that
// ends is followed at once by the next. An operation counts when it ends within the measured time, after the
// warm-up, with a result that f+1 replicas sent alike, which is what package client takes for a
// result. Its latency is the time from the moment its caller submitted it, so it includes waiting
// in the client for a bundle to be signed. Operations that fail are counted by kind and retried
// after a pause as new ones; they are in no latency.
//
// In a closed loop a stall stops the clock of those who would have come during it. So the result also
// holds the throughput of each second, and how long the slowest operation had been waiting that
// was still outstanding at the end.
//
// An open loop ([Options].Rate) offers operations at times that were fixed before, whatever becomes of the earlier
// ones. Its latencies count from those times, of all operations that were to begin within the measured time; its
// throughput counts the results that came within it. What could not be submitted at all is counted.
//
// The same load can go to one server without replicas ([Options].Reference, package single), with the same clients,
// channels, verification, durability and services, so that what replication costs is told by figures of
// the same machine and minute.
//
// # What comes of many measurements
//
// [Sweep] repeats a measurement and varies up to two of its settings; [Summarize] gives means with their intervals,
// [Compare] says whether two sets of repeated measurements differ, [WritePlot] draws them. Memory and disk
// use over time are in each result, see [Usage].
//
// Figures of different machines are compared by the calibration: throughput divided by the verifications
// a second of one core.
//
// # Faults
//
// [RunFault] shows what one fault does to a cluster under load. Nothing within the replicas knows of it: they are processes
// that are killed and paused one by one, their connections may go through proxies (package proxy), and what is to
// be wrong within a replica, such as its disk, is wrapped around the real one (package fault). Afterwards the counter
// that the load adds to tells whether an operation was lost, or executed twice.
package bench
